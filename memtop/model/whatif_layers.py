"""What the layers of a model say about how their activations would shrink. Shares and bytes, from one deep look."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from typing import Final

import msgspec

from memtop.model.whatif_facts import Layer

_CAST: Final = ("Linear", "Conv", "Bilinear", "MultiheadAttention", "LSTM", "GRU", "RNN")
"""How the classes begin or end whose weights autocast turns into bf16."""
_OVERWRITE: Final = ("ReLU", "ReLU6", "LeakyReLU", "ELU", "CELU", "SELU", "SiLU", "Hardtanh", "Hardswish", "Mish")
"""Classes of torch.nn that take `inplace=True`."""
_WHOLE: Final = ("Loss", "Softmax", "Embedding")
"""Classes whose activations stay float32 under autocast, or are integers' rows that it leaves alone."""
_NORMS: Final = ("LayerNorm", "GroupNorm", "RMSNorm")
"""Autocast runs these in float32."""
_POOL: Final = 10 / 12
"""Max pooling keeps a number and an 8-byte index of each output."""
_IMAGE: Final = ("Conv2d", "ConvTranspose2d", "BatchNorm2d", "MaxPool2d", "AvgPool2d", "InstanceNorm2d", "Upsample")
_FEWEST: Final = 4
"""Layers in a row, for checkpointing to be worth a line."""
_MOST: Final = 0.5
"""The share of the activations that they must have."""


class Segments(msgspec.Struct, frozen=True):
    """A row of layers cut into segments. Bytes of activations."""

    parent: str
    """Path of the module whose children they are."""
    count: int
    layers: int
    activations: tuple[int, ...]
    """Of each segment, as they are kept without checkpoints."""
    boundaries: tuple[int, ...]
    """What each segment but the last hands to the next."""

    def segment(self, activations: float) -> int:
        """The segment that the step is in when so much of the row is kept without checkpoints. In backward the last
        ones are gone first. What lies outside of the row is taken to come after it; a little of it (logits that the
        script holds) may outlive the row."""
        before = sum(self.activations) // 200
        for index, size in enumerate(self.activations[:-1]):
            before += size
            if activations <= before:
                return index
        return len(self.activations) - 1

    def kept(self, activations: float, backward: bool) -> float:
        """What is kept with checkpoints at that instant: what lies between the segments before, and in backward the
        segment itself, which has been made again. The last one runs as it is, as `checkpoint_sequential` has it."""
        index = self.segment(activations)
        inside = activations - sum(self.activations[:index])
        as_it_is = backward or index == len(self.activations) - 1
        return sum(self.boundaries[:index]) + (inside if as_it_is else 0)


def half_precision(layers: Sequence[Layer], norms: bool = False) -> float:
    """The share of the activations' bytes that is left in bf16. `norms`: of normalisation layers, too."""
    full = left = 0.0
    for layer in layers:
        full += layer.activations
        left += layer.activations * _half(layer.type, norms)
    return left / full if full else 0.5


def _half(kind: str, norms: bool) -> float:
    if not kind:
        return 0.5 if norms else 1.0  # Made in no module: a loss that is a function.
    if kind.startswith("MaxPool"):
        return _POOL
    if any(word in kind for word in _WHOLE) or (not norms and any(word in kind for word in _NORMS)):
        return 0.5 if norms and "Embedding" in kind else 1.0
    return 0.5


def of_the_loss(layers: Sequence[Layer]) -> int:
    """Bytes of activations that a loss keeps: in no module, or in one that is named so."""
    return sum(layer.activations for layer in layers if not layer.type or layer.type.endswith("Loss"))


def cast_weights(layers: Sequence[Layer]) -> int:
    """Bytes of the weights that autocast makes copies of."""
    return sum(layer.parameters for layer in layers if any(word in layer.type for word in _CAST))


def overwritable(layers: Sequence[Layer]) -> int:
    """Bytes of the largest result that an activation function could write over its input; 4 bytes an element."""
    return max((4 * (layer.output or 0) for layer in layers if layer.type in _OVERWRITE), default=0)


def quarter_of_images(layers: Sequence[Layer]) -> float | None:
    """The share of the activations that is left of images with half the side; `None` for a model without images.

    Layers from the first of images to the last of them shrink, and so does what lies between."""
    places = [index for index, layer in enumerate(layers) if layer.type in _IMAGE]
    full = sum(layer.activations for layer in layers)
    if not places or not full:
        return None
    inside = sum(layer.activations for layer in layers[: places[-1] + 1])
    return 1 - 0.75 * inside / full


def segments(layers: Sequence[Layer]) -> Segments | None:
    """The longest row of siblings that has most of the activations, cut into √n segments; `None` for none."""
    rows: dict[str, list[Layer]] = defaultdict(list)
    for layer in _with_descendants(layers):
        if layer.path and layer.output is not None:
            rows[layer.path.rpartition(".")[0]].append(layer)
    full = sum(layer.activations for layer in layers)
    fit = {
        parent: row
        for parent, row in rows.items()
        if len(row) >= _FEWEST and sum(layer.activations for layer in row) >= _MOST * full
    }
    if not fit:
        return None
    parent = max(fit, key=lambda path: len(fit[path]))
    return _cut(parent, fit[parent])


def _cut(parent: str, row: list[Layer]) -> Segments:
    count = max(2, round(math.sqrt(len(row))))
    size = len(row) // count
    parts = [row[index * size : (index + 1) * size] for index in range(count - 1)]
    parts.append(row[(count - 1) * size :])
    sums = tuple(sum(layer.activations for layer in part) for part in parts)
    ends = [part[-1] for part in parts[:-1]]
    between = tuple(4 * layer.output if layer.output is not None else layer.activations for layer in ends)
    return Segments(parent, count, len(row), sums, between)


def _with_descendants(layers: Sequence[Layer]) -> list[Layer]:
    """Each module with the activations of all below it, and the result of the last of them that says one."""
    sums: dict[str, int] = defaultdict(int)
    outputs: dict[str, int] = {}
    for layer in layers:
        path = layer.path
        while path:
            sums[path] += layer.activations
            if layer.output is not None:
                outputs[path] = layer.output
            path = path.rpartition(".")[0]
    return [
        Layer(layer.path, layer.type, sums[layer.path], outputs.get(layer.path), layer.parameters) for layer in layers
    ]

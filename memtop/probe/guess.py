"""What a tensor of a batch is, guessed from its shape and dtype: pictures, tokens, a table, labels. Pure."""

from __future__ import annotations

_CHANNELS = (1, 3, 4)
_FLAT = {784: (1, 28, 28), 3072: (3, 32, 32)}
"""Rows of so many values are pictures laid flat (MNIST's and CIFAR's), as a rule."""
_SIDE = 8
"""Pictures without a dimension for channels have sides of at least so many pixels."""

Shape = tuple[int, ...]
Guess = tuple[str, str | None]


def guess(shape: Shape, dtype: str) -> Guess:
    """(kind, layout) of a batch's tensor: `image`, `tokens`, `table`, `labels` or `other`.

    `layout` is of one sample of an image: `CHW`, `HWC`, `HW`, or `flat` where its pixels stand in one row; else `None`.
    """
    whole = dtype in ("int64", "int32", "int16")
    if len(shape) == 1:
        return "labels", None
    if len(shape) == 2:
        if whole:
            return "tokens", None
        return ("image", "flat") if shape[1] in _FLAT else ("table", None)
    if len(shape) == 3:
        plane = min(shape[1:]) >= _SIDE and (dtype == "uint8" or whole or shape[1] == shape[2])
        return ("image", "HW") if plane else ("other", None)
    if len(shape) == 4 and min(shape[1:]) >= 1:
        last = shape[3] in _CHANNELS and shape[1] not in _CHANNELS
        return "image", "HWC" if last else "CHW"
    return "other", None


def planes(shape: Shape, layout: str) -> tuple[int, int, int]:
    """Channels, height and width of one sample of an image batch."""
    if layout == "flat":
        return _FLAT[shape[1]]
    if layout == "HW":
        return 1, shape[1], shape[2]
    if layout == "HWC":
        return shape[3], shape[1], shape[2]
    return shape[1], shape[2], shape[3]

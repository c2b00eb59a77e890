"""Deep looks as a session would tell them. Their figures agree: modules, lines, trace and peak have one sum."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from msgspec.structs import replace

from memtop.model.categories import TENSORS
from memtop.model.deep_records import (
    LineRow,
    LinesRecord,
    LineTensor,
    Mark,
    ModuleRow,
    ModulesRecord,
    TraceRecord,
)
from memtop.model.snapshot import DeepLook, Snapshot, TensorGroup, Tracked

from .fakes import CNN, HOST, T, cnn, memory, mlp

LOOK_T = T - 12.4
"""When the step of the look had ended."""

TRAIN = "/home/you/work/train.py"
FORWARD = (TRAIN, 55, "main", "loss = F.cross_entropy(model(images), labels)", "forward")
BACKWARD = (TRAIN, 57, "main", "loss.backward()", "backward")
STEP = (TRAIN, 58, "main", "optimizer.step()", "optimizer")
MODEL = ("/home/you/work/models/cnn.py", 31, "forward", "x = self.pool(self.relu(self.bn(self.conv(x))))", "forward")
HELD = (None, None, None, None, "held")

Place = tuple[str | None, int | None, str | None, str | None, str]


@dataclass(frozen=True)
class Alive:
    """Tensors alive at the peak."""

    module: str | None
    place: Place
    category: str
    shape: tuple[int, ...]
    bytes: int
    operator: str = ""
    dtype: str = "float32"
    count: int = 1


def modules_of(alive: Sequence[Alive], rows: Sequence[ModuleRow], step: int = 2) -> ModulesRecord:
    """The rows with what was alive at the peak put into them."""
    sums = {row.path: 0 for row in rows}
    for one in alive:
        sums[one.module] += one.bytes
    told = [replace(row, at_peak=sums[row.path]) for row in rows]
    return ModulesRecord(t=LOOK_T, device="cpu", step=step, rows=told, folded=0)


def lines_of(alive: Sequence[Alive], born: dict[Place, tuple[int, int]], step: int = 2) -> LinesRecord:
    """A row a place. `born` has for each place bytes and count of what it made in the step."""
    rows = []
    for place in {one.place: None for one in alive} | dict.fromkeys(born):
        inside = sorted((one for one in alive if one.place == place), key=lambda one: -one.bytes)
        made, count = born.get(place, (0, 0))
        tensors = [
            LineTensor(
                shape=list(one.shape), dtype=one.dtype, category=one.category, operator=one.operator,
                module=one.module, count=one.count, bytes=one.bytes,
            )
            for one in inside
        ]  # fmt: skip
        file, line, function, text, phase = place
        rows.append(
            LineRow(
                file=file, line=line, function=function, text=text, phase=phase,
                at_peak=sum(one.bytes for one in inside), born=made, count=count,
                kept=456_744 if phase == "backward" else 0, tensors=tensors,
            )
        )  # fmt: skip
    rows.sort(key=lambda row: -row.at_peak)
    return LinesRecord(t=LOOK_T, device="cpu", step=step, rows=rows)


def module(path: str | None, type: str, parameters: int = 0, **changes: Any) -> ModuleRow:
    """A row; parameters are float32."""
    row = ModuleRow(
        path=path, type=type, parameters=parameters, parameter_bytes=4 * parameters, buffer_bytes=0,
        gradient_bytes=4 * parameters, state_bytes=8 * parameters, output=None, activations=0, recomputed=0,
        at_peak=0, born=0, flops=None, series=[0] * 24,
    )  # fmt: skip
    return replace(row, **changes)


class Course:
    """A step as it goes: bytes by category through time."""

    def __init__(self, held: dict[str, int]) -> None:
        self.now = {name: held.get(name, 0) for name in TENSORS}
        self.times: list[float] = [0.0]
        self.points: list[list[int]] = [list(self.now.values())]
        self.marks: list[Mark] = []
        self.t = 0.0

    def phase(self, name: str) -> None:
        """Another phase begins now."""
        self.marks.append(Mark(at=self.t, name=name))

    def change(self, seconds: float, **changes: int) -> None:
        """After `seconds` these bytes more or less."""
        self.t += seconds
        for name, value in changes.items():
            self.now[name] += value
        self.times.append(self.t)
        self.points.append(list(self.now.values()))

    def record(self, step: int = 2) -> TraceRecord:
        """What a probe would tell."""
        sums = [sum(point) for point in self.points]
        return TraceRecord(
            t=LOOK_T, device="cpu", step=step, seconds=self.t, columns=list(TENSORS), times=self.times,
            points=self.points, marks=self.marks, peak=sums.index(max(sums)), changes=len(self.points) - 1,
        )  # fmt: skip


# -- the CNN: three blocks of convolution, batch normalisation, ReLU and pooling; batch 64, Adam, float32 --------------

_CONV = (8_388_608, 4_194_304, 2_097_152)
"""Bytes of a block's output before pooling."""
_CHANNELS = (32, 64, 128)
_WEIGHTS = (896, 18_496, 73_856)
PEAK = 45_234_424
HELD_BYTES = {"parameters": 456_744, "buffers": 1_816, "optimizer_state": 913_544, "inputs": 786_944}


def cnn_alive() -> list[Alive]:
    """What lives at the peak: the gradient of the last pooling has just been made."""
    found = [
        Alive(None, HELD, "inputs", (64, 3, 32, 32), 786_432),
        Alive(None, HELD, "inputs", (64,), 512, "", "int64"),
    ]
    for index, (conv, channels, weights) in enumerate(zip(_CONV, _CHANNELS, _WEIGHTS, strict=True)):
        side = 32 >> index
        block, shape = f"block{index + 1}", (64, channels, side, side)
        pooled = (64, channels, side // 2, side // 2)
        found += [
            Alive(f"{block}.conv", HELD, "parameters", (weights,), 4 * weights, count=2),
            Alive(f"{block}.conv", HELD, "optimizer_state", (weights,), 8 * weights + 8, count=6),
            Alive(f"{block}.bn", HELD, "parameters", (channels,), 8 * channels, count=2),
            Alive(f"{block}.bn", HELD, "optimizer_state", (channels,), 16 * channels + 8, count=6),
            Alive(f"{block}.bn", HELD, "buffers", (channels,), 8 * channels + 8, count=3),
            Alive(f"{block}.conv", MODEL, "activations", shape, conv, "aten.convolution"),
            Alive(f"{block}.bn", MODEL, "activations", (channels,), 8 * channels, "aten.native_batch_norm", count=2),
            Alive(f"{block}.relu", MODEL, "activations", shape, conv, "aten.relu"),
            Alive(f"{block}.pool", MODEL, "activations", pooled, conv // 4, "aten.max_pool2d_with_indices"),
            Alive(f"{block}.pool", MODEL, "activations", pooled, conv // 2, "aten.max_pool2d_with_indices", "int64"),
        ]
    found += [
        Alive("head", HELD, "parameters", (10, 2048), 81_960, count=2),
        Alive("head", HELD, "optimizer_state", (10, 2048), 163_928, count=6),
        Alive("head", BACKWARD, "gradients", (10, 2048), 81_960, "aten.mm", count=2),
        Alive(None, FORWARD, "activations", (), 8, "aten.nll_loss_forward", count=2),
        Alive("head", BACKWARD, "temporaries", (64, 2048), 524_288, "aten.mm"),
        Alive("block3.pool", BACKWARD, "temporaries", (64, 128, 8, 8), 2_097_152,
              "aten.max_pool2d_with_indices_backward"),
    ]  # fmt: skip
    return found


def cnn_course() -> Course:
    """The step through time; its highest point is `PEAK`."""
    course = Course(HELD_BYTES)
    course.phase("forward")
    for conv in _CONV:
        course.change(0.0011 * conv / _CONV[0] + 0.0002, activations=conv)
        course.change(0.0004, activations=conv, temporaries=0)
        course.change(0.0003, activations=conv)
        course.change(0.00002, activations=-conv)
        course.change(0.0005, activations=conv // 4 + conv // 2)
    course.change(0.0001, activations=1_792 + 2_560 + 8)
    course.phase("backward")
    course.change(0.0001, temporaries=2_560)
    course.change(0.0001, activations=-2_560, temporaries=-2_560, gradients=81_960)
    course.change(0.00005, temporaries=524_288)
    for index in (2, 1, 0):
        conv = _CONV[index]
        course.change(0.0004, temporaries=conv)
        course.change(0.0001, temporaries=-(conv // 4), activations=-(conv // 4 + conv // 2))
        course.change(0.0003, activations=-conv)
        course.change(0.0003, activations=-conv)
        into = 0 if index == 0 else _CONV[index - 1] // 4
        course.change(0.0012, temporaries=into - conv, gradients=4 * (_WEIGHTS[index] + 2 * _CHANNELS[index]))
    course.change(0.00005, activations=-1_796)
    course.phase("optimizer")
    course.change(0.0002, temporaries=456_744)
    course.change(0.0003, temporaries=456_744)
    course.change(0.0003, temporaries=-913_488)
    course.phase("end")
    return course


def cnn_rows() -> list[ModuleRow]:
    """The modules in order; `at_peak` is filled in from what was alive."""
    rows = [module(None, ""), module("", "CNN")]
    for index, (conv, channels, weights) in enumerate(zip(_CONV, _CHANNELS, _WEIGHTS, strict=True)):
        side, block = 32 >> index, f"block{index + 1}"
        shape, pooled = [64, channels, side, side], [64, channels, side // 2, side // 2]
        wave = [0] * (3 + index) + [conv] * 12
        rise = wave + [0] * (24 - len(wave))
        rows += [
            module(block, "Block"),
            module(f"{block}.conv", "Conv2d", weights, output=shape, activations=conv, born=2 * conv,
                   flops=2 * (weights - channels) * 64 * side * side, series=rise),
            module(f"{block}.bn", "BatchNorm2d", 2 * channels, output=shape, activations=8 * channels,
                   buffer_bytes=8 * channels + 8, born=2 * conv, series=[value // 8 for value in rise]),
            module(f"{block}.relu", "ReLU", output=shape, activations=conv, born=2 * conv, series=rise),
            module(f"{block}.pool", "MaxPool2d", output=pooled, activations=conv // 4 + conv // 2, born=2 * conv,
                   series=rise),
        ]  # fmt: skip
    rows.append(
        module("head", "Linear", 20_490, output=[64, 10], activations=2_560, born=700_000, flops=2 * 64 * 20_480)
    )
    return rows


def cnn_look(t: float = LOOK_T, step: int = 2) -> DeepLook:
    """The second step of the CNN, watched whole."""
    alive, course = cnn_alive(), cnn_course()
    trace = course.record(step)
    figures: dict[str, int | None] = dict(zip(trace.columns, trace.points[trace.peak], strict=True))
    around = {"runtime": 464_723_040, "other_processes": 4_800_000_000}
    record = replace(
        memory("cpu", "peak", step, t, figures | around, HOST.ram),
        tier="deep",
        where={
            "phase": "backward", "module": "block3.pool", "operator": "aten.max_pool2d_with_indices_backward",
            "line": f"{TRAIN}:57", "text": "loss.backward()", "seconds": trace.times[trace.peak],
        },
    )  # fmt: skip
    born = {FORWARD: (2_568, 3), MODEL: (52_953_088, 15), BACKWARD: (60_817_408, 34), STEP: (913_488, 14)}
    return DeepLook(
        t=t,
        step=step,
        peak=record,
        modules=replace(modules_of(alive, cnn_rows(), step), t=t),
        lines=replace(lines_of(alive, born, step), t=t),
        trace=replace(trace, t=t),
    )


def deep_cnn(**changes: Any) -> Snapshot:
    """cnn on the CPU with a deep look of twelve seconds ago."""
    on_gpu, on_cpu = cnn(), mlp()
    total = HOST.ram
    figures = {name: CNN[name] for name in ("parameters", "buffers", "optimizer_state", "inputs", "activations")}
    outside = {"temporaries": None, "other_tensors": None, "runtime": 464_723_040, "other_processes": 4_800_000_000}
    forward = memory("cpu", "forward_end", 840, T - 0.2, figures | outside | {"gradients": 0}, total)
    rest = {"activations": 4, "gradients": 456_744}
    backward = memory("cpu", "backward_end", 840, T - 0.19, figures | outside | rest, total)
    end = memory("cpu", "step_end", 840, T - 0.18, figures | outside | rest, total)
    look = cnn_look()
    snapshot = replace(
        on_gpu,
        device="cpu",
        gpus=(),
        gpu_note=on_cpu.gpu_note,
        gpu=None,
        moments={"forward_end": forward, "backward_end": backward, "step_end": end, "peak": look.peak},
        now=forward,
        highest=look.peak,
        theory={**on_gpu.theory, "gradients": replace(on_gpu.theory["parameters"], why="as the parameters")},
        deep=look,
    )
    return replace(snapshot, **changes)


# -- stacks of linear layers -------------------------------------------------------------------------------------------


def stack_look(layers: int = 1000, segments: int = 32, step: int = 2) -> DeepLook:
    """Linear(10, 10) many times, checkpointed in segments: backward makes each segment's activations again."""
    one, weights = 1_280, 440
    held = {"parameters": layers * weights, "optimizer_state": layers * (2 * weights + 8), "inputs": 1_536}
    course = Course(held)
    course.phase("forward")
    size = -(-layers // segments)
    for _ in range(segments):
        course.change(0.0008, activations=one)
    for segment in range(segments):
        count = min(size, layers - segment * size)
        course.phase("recompute")
        for _ in range(count):
            course.change(0.00003, activations=one)
        course.phase("backward")
        for _ in range(count):
            course.change(0.00004, activations=-one, gradients=weights)
        course.change(0.00001, activations=-one)
    course.phase("optimizer")
    course.change(0.001, temporaries=layers * weights)
    course.change(0.001, temporaries=-layers * weights)
    course.phase("end")
    trace = course.record(step)
    figures: dict[str, int | None] = dict(zip(trace.columns, trace.points[trace.peak], strict=True))
    alive = [
        Alive(f"{index}", HELD, category, (10, 10), size)
        for index in range(layers)
        for category, size in (("parameters", weights), ("optimizer_state", 2 * weights + 8))
    ]
    alive += [Alive(None, HELD, "inputs", (32, 10), 1_536)]
    left = {name: figures[name] or 0 for name in ("gradients", "activations", "temporaries")}
    alive += [Alive("0", STEP, name, (), value, "aten._foreach_sqrt") for name, value in left.items() if value]
    rows = [module(None, ""), module("", "Sequential")]
    rows += [
        module(f"{index}", "Linear", 110, output=[32, 10], recomputed=one, born=2 * one, flops=6400)
        for index in range(layers)
    ]
    phase = next(mark.name for mark in reversed(trace.marks) if mark.at <= trace.times[trace.peak])
    where = {"phase": phase, "module": None, "operator": "aten._foreach_sqrt", "line": f"{TRAIN}:58",
             "text": "optimizer.step()", "seconds": trace.times[trace.peak]}  # fmt: skip
    record = replace(memory("cpu", "peak", step, LOOK_T, figures, HOST.ram), tier="deep", where=where)
    lines = lines_of(alive, {FORWARD: (40_960, 32), STEP: (440_000, 1000)}, step)
    return DeepLook(t=LOOK_T, step=step, peak=record, modules=modules_of(alive, rows, step), lines=lines, trace=trace)


def deep_stack(**changes: Any) -> Snapshot:
    """A thousand layers in 32 segments."""
    look = stack_look()
    return replace(deep_cnn(), title="deep-stack", deep=look, theory={}, highest=look.peak, **changes)


def teeth() -> Snapshot:
    """Two hundred layers in four segments: few enough for each recomputation to be seen."""
    look = stack_look(200, 4)
    return replace(deep_cnn(), title="deep-stack", deep=look, theory={}, highest=look.peak)


# -- memtop.track() ---------------------------------------------------------------------------------------------------


def group(shape: tuple[int, ...], count: int = 1, kind: str = "Tensor") -> TensorGroup:
    """float32 tensors on the CPU."""
    size = 4
    for length in shape:
        size *= length
    return TensorGroup(shape=shape, dtype="float32", kind=kind, device="cpu", count=count, bytes=count * size)


MARKS = (
    Tracked(
        t=1.5,
        place="train.py:12",
        label="model",
        gained=(
            group((512, 512, 3, 3), 7, "Parameter"),
            group((256, 256, 3, 3), 3, "Parameter"),
            group((512, 256, 3, 3), 1, "Parameter"),
            group((512,), 8, "Parameter"),
        ),
        lost=(),
        total=77_872_896,
    ),
    Tracked(
        t=1.9,
        place="train.py:16",
        label="",
        gained=(group((60, 3, 512, 512)), group((40, 3, 512, 512))),
        lost=(),
        total=392_446_720,
    ),
    Tracked(t=2.2, place="train.py:20", label="freed", gained=(), lost=(group((40, 3, 512, 512)),), total=266_616_880),
)
"""Three marks of a script."""


def tracked_cnn() -> Snapshot:
    """The deep look, and marks too."""
    return deep_cnn(tracked=MARKS)

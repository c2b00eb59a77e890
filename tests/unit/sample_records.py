"""One record of each kind, as a short run on the CPU would write them."""

from __future__ import annotations

from typing import Any

from memtop.model import categories
from memtop.model.deep_records import (
    LineRow,
    LinesRecord,
    LineTensor,
    Mark,
    ModuleRow,
    ModulesRecord,
    TraceRecord,
)
from memtop.model.forecast import Affine, Point
from memtop.model.forecast_record import ForecastRecord
from memtop.model.records import (
    DeviceProcess,
    DeviceRecord,
    EndRecord,
    EventRecord,
    InputTensor,
    MemoryRecord,
    ModelRecord,
    Record,
    RunRecord,
    StepRecord,
)
from memtop.model.specs import GpuSpec, HostSpec, NumaNode

MLP_PARAMETERS = 407_080
"""784-128-10 in float32, closed form."""


def host() -> HostSpec:
    return HostSpec(
        hostname="box",
        system="Linux 6.1",
        cpu_model="A CPU",
        cpu_vendor=None,
        microarchitecture="zen3",
        sockets=1,
        cores=2,
        threads=4,
        usable_threads=4,
        frequency_max_mhz=None,
        caches={"L2": 1 << 20},
        features=("avx2",),
        ram=1 << 33,
        swap=0,
        cgroup_limit=None,
        numa=(NumaNode(node=0, cpus="0-3", memory=1 << 33),),
    )


def gpu() -> GpuSpec:
    names = [name for name in GpuSpec.__slots__ if name not in ("index", "uuid")]
    return GpuSpec(index=0, uuid="GPU-1", **dict.fromkeys(names))  # type: ignore[arg-type]


def run(t: float = 0.0, **changes: object) -> RunRecord:
    fields: dict[str, object] = {
        "memtop": "0.1.0",
        "command": ["python", "train.py"],
        "scenario": "mlp-mnist",
        "settings": {"batch_size": 64, "optimizer": "adam", "inplace": True, "data": None},
        "host": host(),
        "gpus": [gpu()],
        "started_at": "2026-01-01T00:00:00+00:00",
    }
    return RunRecord(t=t, **(fields | changes))  # type: ignore[arg-type]


def memory(t: float = 2.0, step: int = 1, moment: str = "step_end", **changes: object) -> MemoryRecord:
    sizes: dict[str, int | None] = dict.fromkeys(categories.CPU, 0)
    sizes |= {"parameters": MLP_PARAMETERS, "other_tensors": None, "free": (1 << 33) - MLP_PARAMETERS}
    fields: dict[str, object] = {
        "device": "cpu",
        "tier": "graph",
        "sources": {"allocator": t, "device": None},
        "bytes": sizes,
        "where": None,
        "allocated": None,
        "reserved": None,
        "device_total": 1 << 33,
        "notes": [],
    }
    return MemoryRecord(t=t, step=step, moment=moment, **(fields | changes))  # type: ignore[arg-type]


def step(t: float = 3.0, number: int = 1, loss: float | None = 2.3, rank: int = 0) -> StepRecord:
    phases: dict[str, float | None] = {"forward": 0.01, "backward": 0.02, "optimizer": None, "data": 0.0, "other": 0.0}
    return StepRecord(
        t=t,
        rank=rank,
        step=number,
        steps=1,
        seconds=0.05,
        phases=phases,
        batch_size=64,
        samples_per_second=1280.0,
        loss=loss,
        pass_end=938,
    )


def end(t: float = 4.0, exit_code: int | None = 0, signal: int | None = None, seconds: float = 4.0) -> EndRecord:
    return EndRecord(
        t=t,
        exit_code=exit_code,
        signal=signal,
        steps=1,
        seconds=seconds,
        peak={"cpu": {"parameters": MLP_PARAMETERS, "activations": 35_332, "tensors": MLP_PARAMETERS + 35_332}},
        dropped=0,
        overhead_percent=None,
        announced_seconds=0.25,
        looks=1,
    )


WHERE: dict[str, Any] = {
    "phase": "backward",
    "module": "conv3",
    "operator": "aten.convolution_backward",
    "line": "train.py:57",
    "text": "loss.backward()",
    "seconds": 0.125,
}
CATEGORIES: dict[str, int | None] = dict.fromkeys(categories.TENSORS, 0)
PEAK: dict[str, int | None] = CATEGORIES | {"parameters": 40, "activations": 50, "temporaries": 10}


def module_row(**changes: Any) -> ModuleRow:
    fields: dict[str, Any] = {
        "path": "conv3",
        "type": "Conv2d",
        "parameters": 10,
        "parameter_bytes": 40,
        "buffer_bytes": 0,
        "gradient_bytes": 40,
        "state_bytes": 80,
        "output": [64, 128, 8, 8],
        "activations": 50,
        "recomputed": 0,
        "at_peak": 100,
        "born": 60,
        "flops": None,
        "series": [0, 60, 0],
    }
    return ModuleRow(**(fields | changes))


def line_row(**changes: Any) -> LineRow:
    one = {"shape": [5, 2], "dtype": "float32", "category": "activations", "operator": "aten.addmm", "module": None}
    fields: dict[str, Any] = {
        "file": "/home/me/train.py",
        "line": 57,
        "function": "main",
        "text": "loss.backward()",
        "phase": "backward",
        "at_peak": 100,
        "born": 60,
        "count": 3,
        "kept": 0,
        "tensors": [LineTensor(**(one | {"count": 1, "bytes": 40}))],  # type: ignore[arg-type]
    }
    return LineRow(**(fields | changes))


def modules(t: float = 2.5, step: int = 2) -> ModulesRecord:
    return ModulesRecord(t=t, device="cpu", step=step, rows=[module_row(), module_row(path=None, type="")], folded=0)


def lines(t: float = 2.5, step: int = 2) -> LinesRecord:
    rows = [line_row(), line_row(file=None, line=None, function=None, text=None, phase="held")]
    return LinesRecord(t=t, device="cpu", step=step, rows=rows)


def trace(t: float = 2.5, step: int = 2) -> TraceRecord:
    marks = [Mark(at=0.0, name="forward"), Mark(at=0.1, name="backward"), Mark(at=0.2, name="end")]
    return TraceRecord(
        t=t,
        device="cpu",
        step=step,
        seconds=0.2,
        columns=["parameters", "activations"],
        times=[0.0, 0.1, 0.2],
        points=[[40, 0], [40, 60], [40, 0]],
        marks=marks,
        peak=1,
        changes=4,
    )


def forecast(t: float = 2.6, step: int = 2, **changes: Any) -> ForecastRecord:
    """The CNN of the oracles' table, held against a GiB."""
    lines = [
        Affine(phase="backward", fixed_bytes=1_455_864, bytes_per_sample=684_040),
        Affine(phase="optimizer", fixed_bytes=2_418_932, bytes_per_sample=12_296),
    ]
    fields: dict[str, Any] = {
        "device": "cpu",
        "batch_size": 64,
        "batches": 1,
        "sample_shape": [3, 32, 32],
        "fixed_bytes": 1_455_864,
        "bytes_per_sample": 684_040,
        "phases": lines,
        "max_batch_size": 1552,
        "limit_bytes": 1 << 30,
        "error_bytes": 10_630_860,
        "points": [Point(batch_size=64, measured_bytes=45_234_424)],
        "basis": "deep look at batch 64",
        "length": None,
        "max_length": None,
        "lengths": [],
        "image": [],
        "max_pixels": None,
        "bytes_per_pixel": None,
        "pixels": [],
        "largest_image": [],
        "largest_image_bytes": None,
    }
    return ForecastRecord(t=t, step=step, **(fields | changes))


def all_kinds() -> list[Record]:
    model = ModelRecord(
        t=1.0,
        name="Sequential",
        device="cpu",
        parameters=101_770,
        trainable_parameters=101_770,
        bytes={"parameters": MLP_PARAMETERS, "trainable": MLP_PARAMETERS, "buffers": 0},
        modules=4,
        optimizers=["Adam"],
        inputs=[InputTensor(shape=[64, 1, 28, 28], dtype="float32", bytes=200_704)],
        micro_batches=1,
        sequence=None,
    )
    process = DeviceProcess(pid=1, name=None, bytes=None, ours=True)
    device = DeviceRecord(t=1.5, device="cpu", utilization=12.5, per_core=[1.0, 2.0], processes=[process])
    event = EventRecord(t=3.5, name="warning", message="slow", data={"why": ["x", 1]})
    return [run(), model, device, memory(), modules(), lines(), trace(), forecast(), step(), event, end()]

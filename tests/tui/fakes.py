"""Snapshots as a session would make them, and a session that records what it is asked."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from msgspec.structs import replace

from memtop.model import leaks, oom_text
from memtop.model.categories import CPU, CUDA, TENSORS
from memtop.model.leaks import Leak, Wait, Waits
from memtop.model.oom import Explanation, Remedy
from memtop.model.records import (
    DeviceProcess,
    DeviceRecord,
    EndRecord,
    InputTensor,
    MemoryRecord,
    ModelRecord,
    Setting,
    StepRecord,
)
from memtop.model.snapshot import Banner, Choice, LogState, Phase, Snapshot, Theory
from memtop.model.specs import GpuSpec, HostSpec, NumaNode

GIB = 2**30
T = 61.5

HOST = HostSpec(
    hostname="trainbox",
    system="Linux 6.18.44",
    cpu_model="AMD EPYC 9354 32-Core Processor",
    cpu_vendor="AuthenticAMD",
    microarchitecture="zen4",
    sockets=1,
    cores=32,
    threads=64,
    usable_threads=16,
    frequency_max_mhz=3800.0,
    caches={"L1d": 32 * 32768, "L2": 32 * 2**20, "L3": 256 * 2**20},
    features=("avx2", "avx512f", "avx512_bf16"),
    ram=24_696_061_952,
    swap=0,
    cgroup_limit=None,
    numa=(NumaNode(node=0, cpus="0-63", memory=24_696_061_952),),
)

H200 = GpuSpec(
    index=0,
    uuid="GPU-11111111-2222-3333-4444-555555555555",
    name="NVIDIA H200",
    visible_as="cuda:0",
    architecture="Hopper",
    compute_capability="9.0",
    sms=132,
    cuda_cores=16896,
    memory=150_754_820_096,
    bus_width=6144,
    bandwidth=4_800_000_000_000,
    pcie_generation=5,
    pcie_generation_max=5,
    pcie_width=16,
    pcie_width_max=16,
    driver="570.172.08",
    cuda="12.8",
    power_limit_w=700.0,
    clock_sm_max_mhz=1980,
    clock_memory_max_mhz=3201,
    ecc=True,
    mig=False,
    parent_uuid=None,
)

CHOICES = (
    Choice(name="batch_size", title="batch size", value=64, choices=(), key="b"),
    Choice(name="optimizer", title="optimizer", value="adam", choices=("sgd", "momentum", "adam", "adamw"), key="o"),
    Choice(name="precision", title="precision", value="fp32", choices=("fp32", "bf16"), key="p"),
)

LESSON = (
    "A network with one hidden layer on small colour pictures. Nearly all of its memory belongs to the first "
    "layer's weights, and Adam keeps two more numbers for each of them: the batch hardly matters here."
)


def memory(
    device: str, moment: str, step: int, t: float, figures: Mapping[str, int | None], total: int
) -> MemoryRecord:
    """A record whose `free` makes it add up."""
    names = CUDA if device.startswith("cuda") else CPU
    held: dict[str, int | None] = {name: figures.get(name, 0) for name in names}
    held["free"] = total - sum(value or 0 for name, value in held.items() if name != "free")
    return MemoryRecord(
        t=t,
        device=device,
        step=step,
        moment=moment,  # type: ignore[arg-type]
        tier="graph",
        sources={"allocator": t, "device": t - 0.4},
        bytes=held,
        where=None,
        allocated=None,
        reserved=None,
        device_total=total,
        notes=[],
    )


def _series(figures: Mapping[str, int | None], slots: int = 60) -> dict[str, tuple[int | None, ...]]:
    """Each category at its figure after a start of ten slots; activations breathe."""
    series: dict[str, tuple[int | None, ...]] = {}
    for name, value in figures.items():
        if value is None:
            series[name] = (None,) * slots
            continue
        wave = name in ("activations", "inputs")
        series[name] = tuple(
            None if i < 4 else round(value * (0.75 + 0.25 * math.sin(i / 3)) if wave else value) for i in range(slots)
        )
    columns = [[series[name][i] for name in TENSORS if name in series] for i in range(slots)]
    series["tensors"] = tuple(
        None if all(v is None for v in column) else sum(v or 0 for v in column) for column in columns
    )
    return series


def cpu_sample(t: float = T - 0.4, **changes: Any) -> DeviceRecord:
    """A host sample in the middle of a training."""
    sample = DeviceRecord(
        t=t,
        device="cpu",
        utilization=34.0,
        per_core=[3.0, 97.0, 45.0, 12.0, 0.0, 88.0, 23.0, 51.0] * 2,
        memory_total=24_696_061_952,
        memory_used=5_368_709_120,
        memory_free=19_327_352_832,
        temperature=62.0,
        clock_sm_mhz=3412.0,
        tree_rss=512_000_000,
        tree_pss=471_859_200,
        tree_pss_t=t - 3,
        tree_processes=1,
        pinned=0,
        shm_used=1_048_576,
        shm_total=12_348_030_976,
        swap_used=0,
        swap_total=0,
    )
    return replace(sample, **changes)


def gpu_sample(t: float = T - 0.4, **changes: Any) -> DeviceRecord:
    """An H200 in the middle of a training."""
    sample = DeviceRecord(
        t=t,
        device="cuda:0",
        uuid=H200.uuid,
        utilization=62.0,
        memory_utilization=31.0,
        memory_total=150_754_820_096,
        memory_used=1_503_238_553,
        memory_free=148_600_000_000,
        memory_reserved=651_581_543,
        temperature=58.0,
        power=312.0,
        power_limit=700.0,
        clock_sm_mhz=1980.0,
        clock_memory_mhz=3201.0,
        fan=None,
        throttle=[],
        processes=[DeviceProcess(pid=4242, name="python", bytes=1_200_000_000, ours=True)],
    )
    return replace(sample, **changes)


MLP = {
    "parameters": 1_578_536,
    "buffers": 0,
    "gradients": 1_578_536,
    "optimizer_state": 3_157_088,
    "inputs": 786_944,
    "activations": 35_336,
    "temporaries": None,
    "other_tensors": None,
    "runtime": 464_723_040,
    "unbacked": -12_288,
    "other_processes": 4_800_000_000,
}

CNN = {
    "parameters": 456_744,
    "buffers": 1_816,
    "gradients": 0,
    "optimizer_state": 913_544,
    "inputs": 786_944,
    "activations": 40_374_536,
    "temporaries": 0,
    "other_tensors": 0,
    "rounding": 48_392,
    "pending_free": 0,
    "cached": 25_165_824,
    "context": 545_259_520,
    "other_processes": 651_581_543,
}


def mlp(**changes: Any) -> Snapshot:
    """mlp-cifar on the CPU, training."""
    total = HOST.ram
    forward = memory("cpu", "forward_end", 1284, T - 0.2, MLP | {"gradients": 0}, total)
    backward = memory("cpu", "backward_end", 1284, T - 0.19, MLP | {"activations": 4}, total)
    end = memory("cpu", "step_end", 1284, T - 0.18, MLP | {"activations": 4}, total)
    snapshot = Snapshot(
        t=T,
        phase=Phase.TRAINING,
        phase_text="training",
        title="mlp-cifar",
        lesson=LESSON,
        choices=CHOICES,
        settings={"batch_size": 64, "optimizer": "adam", "precision": "fp32"},
        device="cpu",
        data_source="synthetic images of the same shape",
        host=HOST,
        gpus=(),
        gpu_note="no NVIDIA driver here (libnvidia-ml.so.1 is not installed)",
        cpu=cpu_sample(),
        gpu=None,
        model=_model(),
        moments={"forward_end": forward, "backward_end": backward, "step_end": end},
        now=end,
        highest=backward,
        theory={
            "parameters": Theory(bytes=1_578_536, why="394,634 × 4 B"),
            "gradients": Theory(bytes=1_578_536, why="as the parameters"),
            "optimizer_state": Theory(bytes=3_157_088, why="2 × parameters + 4 × 4 B"),
            "inputs": Theory(bytes=786_944, why="64 × 12,288 B + 64 × 8 B"),
            "activations": Theory(bytes=35_332, why="64 × 138 × 4 B + 4 B"),
        },
        step=_step(),
        steps_per_second=312.4,
        samples_per_second=19_993.0,
        total_steps=None,
        eta=None,
        series=_series(MLP),
        series_seconds=1.0,
        loss_series=tuple(2.3 * math.exp(-i / 25) + 0.2 for i in range(60)),
        output=("data: synthetic, 3x32x32", "step 1200 loss 0.4417", "step 1250 loss 0.4302"),
        output_lines=28,
        logs=(),
        banner=None,
        pending=None,
        overhead_percent=0.6,
        end=None,
    )
    return replace(snapshot, **changes)


def _model() -> ModelRecord:
    return ModelRecord(
        t=2.1,
        name="MLP",
        device="cpu",
        parameters=394_634,
        trainable_parameters=394_634,
        bytes={"parameters": 1_578_536, "trainable": 1_578_536, "buffers": 0},
        modules=4,
        optimizers=["Adam"],
        inputs=[
            InputTensor(shape=[64, 3, 32, 32], dtype="float32", bytes=786_432),
            InputTensor(shape=[64], dtype="int64", bytes=512),
        ],
    )


def _step(**changes: Any) -> StepRecord:
    step = StepRecord(
        t=T - 0.1,
        step=1284,
        steps=31,
        seconds=0.0032,
        phases={"forward": 0.0009, "backward": 0.0011, "optimizer": 0.0008, "data": 0.0003, "other": 0.0001},
        batch_size=64,
        samples_per_second=19_993.0,
        loss=0.4302,
    )
    return replace(step, **changes)


def cnn(**changes: Any) -> Snapshot:
    """cnn on an H200, training, with a log."""
    total = H200.memory or 0
    forward = memory("cuda:0", "forward_end", 840, T - 0.2, CNN, total)
    rest = {"activations": 4, "gradients": 456_744, "cached": 65_083_612}
    backward = memory("cuda:0", "backward_end", 840, T - 0.19, CNN | rest, total)
    end = memory("cuda:0", "step_end", 840, T - 0.18, CNN | rest, total)
    choices = (*CHOICES, Choice(name="inplace", title="inplace", value=False, choices=(False, True), key="i"))
    snapshot = mlp(
        title="cnn",
        lesson="Activations are nearly all of it: three blocks of convolution keep what backward needs.",
        choices=choices,
        settings={"batch_size": 64, "optimizer": "adam", "precision": "fp32", "inplace": False},
        device="cuda:0",
        gpus=(H200,),
        gpu_note=None,
        gpu=gpu_sample(),
        model=replace(_model(), name="CNN", device="cuda:0", parameters=114_186, trainable_parameters=114_186),
        moments={"forward_end": forward, "backward_end": backward, "step_end": end},
        now=forward,
        highest=forward,
        theory={
            "parameters": Theory(bytes=456_744, why="114,186 × 4 B"),
            "activations": Theory(bytes=40_374_532, why="64 × 630,852 B"),
        },
        step=_step(step=840, seconds=0.0192),
        steps_per_second=52.1,
        samples_per_second=3334.0,
        total_steps=2000,
        eta=22.2,
        series=_series(CNN | {"gradients": 456_744}),
        logs=(LogState(path="/home/you/memtop-cnn-20261121-035900.jsonl", ok=True, records=4311),),
    )
    return replace(snapshot, **changes)


def importing(**changes: Any) -> Snapshot:
    """The target's Python runs, torch is on its way in."""
    snapshot = mlp(
        t=1.2,
        phase=Phase.IMPORTING,
        phase_text="importing torch … 1.2 s",
        cpu=cpu_sample(t=1.0, tree_pss=None, tree_pss_t=None, tree_rss=88_000_000),
        model=None,
        moments={},
        now=None,
        highest=None,
        theory={},
        step=None,
        steps_per_second=None,
        samples_per_second=None,
        series={},
        loss_series=(),
        output=(),
        output_lines=0,
        overhead_percent=None,
    )
    return replace(snapshot, **changes)


def starting() -> Snapshot:
    """Nothing known yet but what was asked for."""
    return importing(t=0.0, phase=Phase.STARTING, phase_text="starting", host=None, cpu=None, gpu_note=None)


def paused() -> Snapshot:
    """Paused half a minute ago."""
    return mlp(t=T + 31, phase=Phase.PAUSED, phase_text="paused", cpu=cpu_sample(t=T + 30.6))


def failed() -> Snapshot:
    """The script raised."""
    end = EndRecord(
        t=T, exit_code=1, signal=None, steps=1284, seconds=T, peak={"cpu": {"tensors": 7_101_104}}, dropped=0,
        overhead_percent=0.6,
    )  # fmt: skip
    return mlp(
        phase=Phase.ENDED,
        phase_text="ended: exit status 1",
        end=end,
        banner=Banner(
            severity="error",
            text="the training ended with exit status 1",
            remedy="e shows its last words, r starts it anew",
        ),
        output=("Traceback (most recent call last):", '  File "train.py", line 88, in <module>', "ValueError: boom"),
    )


OOM = Explanation(
    t=9.2, step=3, device="cuda:0", asked=2_684_354_560, short=1_589_137_900, available=1_095_216_660,
    bytes=CNN | {"activations": 140_000_000_000, "cached": 4_000_000_000}, total=H200.memory,
    place="/home/a/train.py:57",
    text="x = self.block3(x)", module="block3.conv", cached=4_000_000_000, largest_free=1_048_576_000, fragmented=True,
    limit=None, changes=("the batch was (64, 3, 32, 32) float32, it is (512, 3, 32, 32) float32",),
    remedies=(
        Remedy(text="set PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True: the cache was enough, but in pieces",
               saves=4_000_000_000, enough=True, estimate=False),
        Remedy(text="batch 506 instead of 512 (accumulate gradients for the same effect)", saves=1_640_625_000,
               enough=True, estimate=True),
    ),
)  # fmt: skip


def leaking() -> Snapshot:
    """A list that keeps its losses, and lines that wait for the GPU."""
    leak = Leak(
        t=8.0, kind="graph", file="/home/a/train.py", line=31, text="loss = criterion(model(x), y)", module=None,
        category="activations", device="cuda:0", tensors_per_step=1, bytes_per_step=2_097_152, since=2,
        holder="list losses",
    )  # fmt: skip
    rows = (
        Wait(file="/home/a/train.py", line=40, text="total += loss.item()", operator="_local_scalar_dense",
             device="cuda", phase="forward", count=1, seconds=0.0123),
        Wait(file=None, line=None, text=None, operator="nonzero", device="cuda", phase="backward", count=12,
             seconds=0.0004),
    )  # fmt: skip
    banner = Banner(severity="warning", text=leaks.headline(leak), remedy=leaks.remedy(leak))
    return cnn(leaks=(leak,), banner=banner, waits=Waits(step=30, count=13, seconds=0.0127, rows=rows))


def out_of_memory() -> Snapshot:
    """CUDA ran out."""
    end = EndRecord(
        t=T, exit_code=1, signal=None, steps=3, seconds=9.0, peak={"cuda:0": {"tensors": 140_000_000_000}}, dropped=0,
        overhead_percent=0.4,
    )  # fmt: skip
    big = CNN | {"activations": 140_000_000_000, "cached": 4_000_000_000}
    record = memory("cuda:0", "forward_end", 3, 8.8, big, H200.memory or 0)
    return cnn(
        t=9.4,
        phase=Phase.ENDED,
        phase_text="ended: out of memory, exit status 1",
        end=end,
        now=record,
        highest=record,
        banner=Banner(severity="error", text=oom_text.headline(OOM), remedy=oom_text.advice(OOM)),
        oom=OOM,
    )


def lost() -> Snapshot:
    """The probe's connection broke."""
    return mlp(
        t=T + 12,
        phase=Phase.LOST,
        phase_text="the probe's connection broke",
        banner=Banner(severity="warning", text="figures from inside have stopped: the training goes on"),
        cpu=cpu_sample(t=T + 11.6),
    )


def two_gpus() -> Snapshot:
    """Two GPUs, the second hidden from the target; a context that can't be told apart."""
    other = replace(H200, index=1, uuid="GPU-99999999-2222-3333-4444-555555555555", visible_as=None)
    record = memory("cuda:0", "forward_end", 840, T - 0.2, CNN | {"context": None}, H200.memory or 0)
    return cnn(gpus=(H200, other), now=replace(record, notes=["context unknown: in other_processes"]))


def unknown() -> Snapshot:
    """As little as a session may know."""
    return mlp(
        host=None, cpu=cpu_sample(utilization=None, per_core=None, tree_rss=None, tree_pss=None, temperature=None),
        model=None, theory={}, step=_step(loss=None, batch_size=None, phases={}), settings={}, choices=(), lesson="",
        data_source=None, steps_per_second=None, samples_per_second=None, overhead_percent=None, loss_series=(),
    )  # fmt: skip


def hostile() -> Snapshot:
    """Strings as bad as a target can make them."""
    bad = "训练 [red]x[/] \x1b[31m\x1b]0;t\x07 ‮abc 🧨👩‍👩‍👧 e\u0301" + "长" * 60
    return cnn(
        title=bad, output=(bad,) * 20, phase_text=bad, data_source=bad, lesson=bad * 4, pending=bad,
        gpus=(replace(H200, name=bad, driver=bad),), host=replace(HOST, hostname=bad, cpu_model=bad),
        banner=Banner(severity="warning", text=bad, remedy=bad), model=replace(_model(), name=bad),
    )  # fmt: skip


STATES: dict[str, Callable[[], Snapshot]] = {
    "mlp": mlp,
    "cnn": cnn,
    "importing": importing,
    "starting": starting,
    "paused": paused,
    "failed": failed,
    "out_of_memory": out_of_memory,
    "leaking": leaking,
    "lost": lost,
    "two_gpus": two_gpus,
    "unknown": unknown,
    "hostile": hostile,
}


class FakeSession:
    """Answers with a snapshot one gives it, and writes down what it is asked."""

    pid: int | None = None
    status: int | None = None
    is_guest = False

    @property
    def is_command(self) -> bool:
        """As a session has it: what is no scenario offers no choices."""
        return not self.now.choices

    def stop(self) -> None:
        self.calls.append(("stop",))

    def __init__(self, snapshot: Snapshot | None = None, fails: Exception | None = None) -> None:
        self.now = snapshot or mlp()
        self.calls: list[tuple[Any, ...]] = []
        self.callbacks: list[Callable[[], None]] = []
        self.lines: list[str] = list(self.now.output)
        self.log_error: str | None = None
        self.type_error: str | None = None
        self._fails = fails

    def start(self) -> None:
        self.calls.append(("start",))
        if self._fails is not None:
            raise self._fails

    def subscribe(self, callback: Callable[[], None]) -> None:
        self.callbacks.append(callback)

    def publish(self, snapshot: Snapshot) -> None:
        """A new snapshot, told to all."""
        self.now = snapshot
        for callback in self.callbacks:
            callback()

    def snapshot(self) -> Snapshot:
        return self.now

    def output_since(self, line: int) -> tuple[int, list[str]]:
        return len(self.lines), self.lines[line:]

    def pause(self) -> None:
        self.calls.append(("pause",))

    def resume(self) -> None:
        self.calls.append(("resume",))

    def deep_look(self) -> None:
        self.calls.append(("deep_look",))

    def restart(self, scenario: str | None = None, settings: Mapping[str, Setting] | None = None) -> None:
        self.calls.append(("restart", scenario, None if settings is None else dict(settings)))

    def start_log(self, path: str) -> str | None:
        self.calls.append(("start_log", path))
        return self.log_error

    def type(self, text: str) -> str | None:
        self.calls.append(("type", text))
        return self.type_error

    def resize(self, columns: int, lines: int) -> None:
        """Every screen has a size."""

    def stop_logs(self) -> None:
        self.calls.append(("stop_logs",))

    def wait(self, timeout: float | None = None) -> EndRecord | None:
        return self.now.end

    def close(self) -> EndRecord | None:
        self.calls.append(("close",))
        return self.now.end

"""The records of a run: what the log holds, one JSON object a line, and what a snapshot is made from.

A public contract (`v` is its version): every key of a kind is present, unknown is `null`, readers ignore keys and
kinds they don't know. Sizes are integer bytes, times seconds since the run began (monotonic), temperatures °C,
power W. `docs`: `memtop schema` prints these types as JSON Schema.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from memtop.model.deep_records import LinesRecord, ModulesRecord, TraceRecord
from memtop.model.forecast_record import ForecastRecord
from memtop.model.record_base import VERSION as VERSION
from memtop.model.record_base import RecordBase
from memtop.model.specs import GpuSpec, HostSpec

Moment = Literal["forward_end", "backward_end", "step_end", "peak"]
Tier = Literal["counters", "graph", "saved", "deep"]
Setting = str | int | float | bool | None


class RunRecord(RecordBase, frozen=True, kw_only=True):
    """First line of a log."""

    kind: Literal["run"] = "run"
    memtop: str
    """memtop's version."""
    command: list[str]
    """The target's command line."""
    scenario: str | None
    settings: dict[str, Setting]
    """A scenario's settings by name (batch_size, optimizer, ...); empty for `memtop run`."""
    host: HostSpec | None
    gpus: list[GpuSpec]
    started_at: str
    """ISO 8601, UTC."""


class InputTensor(msgspec.Struct, frozen=True, kw_only=True):
    """One tensor of the batch as the loader yielded it."""

    shape: list[int]
    dtype: str
    """`float32`, `int64`, ... (torch's name without its prefix)."""
    bytes: int
    """Bytes of its storage, whole."""


class ModelRecord(RecordBase, frozen=True, kw_only=True):
    """The model and what feeds it; again when it changes."""

    kind: Literal["model"] = "model"
    name: str | None
    """Class of the root module (several joined by ` + `)."""
    device: str | None
    """The device most parameter bytes live on."""
    parameters: int
    """Number of parameter elements, tied ones once."""
    trainable_parameters: int
    bytes: dict[str, int | None]
    """Bytes of `parameters`, `trainable` (those that take a gradient) and `buffers`."""
    modules: int | None
    """Number of modules, the root included."""
    optimizers: list[str]
    """Class names, in the order seen."""
    inputs: list[InputTensor]
    """One batch; of several in a step, the newest."""
    micro_batches: int | None = None
    """Batches that one step takes: more than one where gradients accumulate; `null` where none was seen."""
    sequence: int | None = None
    """Length of the samples where they are sequences; `null` where they are none, or nothing says so."""


class MemoryRecord(RecordBase, frozen=True, kw_only=True):
    """One device at one watched moment. `device_total` is the sum of all of `bytes`, exactly."""

    kind: Literal["memory"] = "memory"
    device: str
    """`cpu`, or `cuda:N` as the target sees it."""
    step: int
    """Steps completed before this moment's step, plus one: the first step is 1."""
    moment: Moment
    tier: Tier
    """How the tensor categories were found."""
    sources: dict[str, float | None]
    """When each source was read, in run seconds: `allocator` (the probe's reading) and `device` (NVML or /proc)."""
    bytes: dict[str, int | None]
    """Bytes by category; `null` is unknown and counts as nothing in the sum: `notes` say what absorbs it."""
    where: dict[str, Any] | None
    """Of a peak: `phase`, `module` (dotted path), `operator`, `line` (`file:12`), `text` of that line, `seconds` into
    the step; each `null` where not known."""
    allocated: int | None
    """torch's `allocated_bytes.all.current`. The CPU's allocator keeps no count: there it is the sum of the storages
    that a deep look followed, else `null`."""
    reserved: int | None
    """torch's `reserved_bytes.all.current`."""
    device_total: int | None
    """Bytes of the whole device: NVML's total, or RAM or the cgroup's limit. `null` before the first device reading."""
    notes: list[str]


class StepRecord(RecordBase, frozen=True, kw_only=True):
    """Training steps; at most 10 records a second, each standing for `steps` of them."""

    kind: Literal["step"] = "step"
    step: int
    """The last step it stands for; the first step is 1."""
    steps: int
    seconds: float
    """Mean seconds a step, time asleep in a pause left out."""
    phases: dict[str, float | None]
    """Mean seconds a step of `forward`, `backward`, `optimizer`, `data`, `other`, over the watched steps among them."""
    batch_size: int | None
    samples_per_second: float | None
    loss: float | None
    """Loss at the last watched step."""
    pass_end: int | None = None
    """The step with which the running pass over the loader will end, by the loader's length and the batches it has
    given; `null` where no loader says its length."""


class DeviceProcess(msgspec.Struct, frozen=True, kw_only=True):
    """A process on a device."""

    pid: int
    name: str | None
    bytes: int | None
    """Device memory of the process; `null` where the driver does not say."""
    ours: bool
    """Whether it belongs to the target's process tree."""


class DeviceRecord(RecordBase, frozen=True, kw_only=True):
    """One device (the CPU with its RAM, or a GPU) seen from outside, every interval.

    Fields that have no meaning for a device are `null`, as are those not available.
    """

    kind: Literal["device"] = "device"
    device: str
    """`cpu`, `cuda:N` as the target sees it, or `gpu:UUID` for a GPU hidden from it."""
    uuid: str | None = None
    utilization: float | None = None
    """Per cent busy, 0 to 100: the GPU's kernels, or all usable CPUs together."""
    memory_utilization: float | None = None
    """Per cent of time in which GPU memory was read or written."""
    per_core: list[float] | None = None
    """Per cent busy by logical CPU."""
    memory_total: int | None = None
    """NVML v2 total; on the CPU the cgroup's limit or RAM."""
    memory_used: int | None = None
    """NVML v2 used (the driver's reserve apart); on the CPU total minus free."""
    memory_free: int | None = None
    """NVML free; on the CPU what the system calls available, or limit minus usage plus reclaimable cache."""
    memory_reserved: int | None = None
    """The driver's own reserve (NVML v2)."""
    temperature: float | None = None
    power: float | None = None
    power_limit: float | None = None
    clock_sm_mhz: float | None = None
    """SM clock; on the CPU the current frequency."""
    clock_memory_mhz: float | None = None
    fan: float | None = None
    """Per cent of full speed."""
    throttle: list[str] | None = None
    """Reasons the clocks are held down now; empty is none."""
    processes: list[DeviceProcess] | None = None
    """Who holds the device's memory; `null` where it can't be seen. On the CPU the ranks of a distributed run, by the
    PSS of each and of what it started; `null` where there is one rank."""
    tree_rss: int | None = None
    """Summed RSS of the target's process tree: counts shared pages again for each process."""
    tree_pss: int | None = None
    """PSS of the target's process tree: shared pages shared out. Read at a low rate."""
    tree_pss_t: float | None = None
    """When `tree_pss` was read, run seconds."""
    tree_processes: int | None = None
    pinned: int | None = None
    """Pinned and locked host memory of the tree (VmPin + VmLck)."""
    shm_used: int | None = None
    shm_total: int | None = None
    swap_used: int | None = None
    swap_total: int | None = None
    cgroup_limit: int | None = None
    cgroup_used: int | None = None
    notes: list[str] = msgspec.field(default_factory=list)
    """Why a field is `null`, each reason once a run."""


class EventRecord(RecordBase, frozen=True, kw_only=True):
    """Something happened: oom, leak, warning, command, restart, ..."""

    kind: Literal["event"] = "event"
    name: str
    message: str
    data: dict[str, Any]


class RankEnd(msgspec.Struct, frozen=True, kw_only=True):
    """One rank of a run that is over."""

    rank: int
    device: str
    steps: int
    tensors: int | None
    """Tensor bytes of its highest memory record."""
    lost_at: float | None
    """When its connection broke without a last word, run seconds; `null` where it left in good order."""


class EndRecord(RecordBase, frozen=True, kw_only=True):
    """Last line of a log."""

    kind: Literal["end"] = "end"
    exit_code: int | None
    """The target's own exit status; `null` where a signal ended it."""
    signal: int | None
    """The signal that ended the target, else `null`."""
    steps: int
    seconds: float
    peak: dict[str, dict[str, int | None]]
    """By device: bytes by category of the memory record whose tensors were most, and their sum under `tensors`. Of
    several ranks on a device (by its name), the one that held most."""
    dropped: int
    """Records lost on the way: the probe never waits for the monitor."""
    overhead_percent: float | None
    """Time spent watching over time trained, per cent; `null` where the probe never told. An estimate: the hooks of
    unwatched steps count at a fixed price, and what they do to caches is not seen. Announced looks stand outside."""
    announced_seconds: float | None = None
    """Time that the announced looks took beyond the budget: steps 1 and 2, and those asked for by key. An estimate: a
    deep step's time less the mean of its neighbours, and our own work after it."""
    looks: int | None = None
    """Deep looks taken; `null` where the probe never told. Of several ranks, as the two above, that of the highest."""
    ranks: list[RankEnd] | None = None
    """Each rank by itself; `null` where there is one."""


Record = (
    RunRecord
    | ModelRecord
    | MemoryRecord
    | ModulesRecord
    | LinesRecord
    | TraceRecord
    | StepRecord
    | DeviceRecord
    | ForecastRecord
    | EventRecord
    | EndRecord
)

KINDS: dict[str, type[Record]] = {
    "run": RunRecord,
    "model": ModelRecord,
    "memory": MemoryRecord,
    "modules": ModulesRecord,
    "lines": LinesRecord,
    "trace": TraceRecord,
    "step": StepRecord,
    "device": DeviceRecord,
    "forecast": ForecastRecord,
    "event": EventRecord,
    "end": EndRecord,
}

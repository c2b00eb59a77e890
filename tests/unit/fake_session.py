"""A session that plays a script instead of a training, and its snapshot: for front ends without a process."""

from __future__ import annotations

from collections.abc import Callable

from msgspec.structs import replace

from memtop.model.records import EndRecord
from memtop.model.snapshot import LogState, Phase, Snapshot, Tracked
from memtop.session import Options
from tests.unit import sample_records as sample


def snapshot(**changes: object) -> Snapshot:
    memory = sample.memory(step=2)
    base = Snapshot(
        t=3.0,
        phase=Phase.TRAINING,
        phase_text="training",
        title="mlp-mnist",
        lesson="",
        choices=(),
        settings={},
        device="cpu",
        data_source=None,
        host=None,
        gpus=(),
        gpu_note=None,
        cpu=None,
        gpu=None,
        model=None,
        moments={},
        now=memory,
        highest=memory,
        theory={},
        step=sample.step(number=20, loss=0.4123),
        steps_per_second=52.13,
        samples_per_second=3334.0,
        total_steps=200,
        eta=192.0,
        series={},
        series_seconds=1.0,
        loss_series=(),
        output=(),
        output_lines=0,
        logs=(),
        banner=None,
        pending=None,
        overhead_percent=None,
        end=None,
    )
    return replace(base, **changes)  # type: ignore[arg-type]


class FakeSession:
    """`wait` calls return at once, `None` until the script of snapshots is played; then comes `end`."""

    is_guest = False
    status: int | None = None

    def stop(self) -> None:
        """A scenario has nothing that must be asked."""

    def __init__(
        self,
        frames: list[Snapshot],
        end: EndRecord | None = None,
        output: list[str] | None = None,
        on_wait: Callable[[int], None] | None = None,
    ) -> None:
        self.frames = frames
        self.end = end or sample.end()
        self.output = output or []
        self.on_wait = on_wait
        self.options = Options()
        self.tracked: list[Tracked] = []
        """Marks of `memtop.track()` so far."""
        self.waits = 0
        self.closed = 0

    def __call__(self, options: Options) -> FakeSession:
        self.options = options
        return self

    def start(self) -> None: ...

    def snapshot(self) -> Snapshot:
        return self.frames[min(self.waits, len(self.frames)) - 1]

    def wait(self, timeout: float | None = None) -> EndRecord | None:
        self.waits += 1
        if self.on_wait is not None:
            self.on_wait(self.waits)
        return self.end if self.waits > len(self.frames) else None

    def output_since(self, line: int) -> tuple[int, list[str]]:
        return len(self.output), self.output[line:]

    def tracked_since(self, number: int) -> tuple[int, list[Tracked]]:
        return len(self.tracked), self.tracked[number:]

    def close(self) -> EndRecord | None:
        self.closed += 1
        return self.end


def with_log(path: str, **changes: object) -> tuple[LogState, ...]:
    fields: dict[str, object] = {"ok": True, "records": 1204}
    return (LogState(path=path, **(fields | changes)),)  # type: ignore[arg-type]

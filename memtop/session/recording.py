"""Records to the sinks and to whoever listens, the `run` line first."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from msgspec.structs import replace

from memtop.model.records import EndRecord, Record, RunRecord
from memtop.model.snapshot import LogState
from memtop.model.specs import GpuSpec, HostSpec
from memtop.sinks import Sink, SinkError, open_sink


class Recording:
    """The sinks of a session. Not thread-safe: its session holds a lock."""

    def __init__(self) -> None:
        self.listeners: list[Callable[[Record], None]] = []
        self._sinks: list[Sink] = []
        self._closed: list[LogState] = []
        self._run: RunRecord | None = None
        self._facts: tuple[HostSpec, list[GpuSpec]] | None = None
        self._waiting: list[Record] = []
        self._announced = False

    def open(self, paths: Sequence[str]) -> None:
        """Open a sink a path. Raises `SinkError`; then none is open."""
        opened: list[Sink] = []
        try:
            opened.extend(open_sink(path) for path in paths)
        except SinkError:
            for sink in opened:
                sink.close()
            raise
        self._sinks += opened

    def add(self, path: str, known: Sequence[Record]) -> str | None:
        """One more sink, told at once what runs and what is `known` of it. Returns why it can't be, or `None`."""
        seen = any(state.path == path for state in self._closed)
        try:
            sink = open_sink(path, append=seen)
        except SinkError as error:
            return str(error)
        run = self._complete()
        for record in (*([] if run is None else [run]), *known):
            sink.write(record)
        self._sinks.append(sink)
        return None

    def begin(self, run: RunRecord) -> None:
        """A run begins: its line is written as soon as the machine's facts are known."""
        self._run, self._announced, self._waiting = run, False, []
        self._announce()

    def know(self, host: HostSpec | None, gpus: list[GpuSpec]) -> None:
        """The machine's facts."""
        if host is not None:
            self._facts = (host, gpus)
            self._announce()

    def _complete(self) -> RunRecord | None:
        if self._run is None or self._facts is None:
            return self._run
        return replace(self._run, host=self._facts[0], gpus=self._facts[1])

    def _announce(self, *, anyway: bool = False) -> None:
        """The `run` line, then what waited for it."""
        run = self._complete()
        if run is None or self._announced or (self._facts is None and not anyway):
            return
        self._announced = True
        waiting, self._waiting = self._waiting, []
        for record in (run, *waiting):
            self._out(record)

    def write(self, record: Record) -> None:
        """A record to every sink and listener. An end does not wait for facts."""
        if isinstance(record, EndRecord):
            self._announce(anyway=True)
        if self._announced:
            self._out(record)
        else:
            self._waiting.append(record)

    def _out(self, record: Record) -> None:
        for sink in self._sinks:
            sink.write(record)
        for listener in self.listeners:
            listener(record)

    def states(self) -> tuple[LogState, ...]:
        """The sinks that are open; after `close`, those that were."""
        return tuple(sink.state() for sink in self._sinks) or tuple(self._closed)

    def close(self) -> None:
        """Close every sink with its last whole line. Idempotent."""
        for sink in self._sinks:
            sink.close()
        if self._sinks:
            paths = {sink.state().path for sink in self._sinks}
            self._closed = [one for one in self._closed if one.path not in paths]
            self._closed += [replace(sink.state(), closed=True) for sink in self._sinks]
        self._sinks = []

"""One run of one target. Starts it, follows it, writes what it sees, ends it. Thread-safe."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timezone

import memtop
from memtop.launcher import manifests
from memtop.launcher.target import Address, LaunchError, Target, environment, python_with_torch
from memtop.model.records import DeviceRecord, EndRecord, EventRecord, Record, RunRecord, Setting
from memtop.model.snapshot import Banner, Phase, Snapshot
from memtop.model.text import harmless
from memtop.protocol import records as wire
from memtop.protocol.commands import Command, Name
from memtop.session.links import Links
from memtop.session.options import Options
from memtop.session.output import Output
from memtop.session.readings import Facts, Readings
from memtop.session.recording import Recording
from memtop.session.state import State
from memtop.session.view import Around, snapshot

DEFAULT = "mlp-cifar"
"""The scenario of a bare `memtop`."""


class Session:
    """Every method returns at once unless it says that it waits."""

    def __init__(self, options: Options) -> None:
        """Nothing is launched, but the machine's facts are being read. Raises `ManifestError` for bad settings."""
        self._options = options
        manifest = manifests.load(options.scenario or DEFAULT)
        given = dict(options.settings) | ({} if options.steps is None else {"steps": options.steps})
        self._around = Around(manifest=manifest, settings=manifests.resolve(manifest, given))
        self._env = dict(os.environ)
        self._lock = threading.RLock()
        self._changed: list[Callable[[], None]] = []
        self._state = State(time.monotonic_ns())
        self._start_ns = time.monotonic_ns()
        self._recording = Recording()
        self._target: Target | None = None
        self._address: Address | None = None
        self._links: Links | None = None
        self._over = threading.Event()
        self._changing = threading.Lock()
        self._commands = 0
        self._asked: dict[int, Name] = {}
        """Commands on their way, by number."""
        self._wants_pause = False
        self._closed = False
        self._readings = Readings(self._env, options.interval, self._facts, self._samples)
        self._readings.begin()

    def start(self) -> None:
        """Launch the target. Raises `LaunchError` or `SinkError` (one line, remedy) where that is impossible."""
        with self._changing:
            self._launch(lambda: self._recording.open(self._options.logs))

    def subscribe(self, callback: Callable[[], None]) -> None:
        """Call `callback` (on one of our threads, must be quick) whenever something changed."""
        self._changed.append(callback)

    def on_record(self, callback: Callable[[Record], None]) -> None:
        """Call `callback` with each record, in the order of the log."""
        self._recording.listeners.append(callback)

    def snapshot(self) -> Snapshot:
        """The newest of everything. Cheap enough for every frame."""
        with self._lock:
            self._around.logs = self._recording.states()
            return snapshot(self._state, self._around, self._now())

    def output_since(self, line: int) -> tuple[int, list[str]]:
        """(number of lines so far, the harmless lines from number `line` on that are still kept)."""
        with self._lock:
            return self._around.output.since(line)

    def pause(self) -> None:
        """Ask the training to wait at its next step boundary; the snapshot's phase says when it does."""
        self._command("pause", "pausing at the next step")

    def resume(self) -> None:
        """Let a paused training go on."""
        self._command("resume", "resuming")

    def restart(self, scenario: str | None = None, settings: Mapping[str, Setting] | None = None) -> None:
        """End this target and launch one anew, in the background. Raises `ManifestError` for bad settings.

        `settings` go over the present ones; another scenario takes those of them that it offers.
        """
        with self._lock:
            before = self._around
            manifest = manifests.load(scenario) if scenario else before.manifest
            given = {name: value for name, value in before.settings.items() if manifest.spec(name)}
            if manifest.name != before.manifest.name:
                given = {name: value for name, value in given.items() if value != _default(before.manifest, name)}
            chosen = manifests.resolve(manifest, {**given, **(settings or {})})
            changed = ", ".join(f"{name} {value}" for name, value in (settings or {}).items())
            self._around.pending = f"{scenario or changed or 'same settings'}: restarting"
            self._around.stopped = True
        self._notify()
        threading.Thread(target=self._relaunch, args=(manifest, chosen), name="memtop-restart", daemon=True).start()

    def start_log(self, path: str) -> str | None:
        """Write records to `path` from now on, a `run` and a `model` line first. Returns why it can't, or `None`."""
        with self._lock:
            error = self._recording.add(path, self._state.model)
        self._notify()
        return error

    def stop_logs(self) -> None:
        """Close every log with its last whole line."""
        with self._lock:
            self._recording.close()
        self._notify()

    def wait(self, timeout: float | None = None) -> EndRecord | None:
        """Wait for the target's end; `None` after `timeout` seconds."""
        return self._state.end if self._over.wait(timeout) else None

    def close(self) -> EndRecord | None:
        """End the target (TERM, then KILL), the collectors and the logs. Waits, two seconds at most. Idempotent."""
        self._closed = True
        with self._changing:
            self._end_target()
        self._readings.close()
        with self._lock:
            self._recording.close()
        return self._state.end

    def _launch(self, open_logs: Callable[[], None]) -> None:
        around = self._around
        python = python_with_torch(self._options.python)
        address = Address()
        try:
            env = environment(self._env, address.path, self._options.overhead)
            command = manifests.command(around.manifest, around.settings, python)
            open_logs()
            with self._lock:
                self._start_ns = time.monotonic_ns()
                self._state = State(self._start_ns, self._state.devices.values())
                self._over.clear()
                around.output, around.problem, around.stopped, around.pending = Output(), None, False, None
                self._recording.begin(self._run(command))
                self._write([EventRecord(t=0.0, name="data", message=self._data(), data={})])
            target = Target(command, env, self._options.output)
        except BaseException:
            address.close()
            raise
        self._target, self._address = target, address
        self._links = Links(target, address, self)
        self._links.begin()
        self._readings.follow(target.pid, self._now)
        self._notify()

    def _data(self) -> str:
        return manifests.data_source(self._around.manifest, self._around.settings)

    def _run(self, command: list[str]) -> RunRecord:
        around = self._around
        return RunRecord(
            t=0.0,
            memtop=memtop.__version__,
            command=command,
            scenario=around.manifest.name,
            settings=dict(around.settings),
            host=around.facts.host,
            gpus=list(around.facts.gpus),
            started_at=datetime.now(timezone.utc).isoformat(timespec="milliseconds"),
        )

    def _relaunch(self, manifest: manifests.Manifest, settings: dict[str, Setting]) -> None:
        with self._changing:
            self._end_target()
            if self._closed:
                return
            with self._lock:
                self._around.manifest, self._around.settings = manifest, settings
            try:
                self._launch(lambda: None)
            except LaunchError as error:
                with self._lock:
                    self._around.pending = None
                    self._around.problem = Banner(severity="error", text=error.message, remedy=error.remedy)
        self._notify()

    def _end_target(self) -> None:
        """Waits until the target is gone and its last words are written."""
        target, self._target = self._target, None
        if target is None:
            return
        self._around.stopped = self._around.stopped or self._state.end is None
        target.stop()
        if self._links is not None:
            self._links.join(2.0)
        if self._address is not None:
            self._address.close()

    def _command(self, name: Name, words: str) -> None:
        with self._lock:
            if self._state.end is not None:
                return
            self._commands += 1
            self._asked[self._commands] = name
            sent = self._links is not None and self._links.send(Command(id=self._commands, name=name))
            self._wants_pause = name == "pause" and not sent
            self._around.pending = words if sent or self._wants_pause else None
        self._notify()

    def _now(self) -> float:
        return round((time.monotonic_ns() - self._start_ns) / 1e9, 6)

    def _notify(self) -> None:
        for callback in self._changed:
            callback()

    def _write(self, records: list[Record]) -> None:
        for record in records:
            self._recording.write(record)

    # What the links' thread and the readings' thread tell us.

    def message(self, message: wire.Message) -> None:
        """A probe's message."""
        with self._lock:
            state = self._state
            if isinstance(message, (wire.Ack, wire.Fault)):
                self._answered(message)
            else:
                visible = dict(state.visible)
                self._write(state.heard(message))
                if state.visible != visible:
                    self._readings.see(state.visible)
            begin_paused = self._wants_pause and isinstance(message, wire.Hello)
        if begin_paused:
            self.pause()
        self._notify()

    def _answered(self, message: wire.Ack | wire.Fault) -> None:
        state, t = self._state, self._now()
        self._around.pending = None
        if isinstance(message, wire.Fault):
            remedy = None if message.remedy is None else harmless(message.remedy, 200)
            self._around.problem = Banner(severity="warning", text=harmless(message.message, 200), remedy=remedy)
            return
        name = self._asked.pop(message.id, None)
        if name is None:
            return
        state.enter(Phase.PAUSED if name == "pause" else Phase.TRAINING, t)
        text = f"{name} took effect after step {message.step}"
        self._write([EventRecord(t=t, name="command", message=text, data={"name": name, "step": message.step})])

    def malformed(self, count: int) -> None:
        """Lines that did not decode."""
        self._state.malformed += count

    def printed(self, chunk: bytes) -> None:
        """The target's stdout or stderr."""
        with self._lock:
            self._around.output.feed(chunk)
        self._notify()

    def lost(self) -> None:
        """The probe's connection ended before the target did (at an ordinary end it does so a moment before)."""
        with self._lock:
            if self._state.end is None:
                self._state.enter(Phase.LOST, self._now())

    def ended(self, code: int) -> None:
        """The target is gone and everything of it has been read."""
        with self._lock:
            self._around.output.finish()
            self._write([self._state.ended(self._now(), code)])
            self._wants_pause = False
        self._over.set()
        self._notify()

    def tick(self) -> None:
        """Ten times a second."""
        duration, target = self._options.duration, self._target
        if duration is not None and target is not None and self._now() >= duration and not self._around.stopped:
            self._around.stopped = True
            text = f"{duration:g} seconds are over"
            with self._lock:
                self._write([EventRecord(t=self._now(), name="command", message=text, data={"name": "duration"})])
            threading.Thread(target=target.stop, name="memtop-duration", daemon=True).start()

    def _facts(self, facts: Facts) -> None:
        with self._lock:
            self._around.facts = facts
            self._recording.know(facts.host, list(facts.gpus))
        self._notify()

    def _samples(self, samples: list[DeviceRecord]) -> None:
        with self._lock:
            if self._state.end is None:
                self._write(self._state.sampled(samples))
            if self._around.facts.gpus and self._state.visible:
                self._around.facts = _renamed(self._around.facts, self._state.visible)
        self._notify()


def _default(manifest: manifests.Manifest, name: str) -> Setting:
    spec = manifest.spec(name)
    return spec.default if spec is not None else None


def _renamed(facts: Facts, visible: Mapping[str, str]) -> Facts:
    """The GPUs by the names that the target's torch gives them."""
    names = {uuid.removeprefix("GPU-").removeprefix("MIG-"): name for uuid, name in visible.items()}
    bare = {gpu.uuid: gpu.uuid.removeprefix("GPU-").removeprefix("MIG-") for gpu in facts.gpus}
    with suppress(KeyError):
        return replace(facts, gpus=tuple(replace(gpu, visible_as=names.get(bare[gpu.uuid])) for gpu in facts.gpus))
    return facts

"""One run of one target. Starts it, follows it, writes what it sees, ends it. Thread-safe."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping

from msgspec.structs import replace

from memtop.launcher import manifests
from memtop.launcher.command import CommandTarget
from memtop.launcher.guest import Guest
from memtop.launcher.target import Address, LaunchError, Target
from memtop.model.deep_records import TraceRecord
from memtop.model.i18n import N_, _
from memtop.model.records import DeviceRecord, EndRecord, EventRecord, Record, Setting
from memtop.model.snapshot import Banner, Phase, Snapshot, Tracked
from memtop.model.text import harmless
from memtop.protocol import records as wire
from memtop.protocol.commands import Command, Name
from memtop.session.forecasts import Forecasts
from memtop.session.kills import Kills
from memtop.session.launching import Warmth, command_line, run_record, started
from memtop.session.links import Links
from memtop.session.options import Options
from memtop.session.output import Output
from memtop.session.ranks import Ranks
from memtop.session.readings import Facts, Readings, renamed
from memtop.session.recording import Recording
from memtop.session.view import around, default, snapshot

_BRINGS: dict[Name, Phase] = {"pause": Phase.PAUSED, "resume": Phase.TRAINING}
"""Where a command leaves the session once it took effect; the others leave it where it is."""


class Session:
    """Every method returns at once unless it says that it waits."""

    def __init__(self, options: Options) -> None:
        """Nothing is launched, but the machine's facts are being read. Raises `ManifestError` for bad settings."""
        self._options = options
        self._around = around(options)
        self._env = {**os.environ, **options.environment}
        self._lock = threading.RLock()
        self._changed: list[Callable[[], None]] = []
        self._forecasts = Forecasts()
        self._state = Ranks(time.monotonic_ns(), forecasts=self._forecasts)
        self._start_ns = time.monotonic_ns()
        self._recording = Recording()
        self._target: Target | CommandTarget | Guest | None = None
        self._address: Address | None = None
        self._links: Links | None = None
        self._kills = Kills()
        self._warmth = Warmth(options, self._env)
        self._over = threading.Event()
        self._changing = threading.Lock()
        self._commands = 0
        self._asked: dict[int, Name] = {}
        """Commands on their way, by number."""
        self._wants_pause = False
        self._closed = False
        self._fulfilled = False
        """Whether `--steps` or `--duration` ended a command."""
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
            return snapshot(self._state.shown, self._around, self._now(), self._state.strip())

    def output_since(self, line: int) -> tuple[int, list[str]]:
        """(number of lines so far, the harmless lines from number `line` on that are still kept)."""
        with self._lock:
            return self._around.output.since(line)

    def tracked_since(self, number: int) -> tuple[int, list[Tracked]]:
        """(number of marks of `memtop.track()` so far, those from number `number` on that are still kept)."""
        with self._lock:
            return self._state.marks_since(number)

    def pause(self) -> None:
        """Ask the training to wait at its next step boundary; the snapshot's phase says when it does."""
        self._command("pause", N_("pausing at the next step"))

    def resume(self) -> None:
        """Let a paused training go on."""
        self._command("resume", N_("resuming"))

    def deep_look(self) -> None:
        """Ask for a deep look at the next step; the snapshot's `deep` has it when that step is over.

        Of several ranks the one that is shown takes it, or all of them where the maximum is.
        """
        self._command("deep", N_("a deep look: at the next step"))

    def show_rank(self, rank: int | None) -> None:
        """Have `snapshot` tell of this rank; `None` is the one whose peak is highest, whichever it is."""
        with self._lock:
            self._state.show(rank)
        self._notify()

    def restart(self, scenario: str | None = None, settings: Mapping[str, Setting] | None = None) -> None:
        """End this target and launch one anew, in the background. Raises `ManifestError` for bad settings.

        `settings` go over the present ones; another scenario takes those of them that it offers. A person's own command
        is never started anew.
        """
        with self._lock:
            before = self._around
            if before.manifest is None:
                return
            manifest = manifests.load(scenario) if scenario else before.manifest
            given = {name: value for name, value in before.settings.items() if manifest.spec(name)}
            if manifest.name != before.manifest.name:
                given = {name: value for name, value in given.items() if value != default(before.manifest, name)}
            chosen = manifests.resolve(manifest, {**given, **(settings or {})})
            changed = ", ".join(f"{name} {value}" for name, value in (settings or {}).items())
            self._around.pending = _("{what}: restarting").format(what=scenario or changed or _("same settings"))
            self._around.stopped = True
        self._notify()
        threading.Thread(target=self._relaunch, args=(manifest, chosen), name="memtop-restart", daemon=True).start()

    def start_log(self, path: str) -> str | None:
        """Write records to `path` from now on. Returns why it can't, or `None`.

        First come the `run`, the `model` and what the newest deep look found.
        """
        with self._lock:
            error = self._recording.add(path, self._state.known())
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

    @property
    def is_command(self) -> bool:
        """Whether the target is a person's own: it goes on without us."""
        return self._around.manifest is None

    @property
    def is_guest(self) -> bool:
        """Whether somebody else started it: it is not ours to end."""
        return self._around.guest is not None

    @property
    def command(self) -> tuple[str, ...]:
        """A person's own command; empty for a scenario."""
        return self._around.command

    def warn(self, text: str, remedy: str | None = None) -> None:
        """A word to the person at the head of the screen; the run goes on."""
        with self._lock:
            self._around.problem = Banner(severity="warning", text=text, remedy=remedy)
        self._notify()

    @property
    def is_warm(self) -> bool:
        """Whether the next scenario would start from a process that has torch already."""
        return self._warmth.ready

    @property
    def pid(self) -> int | None:
        """The target's first process; `None` before it is started."""
        return None if self._target is None else self._target.pid

    @property
    def status(self) -> int | None:
        """A command's exit status as a shell has it, 0 where `--steps` or `--duration` ended it; `None` before."""
        end = self._state.end
        if end is None:
            return None
        return 0 if self._fulfilled or self.is_guest else 128 + end.signal if end.signal is not None else end.exit_code

    def send(self, number: int) -> None:
        """A signal that came to us and was meant for the command."""
        if isinstance(self._target, CommandTarget):
            self._target.send(number)

    def type(self, text: str) -> str | None:
        """Keys for the terminal that a command runs on: a line ends with a newline, Ctrl-C and Ctrl-D are themselves.

        Returns why they can't reach it, or `None`.
        """
        target = self._target
        return target.type(text) if isinstance(target, CommandTarget) else _("this training reads nothing")

    def resize(self, columns: int, lines: int) -> None:
        """The screen has another size: the terminal that a command runs on follows."""
        if isinstance(self._target, CommandTarget):
            self._target.resize(columns, lines)

    def stop(self) -> None:
        """TERM to a command and to the processes of it that train. `wait` says when it has ended."""
        target = self._target
        if isinstance(target, CommandTarget) and self._state.end is None:
            self._around.stopped = True
            speakers = [] if self._links is None else self._links.speakers
            target.end([pid for pid in speakers if pid != target.pid])

    def close(self) -> EndRecord | None:
        """End the scenario (TERM, then KILL), the collectors and the logs. Waits, two seconds at most. Idempotent.

        A command goes on without us, unless it was told to stop: then it is given two seconds to have ended.
        """
        self._closed = True
        with self._changing:
            self._end_target()
            self._warmth.close()
        self._readings.close()
        with self._lock:
            self._recording.close()
        return self._state.end

    def _launch(self, open_logs: Callable[[], None]) -> None:
        around = self._around
        command = command_line(self._options, around)
        address = None if self.is_guest else Address()
        try:
            open_logs()
            with self._lock:
                self._start_ns = time.monotonic_ns()
                self._forecasts.begin(None if around.manifest is None else around.manifest.name, around.settings)
                self._state = Ranks(self._start_ns, self._state.devices.values(), self._forecasts)
                self._over.clear()
                around.output, around.problem, around.stopped, around.pending = Output(), None, False, None
                self._recording.begin(run_record(around, command))
                if around.manifest is not None:
                    data = manifests.data_source(around.manifest, around.settings)
                    self._write([EventRecord(t=0.0, name="data", message=data, data={})])
            self._kills.begin()
            target = started(self._options, around, command, self._env, address, self._warmth)
        except BaseException:
            if address is not None:
                address.close()
            raise
        self._target, self._address = target, address
        self._links = Links(target, address, self)
        self._links.begin()
        self._readings.follow(target.pid, self._now)
        self._notify()

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
        target = self._target
        if isinstance(target, Target):
            self._target = None
            self._around.stopped = self._around.stopped or self._state.end is None
            target.stop()
        if self._links is not None:
            if isinstance(target, Target) or self._around.stopped or self._state.end is not None:
                self._links.join(2.0)
            self._links.hang_up()
        if self._address is not None:
            self._address.close()

    def _command(self, name: Name, words: str) -> None:
        with self._lock:
            if self._state.end is not None:
                return
            self._commands += 1
            self._asked[self._commands] = name
            rank = self._state.aim if name == "deep" else None
            sent = self._links is not None and self._links.send(Command(id=self._commands, name=name), rank)
            if name in _BRINGS:
                self._wants_pause = name == "pause" and not sent
                self._around.pending = words if sent or self._wants_pause else None
            elif sent:
                self._around.pending = words
        self._notify()

    def _now(self) -> float:
        return round((time.monotonic_ns() - self._start_ns) / 1e9, 6)

    def _notify(self) -> None:
        for callback in self._changed:
            callback()

    def _write(self, records: list[Record]) -> None:
        for record in records:
            if self._options.trace_steps or not isinstance(record, TraceRecord):
                self._recording.write(record)

    # What the links' thread and the readings' thread tell us.

    def message(self, message: wire.Message) -> None:
        """A probe's message."""
        with self._lock:
            state = self._state
            if isinstance(message, (wire.Ack, wire.Fault)):
                self._answered(message)
            else:
                before = state.visible, state.parts
                self._write(state.heard(message))
                if (state.visible, state.parts) != before:
                    self._readings.see(state.visible, state.parts)
                if isinstance(message, wire.Step):
                    self._warmth.begin()
            begin_paused = self._wants_pause and isinstance(message, wire.Hello)
        if begin_paused:
            self.pause()
        self._notify()

    def _answered(self, message: wire.Ack | wire.Fault) -> None:
        state, t = self._state, self._now()
        self._around.pending = None
        name = self._asked.pop(message.id, None)
        if isinstance(message, wire.Fault):
            remedy = None if message.remedy is None else harmless(message.remedy, 200)
            self._around.problem = Banner(severity="warning", text=harmless(message.message, 200), remedy=remedy)
            return
        if name is None:
            return
        if name in _BRINGS:
            state.enter(_BRINGS[name], t)
        text = f"{name} took effect after step {message.step}"
        self._write([EventRecord(t=t, name="command", message=text, data={"name": name, "step": message.step})])

    def malformed(self, count: int) -> None:
        """Lines that did not decode."""
        self._state.malformed(count)

    def printed(self, chunk: bytes) -> None:
        """The target's stdout or stderr."""
        with self._lock:
            self._around.output.feed(chunk)
        self._notify()

    def lost(self, rank: int) -> None:
        """The connection of a rank ended before the target did (at an ordinary end it does so a moment before)."""
        with self._lock:
            if self._state.end is None:
                self._state.lost(rank, self._now())
        self._notify()

    def left(self, pid: int) -> None:
        """The connection of a process that speaks for no rank ended without a last word."""
        with self._lock:
            if self._state.end is None:
                self._state.left(pid, self._now())
        self._notify()

    def ended(self, code: int) -> None:
        """The target is gone and everything of it has been read."""
        with self._lock:
            self._around.output.finish()
            end = self._state.ended(self._now(), code)
            if self.is_guest:  # Its status is known to who started it alone.
                end = self._state.first.end = replace(end, exit_code=None)
            troubles = self._state.first.troubles
            self._write([*([] if self._around.stopped else troubles.ended(end, self._kills.since())), end])
            self._wants_pause = False
        self._over.set()
        self._notify()

    def tick(self) -> None:
        """Ten times a second."""
        target, name = self._target, self._reached()
        if name is None or target is None or self._around.stopped:
            return
        self._around.stopped = True
        over = f"{self._options.duration} seconds" if name == "duration" else f"{self._options.steps} steps"
        text = f"{over} are over"
        with self._lock:
            self._write([EventRecord(t=self._now(), name="command", message=text, data={"name": name})])
        self._fulfilled = self.is_command
        if isinstance(target, CommandTarget):
            self.stop()
        elif isinstance(target, Guest):
            target.leave()
        else:
            threading.Thread(target=target.stop, name="memtop-duration", daemon=True).start()

    def _reached(self) -> str | None:
        """What ends this run now; a scenario counts its steps by itself."""
        options, step = self._options, self._state.step
        if options.duration is not None and self._now() >= options.duration:
            return "duration"
        if self.is_command and options.steps is not None and step is not None and step.step >= options.steps:
            return "steps"
        return None

    def _facts(self, facts: Facts) -> None:
        with self._lock:
            self._around.facts = facts
            self._recording.know(facts.host, list(facts.gpus))
        self._notify()

    def _samples(self, samples: list[DeviceRecord]) -> None:
        with self._lock:
            if self._state.end is None:
                self._write(self._state.sampled(samples))
                self._around.growth.saw(samples[0])
            if self._around.facts.gpus and self._state.visible:
                self._around.facts = renamed(self._around.facts, self._state.visible)
        self._notify()

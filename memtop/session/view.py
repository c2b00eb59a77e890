"""A state as a snapshot: pure, so that a screen's every figure can be tested without a process."""

from __future__ import annotations

import signal
from collections.abc import Mapping

import msgspec

from memtop.launcher.command import title
from memtop.launcher.guest import Guest
from memtop.launcher.manifests import Manifest, choices, data_source, load, resolve
from memtop.model import units
from memtop.model.batches import pass_seconds
from memtop.model.i18n import _
from memtop.model.ranks import RankStrip
from memtop.model.records import DeviceRecord, EndRecord, Setting
from memtop.model.snapshot import NOTHING_PRINTED, Banner, LogState, Phase, Snapshot, Theory
from memtop.model.text import harmless
from memtop.model.theory import closed_forms
from memtop.session.missing import why
from memtop.session.options import Options
from memtop.session.output import Output
from memtop.session.outside import REMEDY, SILENCE, WHY, Growth, phase_text
from memtop.session.readings import Facts
from memtop.session.state import State

DEFAULT = "mlp-cifar"
"""The scenario of a bare `memtop`."""
_TAIL = 60
"""Lines of the target's output in a snapshot."""
_MOMENT_SECONDS = 0.05


class Around(msgspec.Struct, kw_only=True):
    """What a session knows beside its state."""

    manifest: Manifest | None
    """`None` for a person's own command."""
    settings: Mapping[str, Setting]
    command: tuple[str, ...] = ()
    facts: Facts = msgspec.field(default_factory=Facts)
    output: Output = msgspec.field(default_factory=Output)
    logs: tuple[LogState, ...] = ()
    pending: str | None = None
    problem: Banner | None = None
    stopped: bool = False
    """Whether the end, if it comes, was asked for."""
    guest: Guest | None = None
    """A process that somebody else started."""
    growth: Growth = msgspec.field(default_factory=Growth)

    @property
    def blind(self) -> bool:
        """Whether nothing of ours is inside the process."""
        return self.guest is not None and self.guest.link is None

    def missing(self, state: State, t: float) -> str | None:
        """Why a command is seen from outside alone."""
        if self.guest is not None:
            return WHY if self.blind else None
        if not self.command:
            return None
        over = state.end is not None
        return why(self.command, torch=state.torch, stepped=bool(state.moments or state.step), over=over, t=t)


def snapshot(state: State, around: Around, t: float, strip: RankStrip | None = None) -> Snapshot:
    """The newest of everything at run second `t`; `strip` are the ranks where `state` is of one of several."""
    manifest, settings, facts = around.manifest, around.settings, around.facts
    device = focus(state, around)
    total = settings.get("steps")
    total_steps = total if isinstance(total, int) and total > 0 else None
    rate, step = state.steps_per_second(), state.step
    left = None if total_steps is None or step is None else max(0, total_steps - step.step)
    history = state.history.get(device)
    return Snapshot(
        t=t,
        phase=state.phase,
        phase_text=_phase_text(state, around, t),
        title=manifest.name if manifest else harmless(title(around.command), 200),
        lesson=manifest.lesson if manifest else "",
        choices=choices(manifest, settings) if manifest else (),
        settings=settings,
        device=device,
        data_source=data_source(manifest, settings) if manifest else None,
        host=facts.host,
        gpus=facts.gpus,
        gpu_note=facts.note,
        cpu=state.devices.get("cpu"),
        gpu=_gpu(state, device),
        model=state.model,
        moments=state.moments.get(device, {}),
        now=state.now(device) or state.before_training(device),
        highest=state.highest.get(device),
        theory=_theory(state, around, device),
        step=step,
        phased=state.phased,
        steps_per_second=rate,
        samples_per_second=rate * step.batch_size if rate and step and step.batch_size else None,
        total_steps=total_steps,
        eta=left / rate if left is not None and rate and state.phase is not Phase.ENDED else None,
        pass_eta=None if state.phase is Phase.ENDED else pass_seconds(step, rate),
        skipped=state.skipped,
        counting=tuple(state.counting),
        series=history.series() if history else {},
        series_seconds=history.seconds if history else 0.5,
        loss_series=history.losses() if history else (),
        output=around.output.tail(_TAIL),
        output_open=around.output.open,
        output_lines=around.output.count + around.output.open,
        silence=SILENCE if around.guest is not None else NOTHING_PRINTED,
        logs=around.logs,
        banner=_banner(state, around, t, device, strip),
        pending=around.pending,
        deep=state.looks.newest(device),
        forecast=state.forecasts.newest(device),
        batch=state.fed,
        tracked=state.marks.kept(),
        oom=state.troubles.oom,
        leaks=tuple(state.troubles.live()),
        waits=state.troubles.waits,
        overhead_percent=state.overhead_percent,
        announced_seconds=state.announced_seconds,
        looks=state.taken,
        missing=around.missing(state, t),
        end=state.end,
        early=tuple(sorted(state.early, key=state.early.__getitem__)),
        ranks=strip,
    )


def around(options: Options) -> Around:
    """What was asked for. Raises `ManifestError` for bad settings, `LaunchError` where a process is not there."""
    if options.attach is not None:
        guest = Guest(options.attach, options.link)
        return Around(manifest=None, settings={}, command=guest.command, guest=guest)
    if options.command:
        return Around(manifest=None, settings={}, command=options.command)
    manifest = load(options.scenario or DEFAULT)
    given = dict(options.settings) | ({} if options.steps is None else {"steps": options.steps})
    return Around(manifest=manifest, settings=resolve(manifest, given))


def default(manifest: Manifest, name: str) -> Setting:
    """What a setting is unless told otherwise; `None` where the scenario has no such setting."""
    spec = manifest.spec(name)
    return spec.default if spec is not None else None


def focus(state: State, around: Around) -> str:
    """The device in focus: where the parameters are; before that is known, what was asked for."""
    if state.home is not None:
        return state.home
    asked = str(around.settings.get("device") or ("cpu" if around.manifest else "auto"))
    if asked == "auto":
        return "cuda:0" if around.facts.gpus else "cpu"
    return "cuda:0" if asked == "cuda" else asked


def _gpu(state: State, device: str) -> DeviceRecord | None:
    if device in state.devices and device != "cpu":
        return state.devices[device]
    return next((one for name, one in state.devices.items() if name != "cpu"), None)


def _theory(state: State, around: Around, device: str) -> dict[str, Theory]:
    model = state.model
    if model is None or not model.parameters or around.manifest is None:
        return {}
    return closed_forms(
        parameters=model.parameters,
        trainable=model.trainable_parameters,
        buffers=model.bytes.get("buffers"),
        itemsize=(model.bytes.get("parameters") or 0) // model.parameters,
        parameter_tensors=None,
        settings=around.settings,
        formulas=around.manifest.theory,
        device=device,
    )


def _phase_text(state: State, around: Around, t: float) -> str:
    since = units.duration(max(0.0, t - state.phase_since))
    words = {
        Phase.STARTING: _("no import of torch yet, {since}").format(since=since)
        if around.command
        else _("starting Python, {since}").format(since=since),
        Phase.IMPORTING: _("importing torch, {since}").format(since=since),
        Phase.WAITING: _("torch {torch}: waiting for the first step, {since}").format(torch=state.torch, since=since),
        Phase.TRAINING: _("training"),
        Phase.PAUSED: _("paused for {since}").format(since=since),
        Phase.LOST: _("no word from inside for {since}: the probe's connection broke").format(since=since),
    }
    if state.end is not None:
        return _("watched no more") if around.guest and around.stopped else how_it_ended(state.end)
    if around.guest is not None and state.phase is Phase.STARTING:
        return phase_text(around.guest.age, around.growth)
    return words[state.phase]


def how_it_ended(end: EndRecord) -> str:
    """An end in words."""
    if end.signal is not None:
        return _("ended by {signal} after {steps:,} steps").format(signal=_signal_name(end.signal), steps=end.steps)
    if end.exit_code is None:
        return _("ended, exit status unknown")
    return _("ended after {steps:,} steps: exit status {exit_code}").format(steps=end.steps, exit_code=end.exit_code)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _banner(state: State, around: Around, t: float, device: str, strip: RankStrip | None) -> Banner | None:
    failed = next((log for log in around.logs if not log.ok), None)
    if around.problem is not None:
        return around.problem
    trouble = state.troubles.banner(device, t)
    if state.end is not None and not around.stopped and (state.end.signal or state.end.exit_code):
        fatal = state.troubles.oom is not None and not state.troubles.oom.caught
        return trouble if fatal and trouble is not None else _failure(state.end, around, _gone(state, strip))
    if trouble is not None and (failed is None or trouble.severity == "error"):
        return trouble
    if failed is not None:
        return Banner(severity="warning", text=f"log {failed.path}: {failed.error}", remedy=_("the training goes on"))
    missing = around.missing(state, t)
    if missing is not None:
        remedy = REMEDY if around.blind else _("what is seen from outside goes on")
        return Banner(severity="information", text=missing, remedy=remedy)
    if state.end is None and (gone := _gone(state, strip)):
        remedy = _("the others wait for it in their next collective; the target's output may say why")
        return Banner(severity="warning", text=gone, remedy=remedy)
    if state.phase is Phase.LOST and not around.stopped:
        return Banner(severity="warning", text=_("figures from inside have stopped: the probe's connection broke"))
    return None


def _gone(state: State, strip: RankStrip | None) -> str:
    """Which rank was the first to die, of several; empty where none has, as far as is known."""
    after = _("rank {rank} is gone after step {step:,} without a last word")
    before = _("rank {rank} is gone before its first step without a last word")
    dead = [(when, before.format(rank=rank)) for rank, when in state.early.items()]
    dead += [(one.since, after.format(rank=one.rank, step=one.step)) for one in (strip.lost if strip else ())]
    if not dead:
        return ""
    (_when, told), *others = sorted(dead)
    return told + (_(", then {count} more").format(count=len(others)) if others else "")


def _failure(end: EndRecord, around: Around, gone: str) -> Banner:
    """A target that failed: its last words, and what to do."""
    output, again = around.output, "" if around.command else _("r restarts")
    remedy = "; ".join(part for part in (again, _("its output holds the rest")) if part)
    if end.signal == signal.SIGKILL:
        advice = "; ".join(part for part in (_("see dmesg; a smaller batch needs less"), again) if part)
        text = _("the training was killed (SIGKILL): by somebody, or by the kernel because memory ran out")
        return Banner(severity="error", text=text, remedy=advice)
    last = next((line for line in map(harmless, reversed(output.tail(40))) if line.strip()), "")
    text = _("the training {ended}").format(ended=how_it_ended(end)) + (f": {last}" if last else "")
    if gone:
        text = f"{gone}; {text}"
    return Banner(severity="error", text=text, remedy=remedy)

"""The batch panel: what goes in at each step, how fast, and where the time of a step goes."""

from __future__ import annotations

from rich.segment import Segment

from memtop.model import batches, units
from memtop.model.i18n import _
from memtop.model.records import InputTensor, StepRecord
from memtop.model.snapshot import Snapshot
from memtop.model.text import harmless
from memtop.tui.draw import forecast
from memtop.tui.draw.bar import share_out
from memtop.tui.draw.cells import Row, join, left
from memtop.tui.draw.panel import panel
from memtop.tui.draw.spark import spark
from memtop.tui.palette import Palette
from memtop.tui.view import View

_PHASES = (
    ("data", "inputs"),
    ("forward", "activations"),
    ("backward", "gradients"),
    ("optimizer", "optimizer_state"),
    ("other", "other_processes"),
)
"""A step's phases in their order, each in the colour of the category it makes."""
_LEAST_HEIGHT = 10
"""Rows of a panel that has a curve: its inputs and its forecast stay above it."""
_CURVE_ROWS = 9
_SHORT = {"forward": "fwd", "backward": "bwd", "optimizer": "opt"}


def batch(snapshot: Snapshot, width: int, height: int, view: View) -> list[Row]:
    """The framed panel."""
    rows = [row for _, row in lines(snapshot, width - 4, view)]
    if snapshot.forecast is not None and height >= _LEAST_HEIGHT:
        spare = min(_CURVE_ROWS, max(forecast.LEAST_ROWS, height - 2 - len(rows)))
        drawn = forecast.curve(snapshot.forecast, width - 4, spare, view)
        rows = rows[: height - 2 - len(drawn)] + drawn
    return panel(_title(snapshot, view), _aside(snapshot, view), rows, width, height, view.palette)


def wanted(snapshot: Snapshot, width: int, view: View) -> int:
    """Rows that the framed panel would fill: its lines, and a curve where there is an answer to draw."""
    drawn = snapshot.forecast is not None and bool(forecast.curve(snapshot.forecast, width - 4, 8, view))
    return len(lines(snapshot, width - 4, view)) + 2 + _CURVE_ROWS * drawn


def batch_size(snapshot: Snapshot) -> int | None:
    """The batch in use: what the last step saw, else the setting."""
    if snapshot.step is not None and snapshot.step.batch_size is not None:
        return snapshot.step.batch_size
    value = snapshot.settings.get("batch_size")
    return value if isinstance(value, int) else None


def _title(snapshot: Snapshot, view: View) -> Row:
    size = batch_size(snapshot)
    words = batches.size(size, snapshot.model)
    return [Segment(_("Batch "), view.palette["title"]), Segment(words, view.palette["strong"])]


def _aside(snapshot: Snapshot, view: View) -> Row:
    each, size = batches.sample_bytes(batch_size(snapshot), snapshot.model), batch_size(snapshot)
    if each is None or not size:
        return []
    words = _("{size} · {size2} a sample").format(
        size=units.size(round(each * size), view.unit), size2=units.size(round(each), view.unit)
    )
    return [Segment(words, view.palette["text"])]


def lines(snapshot: Snapshot, width: int, view: View) -> list[tuple[str, Row]]:
    """(what it tells, row) from the most to the least wanted."""
    palette = view.palette
    found: list[tuple[str, Row]] = [("inputs", row) for row in _inputs(snapshot, width, view)]
    if snapshot.forecast is not None:
        found += forecast.lines(snapshot.forecast, batch_size(snapshot), width, view)
    found.append(("pace", _pace(snapshot, width, palette)))
    phased = snapshot.phased or snapshot.step
    if phased is not None:
        found += [("phases", row) for row in _phases(phased, width, palette)]
    if snapshot.step is not None and snapshot.step.pass_end is not None:
        found.append(("pass", _pair(_("pass"), _pass(snapshot.step, snapshot.step.pass_end, snapshot), palette)))
    found.append(("settings", _settings(snapshot, width, palette)))
    found.append(("model", _model(snapshot, width, view)))
    if any(loss is not None for loss in snapshot.loss_series):
        found.append(("loss", _loss(snapshot, width, palette)))
    if snapshot.data_source:
        found.append(("data", _pair(_("data"), _(harmless(snapshot.data_source)), palette)))
    return found


def _pair(name: str, words: str, palette: Palette) -> Row:
    return [Segment(left(name, 9), palette["dim"]), Segment(words, palette["text"])]


def _pass(step: StepRecord, end: int, snapshot: Snapshot) -> str:
    """When the running pass over the loader ends, without the word itself."""
    if end <= step.step:
        return _("has ended at step {step:,}").format(step=step.step)
    words = _("ends at step {step:,}").format(step=end)
    seconds = snapshot.pass_eta
    return words if seconds is None else words + _(", in {duration}").format(duration=units.duration(seconds))


def _inputs(snapshot: Snapshot, width: int, view: View) -> list[Row]:
    palette = view.palette
    model = snapshot.model
    if model is None or not model.inputs:
        return [_pair(_("inputs"), _("— not seen yet"), palette)]
    parts = [[Segment(shape(tensor), palette["text"])] for tensor in model.inputs[:4]]
    if model.sequence is not None:
        parts.append([Segment(_("sequences of {length:,}").format(length=model.sequence), palette["dim"])])
    if len(model.inputs) > 4:
        parts.append([Segment(_("{value} more").format(value=len(model.inputs) - 4), palette["dim"])])
    return [[Segment(left(_("inputs"), 9), palette["dim"]), *join(parts, width - 9, Segment(" + ", palette["faint"]))]]


def shape(tensor: InputTensor) -> str:
    """`64×3×32×32 float32`."""
    return f"{'×'.join(str(size) for size in tensor.shape) or 'scalar'} {harmless(tensor.dtype)}"


def pace_parts(snapshot: Snapshot, palette: Palette) -> list[Row]:
    """Throughput in words: samples and steps a second, seconds a step."""
    seconds = None if snapshot.step is None else snapshot.step.seconds
    return [
        [
            Segment(units.rate(snapshot.samples_per_second).rjust(6), palette["strong"]),
            Segment(_(" samples/s"), palette["dim"]),
        ],
        [
            Segment(units.rate(snapshot.steps_per_second).rjust(4), palette["text"]),
            Segment(_(" step/s"), palette["dim"]),
        ],
        [Segment(units.duration(seconds).rjust(7), palette["text"]), Segment(_(" a step"), palette["dim"])],
    ]


def _pace(snapshot: Snapshot, width: int, palette: Palette) -> Row:
    parts = pace_parts(snapshot, palette)
    return [Segment(left(_("pace"), 8), palette["dim"]), *join(parts[:2], width - 8, Segment("  "))]


def _phases(step: StepRecord, width: int, palette: Palette) -> list[Row]:
    """One step's time as a bar, and the same in words."""
    known = [(name, colour, step.phases.get(name) or 0.0) for name, colour in _PHASES if step.phases.get(name)]
    if not known:
        return []
    whole = sum(seconds for _, _, seconds in known)
    cells = share_out([round(seconds * 1e9) for _, _, seconds in known], max(0, width - 13))
    strip = [Segment(_("step "), palette["dim"]), Segment(units.duration(step.seconds).rjust(7) + " ", palette["text"])]
    for (name, colour, _seconds), size in zip(known, cells, strict=True):
        glyph = ("." if name == "other" else name[0]) if palette.mono else "━"
        strip.append(Segment(glyph * size, palette.ink(colour)))
    words = [
        [
            Segment(f"{_(name if width > 64 else _SHORT.get(name, name))} ", palette.ink(colour)),
            Segment(f"{100 * seconds / whole:.0f} %", palette["dim"]),
        ]
        for name, colour, seconds in known
    ]
    return [strip, [Segment(" " * 9), *join(words, width - 9, Segment(" "))]]


def _settings(snapshot: Snapshot, width: int, palette: Palette) -> Row:
    parts = [
        _setting(choice.title, choice.value, palette) for choice in snapshot.choices if choice.name != "batch_size"
    ]
    if not parts:
        parts = [_setting(name, value, palette) for name, value in snapshot.settings.items() if name != "batch_size"]
    if not parts:
        names = [harmless(name) for name in snapshot.model.optimizers] if snapshot.model else []
        parts = [[Segment(name, palette["text"])] for name in names]
    return [Segment(left(_("settings"), 9), palette["dim"]), *join(parts, width - 9, Segment(" · ", palette["faint"]))]


def _setting(name: str, value: object, palette: Palette) -> Row:
    words = (
        {True: _("on"), False: _("off"), None: "—"}.get(value, str(value))
        if value in (True, False, None)
        else str(value)
    )
    if isinstance(value, str) and value not in ("on", "off", "none"):
        return [Segment(harmless(value), palette["text"])]
    return [Segment(f"{_(harmless(name).lower())} ", palette["dim"]), Segment(_(harmless(words)), palette["text"])]


def _model(snapshot: Snapshot, width: int, view: View) -> Row:
    model, palette = snapshot.model, view.palette
    if model is None:
        return _pair(_("model"), _("— not seen yet"), palette)
    parts = [[Segment(harmless(model.name or "—"), palette["text"])]]
    parts += [[Segment(_("{parameters:,} parameters").format(parameters=model.parameters), palette["text"])]]
    if model.trainable_parameters != model.parameters:
        parts += [
            [
                Segment(
                    _("{trainable_parameters:,} trainable").format(trainable_parameters=model.trainable_parameters),
                    palette["text"],
                )
            ]
        ]
    if model.modules is not None:
        words = _("1 module") if model.modules == 1 else _("{modules:,} modules").format(modules=model.modules)
        parts += [[Segment(words, palette["dim"])]]
    return [Segment(left(_("model"), 9), palette["dim"]), *join(parts, width - 9, Segment(" · ", palette["faint"]))]


def _loss(snapshot: Snapshot, width: int, palette: Palette) -> Row:
    last = next((loss for loss in reversed(snapshot.loss_series) if loss is not None), None)
    words = units.UNKNOWN if last is None else f"{last:.4g}"
    return [
        Segment(left(_("loss"), 9), palette["dim"]),
        Segment(f"{words:<8} ", palette["text"]),
        Segment(spark(snapshot.loss_series, max(0, width - 18)), palette["accent"]),
    ]

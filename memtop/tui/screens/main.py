"""The main screen: one widget, and the keys that act on the session."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import lru_cache
from time import strftime
from typing import TYPE_CHECKING, cast

from msgspec.structs import replace
from textual.actions import parse
from textual.app import ComposeResult
from textual.screen import Screen

from memtop.model.i18n import N_, _
from memtop.model.records import Setting
from memtop.model.snapshot import Banner, Choice, Phase, Snapshot
from memtop.tui.draw.batch import batch_size
from memtop.tui.keys import CHOOSING, FOOTER, MAIN, RANKS, Foot
from memtop.tui.view import MOMENTS, Key, Pinned
from memtop.tui.widgets.board import Board

if TYPE_CHECKING:
    from memtop.tui.app import MemtopApp
    from memtop.tui.widgets.lesson_panel import LessonPanel

_LARGEST = 2**31
"""Batch sizes above this are refused: no loader takes them."""

_LESSON_WIDTH = 110
"""Cells of a screen that has room for the lesson beside the figures."""

_MOMENT_WORDS = {
    "most": N_("the moment of a step where the tensors are most"),
    "forward_end": N_("the end of forward: activations are complete"),
    "backward_end": N_("the end of backward: gradients are complete, activations are gone"),
    "step_end": N_("the end of the step: the optimizer has run"),
    "peak": N_("a step's highest instant, from the newest deep look"),
    "highest": N_("the highest of the whole run"),
}

_parsed = lru_cache(maxsize=64)(parse)


class MainScreen(Screen[None]):
    """What one sees all day."""

    BINDINGS = MAIN

    def __init__(self) -> None:
        super().__init__()
        self._now: Snapshot | None = None

    def compose(self) -> ComposeResult:
        yield Board()

    @property
    def memtop(self) -> MemtopApp:
        """The app, with what it adds to Textual's."""
        return cast("MemtopApp", self.app)

    @property
    def now(self) -> Snapshot:
        """The snapshot last drawn: what the person sees is what a key acts on."""
        if self._now is None:
            self._now = self.memtop.session.snapshot()
        return self._now

    def repaint(self) -> None:
        """Draw the newest snapshot."""
        self._now = self._with_failure(self.memtop.session.snapshot())
        for board in self.query(Board):
            board.paint(self._now, replace(self.memtop.view, keys=self._footer()))
        self._paint_lesson()

    def _paint_lesson(self) -> None:
        """The lesson beside the board, where it is open and there is room."""
        for lesson in self.query("LessonPanel"):
            lesson.display = self.size.width >= _LESSON_WIDTH
            if lesson.display:
                cast("LessonPanel", lesson).paint(self.memtop.taught(), self.memtop.view)

    def _with_failure(self, snapshot: Snapshot) -> Snapshot:
        """A target that never started is the first line of the screen."""
        failure = self.memtop.failure
        if failure is None:
            return snapshot
        words, remedy = getattr(failure, "message", str(failure)), getattr(failure, "remedy", None)
        return replace(
            snapshot, phase_text=_("never started"), banner=Banner(severity="error", text=words, remedy=remedy)
        )

    def _footer(self) -> tuple[Key, ...]:
        paused = self.now.phase is Phase.PAUSED
        return tuple(
            Key(
                key=foot.keys,
                label=_("resume") if paused and foot.words == "pause" else _(foot.words),
                action=foot.action,
                enabled=self._works(foot.action),
                last=foot.last,
            )
            for foot in FOOTER
            if self._is_offered(foot)
        )

    def _is_offered(self, foot: Foot) -> bool:
        """Whether the key can ever work here: what a training does not offer takes no room from what it does."""
        if foot.words == "speed":
            return self.now.replay is not None
        if foot.words == "answer":
            return self.memtop.reads
        if foot.words in RANKS:
            return self.now.ranks is not None
        if foot.words in CHOOSING:
            return self._is_scenario()
        name, parameters = _parsed(foot.action)[1:]
        return name != "cycle" or self._choice(str(parameters[0])) is not None

    def _works(self, action: str) -> bool:
        space, name, parameters = _parsed(action)
        return space != "screen" or bool(self.check_action(name, parameters))

    def on_resize(self) -> None:
        """The lesson may have lost its room, or found it."""
        self.call_after_refresh(self._paint_lesson)

    def on_screen_resume(self) -> None:
        """A theme or unit may have changed while another screen lay on top."""
        self.repaint()

    # -- what can work now -------------------------------------------------------------------------------------------

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """`None` dims a key that can't do anything now."""
        works = {
            "pause": self._can_pause,
            "deep_look": lambda: self.now.phase is Phase.TRAINING and self.now.replay is None,
            "log": lambda: self.now.replay is None,
            "pin": lambda: self.now.highest is not None or self.memtop.view.pinned is not None,
            "speed": lambda: self.now.replay is not None,
            "scale_batch": self._can_scale,
            "type_batch": lambda: self._is_scenario() and "batch_size" in self.now.settings,
            "cycle": lambda: self._choice(str(parameters[0])) is not None,
            "next_rank": lambda: self.now.ranks is not None,
            "type_rank": lambda: self.now.ranks is not None,
            "worst_rank": lambda: self.now.ranks is not None,
            "restart": lambda: not self.memtop.session.is_command,
            "answer": lambda: self.memtop.reads,
            "settings": self._is_scenario,
            "pick_scenario": self._is_scenario,
            "next_scenario": self._is_scenario,
        }.get(action)
        return True if works is None or works() else None

    def _is_scenario(self) -> bool:
        return bool(self.now.choices)

    def _can_pause(self) -> bool:
        return self.now.phase in (Phase.TRAINING, Phase.PAUSED)

    def _can_scale(self) -> bool:
        return self._is_scenario() and batch_size(self.now) is not None

    def _choice(self, key: str) -> Choice | None:
        return next((choice for choice in self.now.choices if choice.key == key and choice.choices), None)

    # -- the training ------------------------------------------------------------------------------------------------

    def action_pause(self) -> None:
        """Hold the training, or let it go on."""
        session = self.memtop.session
        (session.resume if self.now.phase is Phase.PAUSED else session.pause)()
        self.memtop.urge()

    def action_deep_look(self) -> None:
        """The next step is watched whole."""
        self.memtop.session.deep_look()
        self.memtop.tell(_("a deep look: the next step is watched whole; x shows what it finds"))
        self.memtop.urge()

    def action_speed(self, direction: int) -> None:
        """A replay's next speed, or the one before."""
        faster = getattr(self.memtop.session, "faster", None)
        if faster is not None:
            self.memtop.tell(_("replay ×{value:g}").format(value=faster(direction)))

    def action_restart(self) -> None:
        """Begin anew with the same settings."""
        self._restart(_("restarting"))

    def _restart(self, notice: str, scenario: str | None = None, settings: dict[str, Setting] | None = None) -> None:
        self.memtop.tell(notice, 2.5)
        self.memtop.session.restart(scenario=scenario, settings=settings)
        self.memtop.urge()

    def action_scale_batch(self, direction: int) -> None:
        """Half or twice the batch."""
        size = batch_size(self.now)
        if size is not None:
            self._set_batch(size * 2 if direction > 0 else max(1, size // 2))

    def _set_batch(self, size: int | None) -> None:
        if size is None or size == self.now.settings.get("batch_size"):
            return
        if size > _LARGEST:
            self.memtop.tell(_("a batch of {size:,} is more than any loader takes").format(size=size))
            return
        self._restart(_("batch {size:,}: a new process starts").format(size=size), settings={"batch_size": size})

    def action_type_batch(self) -> None:
        """Ask for a batch size."""
        from memtop.tui.screens.ask import AskNumber

        self.app.push_screen(AskNumber(_("Batch size"), batch_size(self.now), 1, _LARGEST), self._set_batch)

    def action_cycle(self, key: str) -> None:
        """The next value of the setting that this key changes."""
        choice = self._choice(key)
        if choice is None:
            return
        offered = list(choice.choices)
        place = offered.index(choice.value) + 1 if choice.value in offered else 0
        self._set(choice.name, offered[place % len(offered)])

    def _set(self, name: str, value: Setting) -> None:
        words = {True: _("on"), False: _("off")}.get(value, value) if isinstance(value, bool) else value
        self._restart(
            _("{setting} {words}: a new process starts").format(setting=_(name.replace("_", " ")), words=words),
            settings={name: value},
        )

    def action_settings(self) -> None:
        """Every setting of the scenario, whether it has a key or not."""
        from memtop.tui.screens.settings import SettingsScreen

        def chosen(answer: tuple[str, Setting] | None) -> None:
            if answer is not None:
                self._set(*answer)

        self.app.push_screen(SettingsScreen(self.now, self.memtop.scenarios), chosen)

    def action_pick_scenario(self) -> None:
        """Choose another training."""
        from memtop.tui.screens.picker import ScenarioPicker

        self.app.push_screen(ScenarioPicker(self.memtop.scenarios.offers(), self.now.title), self._switch)

    def action_next_scenario(self, direction: int) -> None:
        """The next training in the list, or the one before."""
        names = [offer.name for offer in self.memtop.scenarios.offers()]
        if names:
            place = names.index(self.now.title) if self.now.title in names else -direction
            self._switch(names[(place + direction) % len(names)])

    def _switch(self, name: str | None) -> None:
        if name is not None and name != self.now.title:
            self._restart(_("{name}: a new process starts").format(name=name), scenario=name)

    # -- the log -----------------------------------------------------------------------------------------------------

    def action_log(self) -> None:
        """Begin a log in this folder, or end those that are written."""
        session, tell = self.memtop.session, self.memtop.tell
        if any(log.ok and not log.closed for log in self.now.logs):
            session.stop_logs()
            tell(_("log closed"))
        else:
            name = "".join(c if c.isalnum() or c in "-_" else "-" for c in self.now.title)[:40]
            path = os.path.join(os.getcwd(), f"memtop-{name}-{strftime('%Y%m%d-%H%M%S')}.jsonl")  # noqa: PTH109, PTH118
            error = session.start_log(path)
            tell(_("no log: {error}").format(error=error) if error else _("logging to {path}").format(path=path))
        self.memtop.urge()

    # -- other views -------------------------------------------------------------------------------------------------

    def action_next_rank(self, direction: int) -> None:
        """The next rank, or the one before."""
        ranks = self.now.ranks
        if ranks is not None:
            known = [cell.rank for cell in ranks.cells]
            self._show_rank(known[(known.index(ranks.shown) + direction) % len(known)])

    def action_type_rank(self) -> None:
        """Ask for a rank's number."""
        from memtop.tui.screens.ask import AskNumber

        ranks = self.now.ranks
        if ranks is not None:
            first, last = ranks.cells[0].rank, ranks.cells[-1].rank
            self.app.push_screen(AskNumber(_("Rank"), ranks.shown, first, last), self._typed_rank)

    def _typed_rank(self, rank: int | None) -> None:
        known = () if self.now.ranks is None else tuple(cell.rank for cell in self.now.ranks.cells)
        if rank in known:
            self._show_rank(rank)
        elif rank is not None:
            self.memtop.tell(_("rank {rank} has not reported").format(rank=rank))

    def action_worst_rank(self) -> None:
        """The maximum over all ranks: the one whose peak is highest, whichever it is from now on."""
        self._show_rank(None)

    def _show_rank(self, rank: int | None) -> None:
        self.memtop.session.show_rank(rank)
        self.memtop.tell(
            _("showing whichever rank's peak is highest")
            if rank is None
            else _("showing rank {rank}").format(rank=rank)
        )
        self.memtop.urge()

    def action_moment(self) -> None:
        """The next of: where a step holds most, each moment of a step, the highest of the run."""
        view = self.memtop.view
        place = MOMENTS.index(view.moment) if view.moment in MOMENTS else 0
        moment = MOMENTS[(place + 1) % len(MOMENTS)]
        self.memtop.look(moment=moment)
        self.memtop.tell(_("showing {moment}").format(moment=_(_MOMENT_WORDS[moment])))

    def action_pin(self) -> None:
        """Keep this run's highest moment to hold the next runs against, or let it go."""
        now, memtop = self.now, self.memtop
        if memtop.view.pinned is not None:
            memtop.look(pinned=None)
            memtop.tell(_("no run is pinned"))
        elif now.highest is not None:
            memtop.look(pinned=Pinned(title=now.title, settings=dict(now.settings), record=now.highest))
            memtop.tell(_("pinned: change a setting, and the table shows what it changed; P lets it go"))

    def action_details(self) -> None:
        """Every figure and where it comes from."""
        self._open("details", "DetailsScreen")

    def action_inside(self) -> None:
        """One step from inside: its course, modules, lines, tracked tensors."""
        self._open("deep", "DeepScreen")

    def action_lesson(self) -> None:
        """The lesson: beside the board where there is room, else on a screen of its own."""
        if self.size.width < _LESSON_WIDTH:
            self._open("lesson", "LessonScreen")
            return
        opened = self.query("LessonPanel")
        if opened:
            opened.remove()
        else:
            from memtop.tui.widgets.lesson_panel import LessonPanel

            self.mount(LessonPanel())
        self.call_after_refresh(self.repaint)

    def action_what_if(self) -> None:
        """What other settings would take."""
        self._open("whatif", "WhatIfScreen")

    def action_output(self) -> None:
        """All that the target has printed."""
        self._open("output", "OutputScreen")

    def action_answer(self) -> None:
        """The output, with a line to the training's stdin."""
        self._open("output", "OutputScreen", answers=True)

    def _open(self, module: str, name: str, **how: bool) -> None:
        from importlib import import_module

        screen: Callable[..., Screen[None]] = getattr(import_module(f"memtop.tui.screens.{module}"), name)
        self.app.push_screen(screen(**how))

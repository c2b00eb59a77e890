"""The composition root: session, screens, keys, themes. What it computes stands elsewhere."""

from __future__ import annotations

import asyncio
import gc
from pathlib import Path
from time import strftime
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace
from textual.app import App
from textual.events import Resize
from textual.screen import Screen
from textual.theme import Theme
from textual.timer import Timer

from memtop.model.i18n import _
from memtop.model.units import UNITS
from memtop.session.shown import Shown
from memtop.tui.bridge import Bridge
from memtop.tui.keys import EVERYWHERE
from memtop.tui.messages import SnapshotReady
from memtop.tui.palette import Palette
from memtop.tui.palettes import MONO, PALETTES
from memtop.tui.scenarios import Manifests, Scenarios
from memtop.tui.screens.main import MainScreen
from memtop.tui.teacher import Teacher
from memtop.tui.theme import DEFAULT, themes
from memtop.tui.view import View

if TYPE_CHECKING:
    from memtop.tui.lessons import Taught
    from memtop.tui.trying import Trying

HURRY_SECONDS = 2.0
"""How long after its start a run without figures of the device is drawn at every piece of news."""
RESIZE_SECONDS = 0.2
"""How long a window must keep its size before the training hears of it."""
NOTICE_SECONDS = 8.0
"""How long a word to the person stays."""


class MemtopApp(App[int]):
    """memtop in a terminal."""

    CSS_PATH = "app.tcss"
    TITLE = "memtop"
    BINDINGS = EVERYWHERE
    ENABLE_COMMAND_PALETTE = False

    def __init__(
        self,
        session: Shown,
        *,
        scenarios: Scenarios | None = None,
        ascii_only: bool = False,
        theme: str = DEFAULT,
    ) -> None:
        """The session is not started yet: the app does that once it is up."""
        super().__init__()
        self.session = session
        self.scenarios: Scenarios = scenarios or Manifests()
        self.failure: Exception | None = None
        """Why the target never started; `None` where it did."""
        self.loop: asyncio.AbstractEventLoop | None = None
        """The loop that everything here runs on, once it runs."""
        self.trying: Trying | None = None
        """What was tried on the what-if screen; `None` before it was opened."""
        self._bridge: Bridge | None = None
        self._resizing: Timer | None = None
        self._teacher = Teacher(getattr(session, "on_record", None))
        self._view = View(ascii_only=ascii_only)
        self.animation_level = "none"
        for each in themes():
            self.register_theme(each)
        # Worn before the style sheet is first read: a change later would read it twice.
        self.set_reactive(App.theme, DEFAULT)
        self.stylesheet.set_variables(self.get_css_variables())
        if theme != DEFAULT:
            self.theme = theme
        self._view = replace(self._view, palette=self._palette())

    def get_default_screen(self) -> Screen[Any]:
        """The main screen is the only one until a key asks for another."""
        return MainScreen()

    def on_mount(self) -> None:
        """The first picture is drawn at once, not an interval later."""
        self.loop = asyncio.get_running_loop()
        self._bridge = Bridge(self.session, lambda: self.post_message(SnapshotReady()))
        self._start()
        self.call_after_refresh(_collect_again)
        self.theme_changed_signal.subscribe(self, self._wear)

    def _start(self) -> None:
        try:
            self.session.start()
        except Exception as error:
            self.failure = error
            if not hasattr(error, "message"):
                raise

    def on_unmount(self) -> None:
        """Nothing is drawn any more."""
        if self._bridge is not None:
            self._bridge.close()

    # -- what is drawn -----------------------------------------------------------------------------------------------

    @property
    def view(self) -> View:
        """How the person wants to see it."""
        return self._view

    def taught(self) -> Taught:
        """The lesson of what runs now, held against its runs so far."""
        snapshot = self.session.snapshot()
        lesson = self.scenarios.lesson(snapshot.title) if snapshot.choices else None
        return self._teacher.taught(snapshot, lesson)

    def on_snapshot_ready(self) -> None:
        """News: whichever screens can show it, do."""
        for screen in self.screen_stack:
            repaint = getattr(screen, "repaint", None)
            if repaint is not None:
                repaint()
        self._hurry()

    def _hurry(self) -> None:
        """The first figures of the device are drawn as they come, not an interval after an empty screen."""
        first = self.screen_stack[0] if self.screen_stack else None
        if self._bridge is not None and isinstance(first, MainScreen):
            seen = first.now
            if seen.now is None and seen.t < HURRY_SECONDS:
                self._bridge.urge()

    def urge(self) -> None:
        """A key was pressed: show what it did now."""
        if self._bridge is not None:
            self._bridge.urge()
        self.on_snapshot_ready()

    def look(self, **changes: Any) -> None:
        """Change how it is shown."""
        self._view = replace(self._view, **changes)
        self.on_snapshot_ready()

    def tell(self, words: str, seconds: float = NOTICE_SECONDS) -> None:
        """A word to the person, in the footer's place for a while."""
        self.look(notice=words)
        self.set_timer(seconds, lambda: self._hush(words))

    def _hush(self, words: str) -> None:
        if self._view.notice == words:
            self.look(notice=None)

    # -- keys of every screen ----------------------------------------------------------------------------------------

    def action_units(self) -> None:
        """The next way of writing bytes."""
        unit = UNITS[(UNITS.index(self._view.unit) + 1) % len(UNITS)]
        self.look(unit=unit)
        self.tell(
            {"auto": _("sizes in KiB, MiB, GiB as they fit"), "B": _("sizes in bytes")}.get(unit, f"sizes in {unit}")
        )

    def action_theme(self) -> None:
        """The next theme."""
        names = list(PALETTES)
        self.theme = names[(names.index(self.theme) + 1) % len(names)]
        self.tell(_("theme: {theme}").format(theme=self.theme))

    def _palette(self) -> Palette:
        return MONO if self.no_color else PALETTES.get(self.theme, PALETTES[DEFAULT])

    def _wear(self, theme: Theme) -> None:
        self._view = replace(self._view, palette=self._palette())
        self.call_after_refresh(self.on_snapshot_ready)

    def action_picture(self) -> None:
        """The screen as an SVG file in the current folder."""
        path = Path.cwd() / f"memtop-{strftime('%Y%m%d-%H%M%S')}.svg"
        try:
            path.write_text(self.export_screenshot(title="memtop"), "utf-8")
        except OSError as error:
            self.tell(_("no screenshot: {value}").format(value=error.strerror or error))
        else:
            self.tell(_("screenshot: {path}").format(path=path))

    def action_help(self) -> None:
        """The keys of the screen in sight."""
        from memtop.tui.screens.help import HelpScreen

        self.push_screen(HelpScreen(self.screen.active_bindings))

    @property
    def reads(self) -> bool:
        """Whether what is typed can reach the training."""
        session = self.session
        return session.is_command and not session.is_guest and session.snapshot().end is None

    def on_resize(self, event: Resize) -> None:
        """The training's terminal is as large as ours, once a person has let go of the window's edge."""
        if self._resizing is not None:
            self._resizing.stop()
        self._resizing = self.set_timer(RESIZE_SECONDS, lambda: self.session.resize(*event.size))

    def action_leave(self) -> None:
        """Leave; the session is closed by who runs the app. A person's own training is ended on request alone."""
        interrupt = getattr(self.screen, "interrupt", None)
        if interrupt is not None and interrupt():
            return
        shown = self.session.snapshot()
        session = self.session
        ours = session.is_command and not session.is_guest
        if not ours or self.failure is not None or shown.end is not None:
            self.exit(0)
            return
        from memtop.tui.screens.leave import Leave

        if not isinstance(self.screen, Leave):
            self.push_screen(Leave(shown.title), self._left)

    def _left(self, answer: str | None) -> None:
        if answer == "stop":
            self.session.stop()
        if answer is not None:
            self.exit(0)


def run(session: Shown, *, summary: bool = True) -> int:
    """Run the session on the screen until the person leaves; the exit status.

    0 after a quit, 2 where the target never started, 1 where the screen broke, 128 + the signal that ended memtop.
    """
    from memtop.tui.running import run_app

    return run_app(session, summary)


def _collect_again() -> None:
    """The first picture stands. What was imported for it stays for good: no collection need look at it."""
    gc.freeze()
    gc.enable()

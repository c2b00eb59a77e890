"""All settings of a scenario: pick one, then its value."""

from __future__ import annotations

from textual.app import ComposeResult

from memtop.model.i18n import _
from memtop.model.records import Setting
from memtop.model.snapshot import Snapshot
from memtop.tui.scenarios import Offered, Scenarios
from memtop.tui.screens.ask import Ask
from memtop.tui.screens.dialog import Dialog
from memtop.tui.screens.picker import Entry, Picker


def words(value: Setting) -> str:
    """A setting's value as a person reads it."""
    if value is True or value is False:
        return "on" if value else "off"
    return "none" if value in (None, "") else str(value)


class SettingsScreen(Dialog[tuple[str, Setting]]):
    """Asks two questions: which setting, and which value."""

    def __init__(self, snapshot: Snapshot, scenarios: Scenarios) -> None:
        super().__init__()
        self._scenario = snapshot.title
        self._settings = dict(snapshot.settings)
        self._scenarios = scenarios
        self._offered = {each.name: each for each in scenarios.settings(snapshot.title)}

    def compose(self) -> ComposeResult:
        yield from ()

    def on_mount(self) -> None:
        """The first question."""
        entries = [Entry(n, _(o.title), words(self._settings.get(n))) for n, o in self._offered.items()]
        self.app.push_screen(
            Picker(_("Settings of {scenario}").format(scenario=self._scenario), entries, None), self._which
        )

    def _which(self, name: str | None) -> None:
        if name is None:
            self.dismiss(None)
            return
        offered = self._offered[name]
        if offered.choices:
            entries = [Entry(words(value), "") for value in offered.choices]
            current = words(self._settings.get(name))
            self.app.push_screen(Picker(offered.title, entries, current), lambda text: self._value(offered, text))
        else:
            value = self._settings.get(name)
            ask = Ask(offered.title, "" if value is None else str(value), lambda text: self._refused(offered, text))
            self.app.push_screen(ask, lambda text: self._value(offered, text))

    def _refused(self, offered: Offered, text: str) -> str | None:
        return self._scenarios.refused(self._scenario, offered.name, text)

    def _value(self, offered: Offered, text: str | None) -> None:
        if text is None or self._refused(offered, text) is not None:
            self.dismiss(None)
            return
        value = self._scenarios.value(self._scenario, offered.name, text)
        self.dismiss(None if value == self._settings.get(offered.name) else (offered.name, value))

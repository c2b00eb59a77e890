"""A FakeSession, an app on it, and a clock that does not run."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from memtop.launcher.manifests import ManifestError
from memtop.model.records import Setting
from memtop.model.snapshot import Snapshot
from memtop.tui.app import MemtopApp
from memtop.tui.lessons import Lesson
from memtop.tui.scenarios import Manifests, Offer, Offered

from .fakes import FakeSession, mlp


class FakeScenarios:
    """Three trainings, whatever is installed."""

    def offers(self) -> Sequence[Offer]:
        return [
            Offer(name="mlp-mnist", title="A perceptron on digits", lesson="The smallest training there is."),
            Offer(name="mlp-cifar", title="A perceptron on photographs", lesson="Four times the weights."),
            Offer(name="cnn", title="Convolutions", lesson="Few weights, large activations."),
        ]

    def settings(self, scenario: str) -> Sequence[Offered]:
        return [
            Offered(name="optimizer", title="optimizer", kind="str", choices=("sgd", "adam")),
            Offered(name="seed", title="seed", kind="int", choices=()),
        ]

    def lesson(self, scenario: str) -> Lesson | None:
        return Manifests().lesson(scenario)

    def refused(self, scenario: str, name: str, value: str) -> str | None:
        try:
            self.value(scenario, name, value)
        except (ValueError, ManifestError) as error:
            return str(error)
        return None

    def value(self, scenario: str, name: str, value: str) -> Setting:
        return int(value) if name == "seed" else value


AppMaker = Callable[..., MemtopApp]


@pytest.fixture
def make_app(monkeypatch: pytest.MonkeyPatch) -> AppMaker:
    """An app on a FakeSession; `app.session` is that."""
    monkeypatch.delenv("NO_COLOR", raising=False)

    def make(snapshot: Snapshot | None = None, fails: Exception | None = None) -> MemtopApp:
        session = FakeSession(snapshot or mlp(), fails)
        return MemtopApp(session, scenarios=FakeScenarios())  # type: ignore[arg-type]

    return make

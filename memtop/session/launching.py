"""What a session launches: the command line, the log's first record, the process."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timezone

import memtop
from memtop.launcher import manifests
from memtop.launcher.command import CommandTarget
from memtop.launcher.guest import Guest
from memtop.launcher.target import Address, Target, environment, python_with_torch
from memtop.launcher.warm import Warm
from memtop.model.records import RunRecord, Setting
from memtop.session.options import Options
from memtop.session.view import Around, default


class Warmth:
    """Keeps a starter for the next scenario, where the options ask for one and this system can."""

    def __init__(self, options: Options, base: Mapping[str, str]) -> None:
        self._options, self._base = options, base
        self._warm: Warm | None = None
        self._closed = False

    @property
    def ready(self) -> bool:
        """Whether a launch would be warm."""
        return self._warm is not None and self._warm.ready

    def begin(self) -> None:
        """Start it, once: when the first scenario trains, so that its own start is not slowed."""
        if self._options.warm and self._warm is None and not self._closed and Warm.possible():
            self._warm = Warm(python_with_torch(self._options.python), self._base)

    def launch(self, command: list[str], env: Mapping[str, str]) -> Target | None:
        """A scenario, forked; `None` where only a fresh process will do."""
        return None if self._warm is None else self._warm.launch(command, env, self._options.output)

    def close(self) -> None:
        """End it."""
        self._closed = True
        if self._warm is not None:
            self._warm.close()


def following(
    manifest: manifests.Manifest, settings: Mapping[str, Setting], scenario: str | None, changes: Mapping[str, Setting]
) -> tuple[manifests.Manifest, dict[str, Setting]]:
    """What runs after this: `changes` over the present settings; another scenario takes those of them that it offers
    and that somebody has chosen. Raises `ManifestError`."""
    chosen = manifests.load(scenario) if scenario else manifest
    kept = {name: value for name, value in settings.items() if chosen.spec(name)}
    if chosen.name != manifest.name:
        kept = {name: value for name, value in kept.items() if value != default(manifest, name)}
    return chosen, manifests.resolve(chosen, {**kept, **changes})


def command_line(options: Options, around: Around) -> list[str]:
    """The argument vector. Raises `LaunchError` where no Python of a scenario has torch."""
    if around.manifest is None:
        return list(around.command)
    return manifests.command(around.manifest, around.settings, python_with_torch(options.python))


def run_record(around: Around, command: list[str]) -> RunRecord:
    """The first record of a log, as far as the machine is known by now."""
    return RunRecord(
        t=0.0,
        memtop=memtop.__version__,
        command=command,
        scenario=None if around.manifest is None else around.manifest.name,
        settings=dict(around.settings),
        host=around.facts.host,
        gpus=list(around.facts.gpus),
        started_at=datetime.now(timezone.utc).isoformat(timespec="milliseconds"),
    )


def started(
    options: Options,
    around: Around,
    command: list[str],
    base: Mapping[str, str],
    address: Address | None,
    warmth: Warmth,
) -> Target | CommandTarget | Guest:
    """The process, with the environment `base` and the way to `address`; a guest runs already."""
    if around.guest is not None or address is None:
        assert around.guest is not None
        return around.guest
    is_command = around.manifest is None
    steps = options.steps if is_command else None
    env = environment(base, address.path, options.overhead, owned=not is_command, steps=steps)
    if is_command:
        return CommandTarget(command, env, options.output, options.size)
    return warmth.launch(command, env) or Target(command, env, options.output)

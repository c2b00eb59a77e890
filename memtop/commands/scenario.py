"""The options of everything that runs a scenario."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

from memtop.commands.watching import RUN, Command, common, option, python_at, said
from memtop.usage import Device, Pair, Refused

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from memtop.session import Options

DEFAULT_SCENARIO: Final = "mlp-cifar"


def _complete_scenario(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem[str]]:
    from memtop import completion

    return completion.scenarios(incomplete)


def _complete_setting(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem[str]]:
    from memtop import completion

    return completion.settings(ctx.params.get("scenario") or DEFAULT_SCENARIO, incomplete)


OF_SCENARIO: Final = (
    option(
        "--scenario",
        section=RUN,
        metavar="NAME",
        shell_complete=_complete_scenario,
        help=f"A built-in training; memtop scenarios lists them. [default: {DEFAULT_SCENARIO}]",
    ),
    option("--batch-size", section=RUN, metavar="N", type=click.IntRange(min=1), help="Samples a step."),
    option(
        "--set",
        "pairs",
        section=RUN,
        metavar="NAME=VALUE",
        type=Pair(),
        multiple=True,
        shell_complete=_complete_setting,
        help="Any other setting of the scenario, as in optimizer=sgd. Repeatable.",
    ),
    option(
        "--device",
        section=RUN,
        metavar="NAME",
        type=Device(),
        help="cpu, cuda:N, mps, or auto: the best there is. [default: auto]",
    ),
    option(
        "--data",
        section=RUN,
        metavar="DIR",
        type=click.Path(file_okay=False),
        help="Folder of the real data set; without it, synthetic data of the same shape.",
    ),
    option(
        "--python",
        section=RUN,
        metavar="PATH",
        type=click.Path(),
        help="The Python that trains: one that has torch. [default: memtop's own]",
    ),
)


def of_scenario(command: Command) -> Command:
    """Give a command all of `OF_SCENARIO`."""
    for each in reversed(OF_SCENARIO):
        command = each(command)
    return command


def options(given: dict[str, Any], mode: str) -> Options:
    """The run of a scenario that was asked for, checked."""
    from memtop.launcher import manifests
    from memtop.session import Options

    scenario = given["scenario"] or DEFAULT_SCENARIO
    with said(manifests.ManifestError):
        settings = manifests.resolve(manifests.load(scenario), {"steps": 0} | _settings(given))
    return Options(
        scenario=scenario,
        settings=settings,
        python=python_at(given["python"]),
        steps=int(settings["steps"] or 0) or None,
        **common(given, mode),
    )


def _settings(given: dict[str, Any]) -> dict[str, object]:
    """What was said of the scenario's settings, by their names. Saying one twice is a mistake, not a choice."""
    settings: dict[str, object] = {}
    named = {name: given[name] for name in ("batch_size", "device", "data", "steps") if given[name] is not None}
    for name, value in (*named.items(), *given["pairs"]):
        if name in settings:
            raise Refused(f"{name} is given twice, as {settings[name]} and as {value}", "say it once")
        settings[name] = value
    return settings

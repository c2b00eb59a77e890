"""`memtop fit`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import click

from memtop.commands.fit_estimates import INSTEAD, Result, mode_of, plan_for_cuda, what_if
from memtop.commands.scenario import of_scenario, options
from memtop.commands.watching import END, HOW, OUT, Command, option, python_at, said
from memtop.terminal import print_json, print_text
from memtop.usage import CommandWithWords, Number, Refused, Size

if TYPE_CHECKING:
    from memtop.fit import Finding, Plan
    from memtop.session import Options

_WHAT: Final = "What has to fit"
_WATCHED: Final = {"interval": 0.5, "overhead": 1.0, "duration": None, "logs": (), "trace_steps": False}


def _number(name: str, *, section: str, help: str) -> Callable[[Command], Command]:
    return option(name, section=section, metavar="N", type=_Whole(min=1), help=help)


class _Whole(click.IntRange):
    """A whole number; the help does not repeat its range."""

    def _describe_range(self) -> str:
        return ""


class FitCommand(CommandWithWords):
    """`memtop fit` takes a scenario's options, or a person's words."""

    usage_words = "[OPTIONS] [--] [COMMAND...]"
    examples = (
        ("memtop fit --scenario cnn --memory 512MiB", "a built-in training"),
        ("memtop fit --flag --batch-size -- python train.py", "yours, by its own flag"),
        ("memtop fit --flag data.batch={} -- python train.py", "a number within a word"),
        ("memtop fit --scenario cnn --memory 8GiB --json", "for a script"),
        ("memtop fit --what-if -- python train.py", "other settings, estimated from one run"),
        ("memtop fit --scenario cnn --as cuda --device-memory 24GiB", "for a GPU that is not here"),
    )


@click.command(
    "fit",
    cls=FitCommand,
    context_settings={"allow_interspersed_args": False, "ignore_unknown_options": True, "max_content_width": 100},
)
@of_scenario
@option("--flag", section="What to train", metavar="NAME", help="The command's own flag that takes a batch size.")
@option("--memory", section=_WHAT, metavar="SIZE", type=Size(), help="The limit, as in 8GiB. [default: this device's]")
@option(
    "--margin",
    section=_WHAT,
    metavar="PERCENT",
    type=Number(0, 100, unit="per cent"),
    help="How much of a peak has to stay free beside it. [default: 0; 10 of the machine's own RAM]",
)
@_number("--multiple-of", section=_WHAT, help="Only batch sizes that are a multiple of N. [default: 1]")
@_number("--most", section=_WHAT, help="No batch larger than N.")
@option("--what-if", section=INSTEAD, is_flag=True, help="Estimate other optimizers, precisions, ... from one run.")
@option(
    "--as",
    "as_device",
    section=INSTEAD,
    metavar="cuda",
    type=click.Choice(["cuda"]),
    help="Plan for a GPU that is not here, from two small runs on the CPU.",
)
@option(
    "--device-memory", section=INSTEAD, metavar="SIZE", type=Size(), help="How much memory that GPU has, as in 24GiB."
)
@option(
    "--alloc-conf",
    section=INSTEAD,
    metavar="TEXT",
    help="Its allocator's settings. [default: those of PYTORCH_ALLOC_CONF]",
)
@option(
    "--start",
    section=HOW,
    metavar="N",
    type=click.IntRange(min=1),
    help="The first batch. [default: 16; 8 with --as; its own with --what-if]",
)
@option("--steps", section=HOW, metavar="N", type=_Whole(min=3), default=6, help="Steps of a trial. [default: 6]")
@option("--trials", section=END, metavar="N", type=click.IntRange(min=1), help="At most so many. [default: 20]")
@option(
    "--patience",
    section=END,
    metavar="SECONDS",
    type=Number(1, unit="seconds"),
    default=600.0,
    help="Give a trial up that makes no step for so long. [default: 600]",
)
@option("--json", "as_json", section=OUT, is_flag=True, help="The answer and all trials as JSON on stdout.")
@click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="[COMMAND...]")
def command(*, words: tuple[str, ...], **given: Any) -> int:
    """The largest batch that fits, found and proved by trial runs.

    Each trial is a fresh process of a few steps. --what-if and --as estimate instead. The status is 0 where a batch
    fits, 1 where none does or a trial failed.
    """
    from memtop.fit import FitError
    from memtop.launcher.manifests import ManifestError
    from memtop.launcher.target import LaunchError

    mode = mode_of(given)
    plan = _plan(words, given, mode)
    screen = _Screen(bool(given["as_json"]), plan.steps)
    try:
        with said(LaunchError, ManifestError):
            fits, lines, found = _MODES[mode](plan, given, screen)
    except FitError as error:
        screen.clear()
        for line in error.output:
            click.echo(f"  {line}", err=True)
        click.echo(f"memtop: {error.message}; {error.remedy}", err=True)
        return 1
    except KeyboardInterrupt:
        screen.clear()
        click.echo(f"memtop: interrupted{screen.so_far}", err=True)
        return 130
    screen.clear()
    printed = print_json(found) if given["as_json"] else print_text("\n".join(lines))
    return printed or (0 if fits else 1)


def _search(plan: Plan, given: dict[str, Any], screen: _Screen) -> Result:
    from memtop.fit import capped, find, text
    from memtop.model.search import Search

    limit, start = given["memory"], given["start"] or 16
    if limit is not None:
        plan = capped(plan, limit)
    margin = (given["margin"] or 0.0) / 100
    search = Search(limit, start=start, multiple_of=given["multiple_of"] or 1, margin=margin, most=given["most"])
    limit_is = "not known yet" if limit is None else "as asked"
    trials = given["trials"] or 20
    finding = find(plan, search, limit_is, tick=screen.tick, done=screen.done, most_trials=trials)
    return finding.best is not None, text.answer(finding), text.as_json(finding)


_MODES: Final[dict[str, Callable[[Plan, dict[str, Any], _Screen], Result]]] = {
    "search": _search,
    "what-if": what_if,
    "plan": plan_for_cuda,
}


def _plan(words: tuple[str, ...], given: dict[str, Any], mode: str) -> Plan:
    from memtop.fit import Plan
    from memtop.launcher.command import resolved
    from memtop.launcher.target import LaunchError
    from memtop.session import Options

    if not words:
        if given["flag"] is not None:
            raise Refused("--flag is of a command, and there is none", "write it after --")
        if given["batch_size"] is not None and mode != "what-if":
            raise Refused("--batch-size is what is looked for", "leave it out, or give --most")
        if given["batch_size"] is not None and given["start"] is not None:
            raise Refused("--batch-size and --start both say the batch", "leave one of them out")
        if mode == "plan":
            given = {**given, "device": given["device"] or "cpu"}
        ours = options({**given, **_WATCHED, "steps": None}, "headless")
        _searchable(ours, mode)
        return Plan(options=ours, steps=given["steps"], patience=given["patience"])
    if words[0].startswith("-") and not words[0].startswith("-m"):
        raise Refused(f"no such option: {words[0]}", "memtop fit --help has them; a command's come after the command")
    if given["flag"] is None and (mode != "what-if" or given["start"] is not None):
        raise Refused("which of the command's flags takes a batch size?", "say it, as in --flag --batch-size")
    for name in ("scenario", "batch_size", "device", "data"):
        if given[name] is not None:
            raise Refused(f"--{name.replace('_', '-')} is of a scenario, and there is a command", "leave it out")
    with said(LaunchError):
        found = resolved(words, python_at(given["python"]))
    return Plan(options=Options(command=found), flag=given["flag"], steps=given["steps"], patience=given["patience"])


def _searchable(options: Options, mode: str) -> None:
    """That the scenario has one batch size and is one training. Several in turn would have several answers."""
    from memtop.launcher import manifests

    manifest = manifests.load(options.scenario or "")
    if manifest.spec("batch_size") is None and mode != "what-if":
        raise Refused(f"{manifest.name} has no batch size that can be set alone", "choose another of memtop scenarios")
    for name, value in options.settings.items():
        spec = manifest.spec(name)
        if value == "all" and spec is not None and spec.choices:
            others = " or ".join(str(choice) for choice in spec.choices if choice != "all")
            raise Refused(f"{manifest.name} is several trainings in turn", f"say which, --set {name}= with {others}")


class _Screen:
    """The table on stdout (stderr for `--json`), and while a trial runs a bar below it where there is a terminal."""

    def __init__(self, as_json: bool, steps: int) -> None:
        self._as_json, self._steps, self._drawn = as_json, steps, 0
        self._rows = 0
        self._newest: Finding | None = None
        self._terminal = sys.stderr is not None and sys.stderr.isatty()

    def tick(self, batch: int, steps: int) -> bool:
        """Draw how far a trial is. Always to be gone on with: Ctrl-C ends it."""
        done = min(steps, self._steps)
        bar = "█" * (20 * done // self._steps)
        what = f"batch {batch:,}" if batch else "its own batch"
        self._draw(f"trial {self._rows + 1}: {what}  {bar:░<20} {done} of {self._steps} steps")
        return True

    def done(self, finding: Finding) -> None:
        """A line of the table."""
        from memtop.fit import text

        self.clear()
        if not self._rows:
            click.echo(text.head(), err=self._as_json)
        self._rows, self._newest = self._rows + 1, finding
        click.echo(text.row(finding), err=self._as_json)

    @property
    def so_far(self) -> str:
        """What is known when it is broken off."""
        best = None if self._newest is None else self._newest.best
        return "" if best is None else f"; batch {best.batch_size:,} was seen to fit"

    def clear(self) -> None:
        """Take the bar away."""
        self._draw("")

    def _draw(self, line: str) -> None:
        if self._terminal and (line or self._drawn):
            click.echo(f"\r{line}{' ' * (self._drawn - len(line))}" + ("" if line else "\r"), err=True, nl=False)
            self._drawn = len(line)

"""What every command that watches a training shares: its options, where it shows, and the refusals they bring."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from memtop.terminal import colour, number_from, print_text, terminal_size
from memtop.usage import Language, Number, Refused, SectionOption

if TYPE_CHECKING:
    from memtop.model.snapshot import Snapshot
    from memtop.session import Options
    from memtop.session.shown import Shown

Command = TypeVar("Command", bound=Callable[..., Any])

RUN, END, OUT, HOW = "What to train", "When to end", "Where it shows", "How it is watched"
"""The sections of the help."""


def option(*names: str, section: str, **more: Any) -> Callable[[Command], Command]:
    """click's option, under a heading of the help."""
    return click.option(*names, cls=SectionOption, section=section, **more)


def _speak(ctx: click.Context, _: click.Parameter, value: str | None) -> None:
    """The screen's words; what is not said is the locale's. A log's are always English."""
    if not ctx.resilient_parsing:
        from memtop.model import i18n

        i18n.use(value or i18n.of_locale())


speaking: Final = option(
    "--lang",
    section=OUT,
    metavar="LANG",
    type=Language(),
    callback=_speak,
    expose_value=False,
    help="The screen's language: en or zh. [default: the locale's]",
)
"""The option of everything that draws a screen."""

WATCHING: Final = (
    option("--steps", section=END, metavar="N", type=click.IntRange(min=1), help="After N training steps."),
    option("--duration", section=END, metavar="S", type=Number(0.1, unit="seconds"), help="After S seconds."),
    option("--headless", section=OUT, is_flag=True, help="No screen: records to the logs, words on stderr."),
    option("--once", section=OUT, is_flag=True, help="Print one screen as text, then end."),
    option(
        "--log",
        "logs",
        section=OUT,
        metavar="PATH",
        type=click.Path(allow_dash=True),
        multiple=True,
        help="Write records to PATH: .jsonl, or .csv (memory only); - is JSONL on stdout. Repeatable. "
        "A run.jsonl of an earlier run is kept as run.1.jsonl.",
    ),
    speaking,
    option(
        "--trace-steps",
        section=OUT,
        is_flag=True,
        help="Also log each deep look's whole step, bytes by category through time.",
    ),
    option(
        "--interval",
        section=HOW,
        metavar="S",
        type=Number(0.1, unit="seconds"),
        default=1.0,
        show_default=True,
        help="Seconds between readings of GPU and CPU.",
    ),
    option(
        "--overhead",
        section=HOW,
        metavar="PERCENT",
        type=Number(0, 100, unit="per cent"),
        default=1.0,
        show_default=True,
        help="How much of the training's time watching may cost.",
    ),
)
"""The options of everything that watches a training."""


def watching(command: Command) -> Command:
    """Give a command all of `WATCHING`."""
    for each in reversed(WATCHING):
        command = each(command)
    return command


def common(given: dict[str, Any], mode: str) -> dict[str, Any]:
    """The fields of `Options` that these options say, checked."""
    return {
        "interval": given["interval"],
        "overhead": given["overhead"],
        "duration": given["duration"],
        "logs": _logs(given["logs"]),
        "trace_steps": _trace_steps(given, mode),
    }


def show(mode: str, options: Options) -> int:
    """Run what was asked for, on the screen, without one, or for one picture; the exit status."""

    from memtop.launcher.target import LaunchError
    from memtop.sinks import SinkError

    with said(LaunchError, SinkError):
        if mode == "headless":
            return _headless(options)
        if mode == "once":
            return _once(options)
        session = _session(options)
        from memtop.tui import app

        return app.run(session, summary=True)


def _session(options: Options) -> Shown:
    """A person's command outlives its screen, and so does what watches it."""
    from msgspec.structs import replace

    if not options.command:
        from memtop.session import Session

        return Session(replace(options, warm=True))
    from memtop.session.remote import supervise

    return supervise(replace(options, size=terminal_size()))


def mode_of(given: dict[str, Any]) -> str:
    """`screen`, `headless` or `once`."""
    if given["once"] and given["headless"]:
        raise Refused("--once prints a screen and --headless has none", "leave one of them out")
    if given["headless"]:
        return "headless"
    mode = "once" if given["once"] or not is_interactive() else "screen"
    if "-" in given["logs"]:
        raise Refused("--log - writes records where the screen would be", "add --headless, or log to a file")
    return mode


def mode_of_command(given: dict[str, Any]) -> str:
    """Where there is no terminal for a screen, the command has all of ours: nobody's training is ended for a pipe."""
    if not given["once"] and not given["headless"] and not is_interactive():
        return "headless"
    return mode_of(given)


def is_interactive() -> bool:
    """Whether a screen can be drawn and keys can be read."""
    both = all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stdout))
    return both and os.environ.get("TERM", "") not in ("", "dumb")


def python_at(path: str | None) -> str | None:
    """The program that `--python` names; `None` where it was not given."""
    import shutil
    from pathlib import Path

    if path is None:
        return None
    found = shutil.which(str(Path(path).expanduser()))
    if found is None:
        raise Refused(f"--python {path}: there is no such program", "give the path of a Python that has torch")
    return found


def _logs(paths: Sequence[str]) -> tuple[str, ...]:
    from pathlib import Path

    from memtop.sinks import SinkError, check_path

    seen: set[str] = set()
    for path in paths:
        with said(SinkError):
            check_path(path)
        place = path if path == "-" else str(Path(path).expanduser().resolve())
        if place in seen:
            raise Refused(f"--log {path} is given twice", "say it once")
        seen.add(place)
    return tuple(paths)


def _trace_steps(given: dict[str, Any], mode: str) -> bool:
    """Whether whole steps are logged. On a screen a key may still open a log; elsewhere there must be one."""
    asked, shown = bool(given["trace_steps"]), mode == "screen"
    if asked and not shown and all(path.lower().endswith(".csv") for path in given["logs"]):
        raise Refused("--trace-steps goes into a log of JSON lines, and there is none", "add --log run.jsonl")
    return asked


def _headless(options: Options) -> int:
    from memtop import headless

    terminal = sys.stderr if sys.stderr is not None and sys.stderr.isatty() else None
    return headless.run(options, progress=terminal if os.environ.get("TERM", "") != "dumb" else None)


def _once(options: Options) -> int:
    from memtop import headless
    from memtop.tui import once

    width, height = terminal_size()
    whole = sys.stdout is None or not sys.stdout.isatty()
    lines = number_from("LINES") if whole else height  # into a pipe or a file: as many as there is something to say

    def draw(snapshot: Snapshot) -> str:
        return once.render(snapshot, width, lines, colour())

    status, text = headless.once(options, draw)
    return print_text(text) or status


@contextmanager
def said(*kinds: type[Any]) -> Iterator[None]:
    """An error of ours, with its message and remedy, becomes one line."""
    try:
        yield
    except kinds as error:
        raise Refused(error.message, error.remedy) from error

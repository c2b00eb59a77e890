"""The command line. Each branch imports what it needs when it is taken: `--version` and `--help` meet only click."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from memtop import __version__
from memtop.terminal import colour, number_from, print_json, print_text, terminal_size
from memtop.usage import CommandWithWords, Device, MemtopGroup, Number, Pair, Refused, SectionOption, one_line

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from memtop.model.snapshot import Snapshot
    from memtop.session import Options

_Command = TypeVar("_Command", bound=Callable[..., Any])

DEFAULT_SCENARIO: Final = "mlp-cifar"
COMPLETION_VARIABLE: Final = "_MEMTOP_COMPLETE"

_RUN, _END, _OUT, _HOW = "What to train", "When to end", "Where it shows", "How it is watched"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line (`sys.argv` where none is given) and return the exit status."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a terminal that is not UTF-8 gets `?`, not a traceback
            stream.reconfigure(errors="replace")
    try:
        if instruction := os.environ.get(COMPLETION_VARIABLE):
            return _complete(instruction)
        status = memtop.main(arguments, prog_name="memtop", standalone_mode=False)
        return status if isinstance(status, int) else 0
    except click.ClickException as error:
        click.echo(f"memtop: {one_line(error)}", err=True)
        return 2
    except (click.Abort, KeyboardInterrupt):
        return 130


def _complete(instruction: str) -> int:
    from memtop import completion

    click.echo(completion.answer(memtop, instruction))
    return 0


def _complete_scenario(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem[str]]:
    from memtop import completion

    return completion.scenarios(incomplete)


def _complete_setting(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem[str]]:
    from memtop import completion

    return completion.settings(ctx.params.get("scenario") or DEFAULT_SCENARIO, incomplete)


def _option(*names: str, section: str, **more: Any) -> Callable[[_Command], _Command]:
    return click.option(*names, cls=SectionOption, section=section, **more)


_WATCHING: Final = (
    _option("--steps", section=_END, metavar="N", type=click.IntRange(min=1), help="After N training steps."),
    _option("--duration", section=_END, metavar="S", type=Number(0.1, unit="seconds"), help="After S seconds."),
    _option("--headless", section=_OUT, is_flag=True, help="No screen: records to the logs, words on stderr."),
    _option("--once", section=_OUT, is_flag=True, help="Print one screen as text, then end."),
    _option(
        "--log",
        "logs",
        section=_OUT,
        metavar="PATH",
        type=click.Path(allow_dash=True),
        multiple=True,
        help="Write records to PATH: .jsonl, or .csv (memory only); - is JSONL on stdout. Repeatable. "
        "A run.jsonl of an earlier run is kept as run.1.jsonl.",
    ),
    _option(
        "--trace-steps",
        section=_OUT,
        is_flag=True,
        help="Also log each deep look's whole step, bytes by category through time.",
    ),
    _option(
        "--interval",
        section=_HOW,
        metavar="S",
        type=Number(0.1, unit="seconds"),
        default=1.0,
        show_default=True,
        help="Seconds between readings of GPU and CPU.",
    ),
    _option(
        "--overhead",
        section=_HOW,
        metavar="PERCENT",
        type=Number(0, 100, unit="per cent"),
        default=1.0,
        show_default=True,
        help="How much of the training's time watching may cost.",
    ),
)
"""The options of everything that watches a training."""


def _watching(command: _Command) -> _Command:
    for option in reversed(_WATCHING):
        command = option(command)
    return command


@click.group(
    "memtop",
    cls=MemtopGroup,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@_option(
    "--scenario",
    section=_RUN,
    metavar="NAME",
    shell_complete=_complete_scenario,
    help=f"A built-in training; memtop scenarios lists them. [default: {DEFAULT_SCENARIO}]",
)
@_option("--batch-size", section=_RUN, metavar="N", type=click.IntRange(min=1), help="Samples a step.")
@_option(
    "--set",
    "pairs",
    section=_RUN,
    metavar="NAME=VALUE",
    type=Pair(),
    multiple=True,
    shell_complete=_complete_setting,
    help="Any other setting of the scenario, as in optimizer=sgd. Repeatable.",
)
@_option(
    "--device",
    section=_RUN,
    metavar="NAME",
    type=Device(),
    help="cpu, cuda:N, mps, or auto: the best there is. [default: auto]",
)
@_option(
    "--data",
    section=_RUN,
    metavar="DIR",
    type=click.Path(file_okay=False),
    help="Folder of the real data set; without it, synthetic data of the same shape.",
)
@_option(
    "--python",
    section=_RUN,
    metavar="PATH",
    type=click.Path(),
    help="The Python that trains: one that has torch. [default: memtop's own]",
)
@_watching
@click.version_option(__version__, prog_name="memtop")
@click.pass_context
def memtop(ctx: click.Context, /, **given: Any) -> int:
    """htop for training memory: runs a PyTorch training, and shows live where every byte goes."""
    if ctx.invoked_subcommand is not None:
        _refuse_options(ctx, ctx.invoked_subcommand)
        return 0
    return _watch(given)


memtop.examples = (
    ("memtop", "live, on mlp-cifar"),
    ("memtop --scenario cnn --batch-size 128", "another training"),
    ("memtop --scenario deep-stack --set checkpoint=halves", "a setting of its own"),
    ("memtop --headless --steps 200 --log run.jsonl", "no screen, a log"),
    ("memtop --headless --log - | jq -c .bytes", "records into a pipe"),
    ("memtop --once > screen.txt", "one screen as text"),
)


def _refuse_options(ctx: click.Context, command: str) -> None:
    for param in ctx.command.params:
        if ctx.get_parameter_source(param.name or "") is click.core.ParameterSource.COMMANDLINE:
            if command == "run":
                raise _misplaced(param)
            raise Refused(
                f"{param.opts[0]} says how to watch a training, and memtop {command} runs none", "leave it out"
            )


def _misplaced(param: click.Parameter) -> Refused:
    name = param.opts[0]
    if name in (option.opts[0] for option in run.params):
        return Refused(f"{name} stands before run", f"write memtop run {name} ... COMMAND")
    return Refused(f"{name} is of a scenario, and memtop run has none", "leave it out")


def _watch(given: dict[str, Any]) -> int:
    """Run a scenario: on the screen, without one, or for one picture."""
    mode = _mode(given)
    if mode == "screen":
        import gc

        # Importing makes objects that stay: collecting among them would only delay the first picture, which enables
        # it again.
        gc.disable()
    return _show(mode, _options(given))


def _show(mode: str, options: Options) -> int:
    from memtop.launcher.target import LaunchError
    from memtop.sinks import SinkError

    with _said(LaunchError, SinkError):
        if mode == "headless":
            return _headless(options)
        if mode == "once":
            return _once(options)
        from memtop.session import Session
        from memtop.tui import app

        return app.run(Session(options), summary=True)


def _mode(given: dict[str, Any]) -> str:
    if given["once"] and given["headless"]:
        raise Refused("--once prints a screen and --headless has none", "leave one of them out")
    if given["headless"]:
        return "headless"
    mode = "once" if given["once"] or not _is_interactive() else "screen"
    if "-" in given["logs"]:
        raise Refused("--log - writes records where the screen would be", "add --headless, or log to a file")
    return mode


def _mode_of_command(given: dict[str, Any]) -> str:
    """Where there is no terminal for a screen, the command has all of ours: nobody's training is ended for a pipe."""
    if not given["once"] and not given["headless"] and not _is_interactive():
        return "headless"
    return _mode(given)


def _is_interactive() -> bool:
    """Whether a screen can be drawn and keys can be read."""
    both = all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stdout))
    return both and os.environ.get("TERM", "") not in ("", "dumb")


def _options(given: dict[str, Any]) -> Options:
    from memtop.launcher import manifests
    from memtop.session import Options

    scenario = given["scenario"] or DEFAULT_SCENARIO
    with _said(manifests.ManifestError):
        settings = manifests.resolve(manifests.load(scenario), {"steps": 0} | _settings(given))
    return Options(
        scenario=scenario,
        settings=settings,
        python=_python(given["python"]),
        interval=given["interval"],
        overhead=given["overhead"],
        steps=int(settings["steps"] or 0) or None,
        duration=given["duration"],
        logs=_logs(given["logs"]),
        trace_steps=_trace_steps(given, _mode(given)),
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


def _python(path: str | None) -> str | None:
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
        with _said(SinkError):
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
def _said(*kinds: type[Any]) -> Iterator[None]:
    """An error of ours, with its message and remedy, becomes one line."""
    try:
        yield
    except kinds as error:
        raise Refused(error.message, error.remedy) from error


@memtop.command(
    cls=CommandWithWords,
    context_settings={"allow_interspersed_args": False, "ignore_unknown_options": True, "max_content_width": 100},
)
@_option(
    "--python",
    section=_RUN,
    metavar="PATH",
    type=click.Path(),
    help="The Python for a script or -m. [default: python on PATH]",
)
@_watching
@click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="COMMAND...")
def run(*, words: tuple[str, ...], **given: Any) -> int:
    """Your own training, unmodified: a script.py, -m module, or any command.

    Everything after the command is the command's own.
    """
    if not words:
        raise Refused("there is no command", "as in memtop run train.py, or memtop run -- torchrun train.py")
    if words[0].startswith("-") and not words[0].startswith("-m"):
        raise Refused(f"no such option: {words[0]}", "memtop run --help has them; a command's come after the command")
    from memtop.launcher.command import resolved
    from memtop.launcher.target import LaunchError
    from memtop.session import Options

    mode = _mode_of_command(given)
    with _said(LaunchError):
        command = resolved(words, _python(given["python"]))
    options = Options(
        command=command,
        interval=given["interval"],
        overhead=given["overhead"],
        steps=given["steps"],
        duration=given["duration"],
        logs=_logs(given["logs"]),
        trace_steps=_trace_steps(given, mode),
    )
    return _show(mode, options)


@memtop.command()
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def specs(as_json: bool) -> int:
    """This machine's CPU and GPUs."""
    from memtop.collectors.host import host_spec
    from memtop.collectors.nvml import Nvml
    from memtop.model import specs_text

    nvml = Nvml.open()
    gpus, note = (nvml.specs(), None) if isinstance(nvml, Nvml) else ((), f"{nvml.reason}; {nvml.remedy}")
    if as_json:
        return print_json(specs_text.to_json(host_spec(), gpus, note))
    return print_text("\n".join(specs_text.lines(host_spec(), gpus, note, terminal_size()[0])))


@memtop.command()
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def scenarios(as_json: bool) -> int:
    """The built-in trainings, what each teaches, and their settings."""
    from memtop.launcher import manifests
    from memtop.model import scenarios_text

    with _said(manifests.ManifestError):
        found = manifests.as_json()
    if as_json:
        return print_json(found)
    return print_text("\n".join(scenarios_text.lines(found, terminal_size()[0])))


@memtop.command()
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.option("--python", metavar="PATH", help="The Python that would train. [default: memtop's own]")
@click.option("--data", metavar="DIR", help="Check this data folder too.")
@click.option(
    "--timeout",
    metavar="S",
    type=Number(1, unit="seconds"),
    default=30.0,
    show_default=True,
    help="Seconds for a check.",
)
def doctor(as_json: bool, python: str | None, data: str | None, timeout: float) -> int:
    """What works here, what does not, and the remedy."""
    from memtop import doctor as checks

    report = checks.run(_python(python), timeout, data)
    if as_json:
        return print_json(report.as_json()) or report.exit_code
    return print_text(report.as_text(terminal_size()[0], colour())) or report.exit_code


@memtop.command()
def schema() -> int:
    """The JSON Schema of a log's lines."""
    from memtop.sinks.schema import log_schema

    return print_json(log_schema())


@memtop.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> int:
    """A script for bash, zsh or fish that completes memtop's words."""
    from memtop import completion as shells

    return print_text(shells.script(shell, memtop))

"""The command line. Each branch imports what it needs when it is taken: `--version` and `--help` meet only click."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any, Final

import click

from memtop import __version__
from memtop.commands import NAMES
from memtop.commands.scenario import of_scenario, options
from memtop.commands.watching import mode_of, show, watching
from memtop.usage import MemtopGroup, Refused, one_line

COMPLETION_VARIABLE: Final = "_MEMTOP_COMPLETE"


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


@click.group(
    "memtop",
    cls=MemtopGroup,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@of_scenario
@watching
@click.version_option(__version__, prog_name="memtop")
@click.pass_context
def memtop(ctx: click.Context, /, **given: Any) -> int:
    """htop for training memory: runs a PyTorch training, and shows live where every byte goes."""
    if ctx.invoked_subcommand is not None:
        _refuse_options(ctx, ctx.invoked_subcommand)
        return 0
    return _watch(given)


memtop.modules = NAMES
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
                raise _misplaced(ctx, param)
            raise Refused(
                f"{param.opts[0]} says how to watch a training, and memtop {command} runs none", "leave it out"
            )


def _misplaced(ctx: click.Context, param: click.Parameter) -> Refused:
    name = param.opts[0]
    run = memtop.get_command(ctx, "run")
    if run is not None and name in (option.opts[0] for option in run.params):
        return Refused(f"{name} stands before run", f"write memtop run {name} ... COMMAND")
    return Refused(f"{name} is of a scenario, and memtop run has none", "leave it out")


def _watch(given: dict[str, Any]) -> int:
    """Run a scenario: on the screen, without one, or for one picture."""
    mode = mode_of(given)
    if mode == "screen":
        import gc

        # Importing makes objects that stay: collecting among them would only delay the first picture, which enables
        # it again.
        gc.disable()
    return show(mode, options(given, mode))

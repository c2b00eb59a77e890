"""How the command line speaks: help in sections, and every mistake in one line with a way out."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

import click

if TYPE_CHECKING:
    _Type = click.ParamType[Any]
else:  # generic for type checkers alone in older versions of click
    _Type = click.ParamType

_DID_YOU_MEAN: Final = re.compile(r"[. ]*\(?Did you mean (one of: )?(.*?)\?\)?$")


class Refused(click.UsageError):
    """What was asked can't be done: what is wrong, and what to do instead."""

    def __init__(self, message: str, remedy: str | None = None) -> None:
        super().__init__(f"{message}; {remedy}" if remedy else message)


def one_line(error: click.ClickException) -> str:
    """click's error as one line in our manner: no capital, no full stop, `; did you mean ...?`."""
    if isinstance(error, Refused):
        return " ".join(error.message.split())
    text = " ".join(error.format_message().split())
    if isinstance(error, click.NoSuchOption) and error.possibilities:
        text = f"{error.message.rstrip('.')}. Did you mean {error.possibilities[0]!r}?"
    text = _DID_YOU_MEAN.sub(lambda found: f"; did you mean {found[2]}?", text).rstrip(".")
    text = text.replace("is not a valid integer range", "is not a whole number")
    return text[:1].lower() + text[1:]


def close_to(word: str, known: Iterable[str]) -> str | None:
    """The known word that was probably meant."""
    from difflib import get_close_matches

    return next(iter(get_close_matches(word, list(known), n=1, cutoff=0.5)), None)


class SectionOption(click.Option):
    """An option that knows under which heading of the help it stands."""

    def __init__(self, *args: Any, section: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.section = section

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        """As click has it, without the range that goes without saying."""
        row = super().get_help_record(ctx)
        return row and (row[0], row[1].removesuffix("  [x>=1]"))


class Number(_Type):
    """A finite number from `low` to `high` (`math.inf`: no limit); `unit` is for the error."""

    name = "number"

    def __init__(self, low: float, high: float = math.inf, *, unit: str) -> None:
        self._low, self._high, self._unit = low, high, unit

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """See click."""
        try:
            number = float(value)
        except ValueError:
            self.fail(f"{value!r} is not a number of {self._unit}", param, ctx)
        if not (math.isfinite(number) and self._low <= number <= self._high):
            limits = f"at least {self._low:g}" + (f" and at most {self._high:g}" if self._high < math.inf else "")
            self.fail(f"{value} is out of range: {self._unit} must be {limits}", param, ctx)
        return number


class Size(_Type):
    """Bytes: `512MiB`, `8GiB`, `24GB`, or a number of bytes."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """See click."""
        from memtop.model.units import parse_size

        try:
            return value if isinstance(value, int) else parse_size(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


class Device(_Type):
    """`cpu`, `cuda:N`, `mps` or `auto`. Whether it is there, the training's own torch finds out."""

    name = "device"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """See click."""
        text = str(value)
        if not re.fullmatch(r"auto|cpu|mps|cuda(:\d{1,3})?", text):
            self.fail(f"{text!r} is no device: write cpu, cuda:N, mps or auto", param, ctx)
        return text


class Language(_Type):
    """`en`, or a language there is a catalogue of; `zh_CN.UTF-8` is `zh`."""

    name = "language"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """See click."""
        from memtop.model import i18n

        found = i18n.offered(str(value))
        if found is None:
            self.fail(f"{value!r} is no language there are words in: write {' or '.join(i18n.languages())}", param, ctx)
        return found


class Pair(_Type):
    """`NAME=VALUE`."""

    name = "name=value"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        """See click."""
        if isinstance(value, tuple):
            return value
        name, equals, text = str(value).partition("=")
        if not name or not equals:
            self.fail(f"{value!r} is not NAME=VALUE, as in optimizer=sgd", param, ctx)
        return name.replace("-", "_"), text


class MemtopGroup(click.Group):
    """The `memtop` command: options in sections, examples, unknown commands explained."""

    examples: tuple[tuple[str, str], ...] = ()
    modules: tuple[str, ...] = ()
    """The subcommands: modules of `memtop.commands`, imported when they are asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order of the help."""
        return list(self.modules)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The module's `command`."""
        if cmd_name not in self.modules:
            return None
        from importlib import import_module

        command: click.Command = import_module(f"memtop.commands.{cmd_name}").command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does it, with our words for a command that there is not."""
        name = args[0]
        if not ctx.resilient_parsing and not name.startswith("-") and self.get_command(ctx, name) is None:
            raise self.unknown(name)
        return super().resolve_command(ctx, args)

    def unknown(self, name: str) -> Refused:
        """Why `memtop NAME` does nothing, and what was probably meant."""
        from memtop.launcher import manifests

        if name in manifests.names():
            return Refused(f"no command {name!r}", f"did you mean memtop --scenario {name}?")
        if meant := close_to(name, self.modules):
            return Refused(f"no command {name!r}", f"did you mean memtop {meant}?")
        if name.endswith(".py"):
            return Refused(f"no command {name!r}", f"did you mean memtop run {name}?")
        return Refused(f"no command {name!r}", f"there are {', '.join(self.modules)}; memtop --help says more")

    def format_usage(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Both forms."""
        formatter.write_usage("memtop", "[OPTIONS]")
        formatter.write_usage("memtop", "COMMAND [--help]", prefix="       ")

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Examples, then the options by section, then the commands."""
        _write_examples(self.examples, formatter)
        self.format_commands(ctx, formatter)
        _write_sections(self.get_params(ctx), ctx, formatter)


class CommandWithWords(click.Command):
    """`memtop run` and its like: a person's words after our own options."""

    usage_words = "[OPTIONS] [--] COMMAND..."
    examples: tuple[tuple[str, str], ...] = (
        ("memtop run train.py --lr 0.1", "a script, live"),
        ("memtop run -m package.train", "a module"),
        ("memtop run --log run.jsonl -- bash job.sh", "any command that trains"),
        ("memtop run --headless train.py > out.txt", "no screen, output untouched"),
    )

    def format_usage(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """With the word that parts ours from theirs."""
        formatter.write_usage(f"memtop {self.name}", self.usage_words)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Examples, then the options by section."""
        _write_examples(self.examples, formatter)
        _write_sections(self.get_params(ctx), ctx, formatter)


def _write_examples(examples: Iterable[tuple[str, str]], formatter: click.HelpFormatter) -> None:
    with formatter.section("Examples"):
        formatter.write_dl(list(examples), col_max=52)


def _write_sections(params: Iterable[click.Parameter], ctx: click.Context, formatter: click.HelpFormatter) -> None:
    sections: dict[str, list[tuple[str, str]]] = {}
    for param in params:
        # Arguments stand in the first line of the help, options alone have words.
        if isinstance(param, click.Option) and (row := param.get_help_record(ctx)) is not None:
            sections.setdefault(getattr(param, "section", "Other"), []).append(row)
    for title, rows in sections.items():
        with formatter.section(title):
            formatter.write_dl(rows)

"""A person's own command: found, started as without us, never ended but on request."""

from __future__ import annotations

import os
import pty
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, Final

from memtop.launcher.relay import Inherited
from memtop.launcher.target import LaunchError, Output
from memtop.launcher.terminal import Terminal, inside, set_size

_KEEPER: Final = Path(__file__).with_name("keeper.py")
_VALUED: Final = ("-W", "-X", "--check-hash-based-pycs")
"""Options of Python's that take the next word."""


def resolved(words: Sequence[str], python: str | None) -> tuple[str, ...]:
    """The argument vector of a person's words: a script or `-m` under Python. Raises `LaunchError`, with a remedy."""
    first = words[0]
    if first.startswith("-m"):
        if first == "-m" and len(words) < 2:
            raise LaunchError("-m wants a module", "as in memtop run -m package.train")
        return (_python(python), *words)
    if first.endswith(".py"):
        if not Path(first).is_file():
            raise LaunchError(f"{first}: there is no such file", "give the path of a script, or a command")
        return (_python(python), *words)
    if python is not None:
        raise LaunchError(f"--python is for scripts and -m, and {first} is neither", "leave it out")
    if shutil.which(first) is None:
        there = Path(first).exists()
        what = "can't be executed" if there else "there is no such command"
        raise LaunchError(f"{first}: {what}", "check the path" if not there else "name the program that runs it")
    return tuple(words)


def _python(chosen: str | None) -> str:
    found = chosen or shutil.which("python") or shutil.which("python3")
    if found is None:
        raise LaunchError("there is no python on PATH", "name one with --python")
    return found


def title(command: Sequence[str]) -> str:
    """The command in short: the script with its arguments where Python runs one."""
    words = list(command)
    if is_python(words[0]) and len(words) > 1:
        rest = words[1 + _options_of_python(words) :]
        words = rest or words
    first = words[0].rpartition("/")[2] or words[0]
    return " ".join([first, *words[1:]])


def is_python(program: str) -> bool:
    """Whether a program's name is Python's."""
    return program.rpartition("/")[2].startswith(("python", "pypy"))


def _options_of_python(words: Sequence[str]) -> int:
    """How many words after the program are Python's own options."""
    place = 1
    while place < len(words) and words[place].startswith("-") and not words[place].startswith(("-m", "-c")):
        place += 2 if words[place] in _VALUED else 1
    return place - 1


def shut_out(command: Sequence[str]) -> str | None:
    """The option by which a Python never meets the probe, as far as the command line tells; `None`: there is none."""
    if not is_python(command[0]):
        return None
    for word in command[1 : 1 + _options_of_python(command)]:
        letters = word[1:] if word[0] == "-" and word[:2] not in ("--", "-W", "-X") else ""
        for letter in "ISE":
            if letter in letters:
                return f"-{letter}"
    return None


class CommandTarget:
    """A person's process. It outlives us, whatever happens to us."""

    def __init__(
        self, command: Sequence[str], env: Mapping[str, str], output: Output, size: tuple[int, int] | None = None
    ) -> None:
        """Start it: with our own terminal, or (`capture`) on one of its own. Raises `LaunchError`.

        `size` is (columns, lines) of a screen whose person can type; without one the command reads nothing.
        """
        self.stdout: IO[bytes] | None = None
        self._terminal: Terminal | None = None
        if output == "capture":
            self._process, self.stdout, self._terminal = _on_a_terminal(command, env, size)
        else:
            self._process = _start(command, env, stdout=2 if output == "stderr" else None)
        self.pid = self._process.pid

    def wait(self, timeout: float | None = None) -> int | None:
        """The return code (minus a signal's number), or `None` after `timeout` seconds."""
        try:
            return self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            return None

    def send(self, number: int) -> None:
        """A signal to the command itself, as a shell's `kill` would send it."""
        with suppress(ProcessLookupError, PermissionError):
            self._process.send_signal(number)

    def end(self, others: Iterable[int] = ()) -> None:
        """TERM to the command and to `others` of its tree; what it does then is its own affair."""
        self.send(signal.SIGTERM)
        for pid in others:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGTERM)

    def type(self, text: str) -> str | None:
        """Keys for the command's own terminal. Returns why they can't reach it, or `None`."""
        return "the training has no terminal of its own" if self._terminal is None else self._terminal.type(text)

    def resize(self, columns: int, lines: int) -> None:
        """The screen that shows the command's terminal has another size."""
        if self._terminal is not None:
            self._terminal.resize(columns, lines)

    def sweep(self) -> None:
        """What the command left running is the person's."""
        if self._terminal is not None:
            self._terminal.close()


def _start(command: Sequence[str], env: Mapping[str, str], **how: Any) -> subprocess.Popen[bytes]:
    try:
        with Inherited():
            # The files that our own caller handed down are the command's, too; ours are none that a child inherits.
            # With a folder named, even this one, Python does not take `posix_spawn`, which would leave signals ignored.
            return subprocess.Popen(list(command), env=dict(env), close_fds=False, cwd=".", bufsize=0, **how)
    except (OSError, ValueError) as error:
        words = getattr(error, "strerror", None) or str(error)
        raise LaunchError(f"{command[0]} can't be run: {words}", "check the command") from error


def _on_a_terminal(
    command: Sequence[str], env: Mapping[str, str], size: tuple[int, int] | None
) -> tuple[subprocess.Popen[bytes], IO[bytes], Terminal]:
    """The command on a terminal, a pipe from who keeps that terminal open, and our own hold on it.

    It is not its controlling terminal: that would send HUP to what the command leaves running behind it.
    """
    read, write = os.pipe()
    try:
        master, slave = pty.openpty()
    except OSError as error:
        os.close(read)
        os.close(write)
        raise LaunchError(f"no terminal for the command: {error.strerror}", "use --headless") from error
    try:
        _size(slave, size)
        keeper = [sys.executable, "-I", "-S", str(_KEEPER), str(master), str(write)]
        quiet: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
        kept = subprocess.Popen(keeper, pass_fds=(master, write), start_new_session=True, cwd="/", **quiet)
        kept.returncode = 0  # Nobody waits for it: it may outlive us.
        stdin = subprocess.DEVNULL if size is None else slave
        process = _start(command, env, start_new_session=True, stdin=stdin, stdout=slave, stderr=slave)
        terminal = Terminal(master, process.pid)
    except BaseException:
        os.close(read)
        raise
    finally:
        for number in (master, slave, write):
            os.close(number)
    return process, os.fdopen(read, "rb", 0), terminal


def _size(terminal: int, size: tuple[int, int] | None) -> None:
    """As wide as the screen that shows it."""
    with suppress(OSError, AttributeError):
        set_size(terminal, *(inside(*size) if size else os.get_terminal_size(sys.__stdout__.fileno())))  # type: ignore[union-attr]

"""The command line: what it takes, what it refuses and how, and what each branch hands on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from memtop import __version__, cli, headless
from memtop.commands import watching
from memtop.launcher import manifests
from memtop.session import Options
from tests.unit.fake_session import snapshot

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def plain_surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("COLUMNS", "LINES", "_MEMTOP_COMPLETE", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def headless_options(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Options]:
    """What `memtop --headless ...` hands to the front end."""
    seen: list[Options] = []

    def take(options: Options, *, progress: object) -> int:
        seen.append(options)
        return 42

    monkeypatch.setattr(headless, "run", take)

    def call(*arguments: str) -> Options:
        assert cli.main(["--headless", *arguments]) == 42
        return seen[-1]

    return call


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one line on stderr; status 2 and an empty stdout go with it."""
    assert cli.main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.endswith("\n")
    assert err.count("\n") == 1, err
    assert err.startswith("memtop: ")
    return err.removeprefix("memtop: ").rstrip()


def real(*arguments: str, **more: Any) -> subprocess.CompletedProcess[str]:
    """A process of its own, as a person starts it."""
    env = {**os.environ, "PYTHONPATH": str(ROOT), **more.pop("env", {})}
    command = [sys.executable, "-m", "memtop", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, env=env, **more)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--scenario", "cnnn"], "unknown scenario 'cnnn'; did you mean cnn?"),
        (["--scenario", "zzz"], "unknown scenario 'zzz'; there are: mlp-mnist"),
        (["--set", "optimiser=sgd"], "mlp-cifar has no setting 'optimiser'; did you mean optimizer?"),
        (["--set", "optimizer=sgdd"], "optimizer can't be 'sgdd'; it takes"),
        (["--set", "optimizer"], "'optimizer' is not NAME=VALUE"),
        (["--set", "batch-size=8", "--batch-size", "9"], "batch_size is given twice"),
        (["--batch-size", "0"], "invalid value for '--batch-size': 0 is not in the range"),
        (["--batch-size", "many"], "invalid value for '--batch-size': 'many' is not a whole number"),
        (["--steps", "0"], "invalid value for '--steps'"),
        (["--duration", "nan"], "seconds must be at least 0.1"),
        (["--duration", "inf"], "seconds must be at least 0.1"),
        (["--interval", "0.01"], "seconds must be at least 0.1"),
        (["--overhead", "101"], "per cent must be at least 0 and at most 100"),
        (["--device", "gpu"], "'gpu' is no device: write cpu, cuda:N, mps or auto"),
        (["--log", "run.txt"], "can't tell the format of the log 'run.txt'; end its name in .jsonl or .csv"),
        (["--log", "a.csv", "--log", "./a.csv"], "--log ./a.csv is given twice; say it once"),
        (["--log", "-"], "--log - writes records where the screen would be; add --headless"),
        (["--trace-steps", "--headless"], "a log of JSON lines, and there is none; add --log run.jsonl"),
        (["--trace-steps", "--once", "--log", "a.CSV"], "a log of JSON lines, and there is none"),
        (["--once", "--headless"], "--once prints a screen and --headless has none"),
        (["--python", "/no/such/python"], "--python /no/such/python: there is no such program"),
        (["--headles"], "no such option '--headles'; did you mean '--headless'?"),
        (["--steps"], "option '--steps' requires an argument"),
        (["foo"], "no command 'foo'; there are"),
        (["spec"], "no command 'spec'; did you mean memtop specs?"),
        (["cnn"], "no command 'cnn'; did you mean memtop --scenario cnn?"),
        (["train.py"], "no command 'train.py'; did you mean memtop run train.py?"),
        (["--steps", "5", "specs"], "--steps says how to watch a training, and memtop specs runs none"),
        (["specs", "--jsn"], "no such option '--jsn'"),
        (["completion", "tcsh"], "invalid value for"),
        (["--lang", "xx"], "'xx' is no language there are words in: write en or zh"),
        (["run", "--lang", "", "train.py"], "'' is no language there are words in: write en or zh"),
        (["completion"], "missing argument"),
    ],
)
def test_a_mistake_is_one_line_and_status_2(
    capsys: pytest.CaptureFixture[str], arguments: list[str], says: str
) -> None:
    assert says in refused(capsys, *arguments)


def test_a_mistake_stays_one_line_whatever_is_in_it(capsys: pytest.CaptureFixture[str]) -> None:
    line = refused(capsys, "--scenario", "a\n\x1b[31mb")
    assert "\x1b" not in line


def test_bare_headless_takes_the_defaults(headless_options: Callable[..., Options]) -> None:
    options = headless_options()
    expected = manifests.resolve(manifests.load("mlp-cifar"), {"steps": 0})
    assert options == Options(scenario="mlp-cifar", settings=expected)
    assert options.steps is None


def test_every_option_arrives(headless_options: Callable[..., Options], tmp_path: Path) -> None:
    arguments = (
        "--scenario deep-stack --batch-size 32 --steps 7 --duration 9.5 --interval 0.5 --device cpu --overhead 3"
    )
    more = ["--set", "checkpoint=segments=4", "--set", "optimizer=sgd", "--log", "-", "--log", "b.csv"]
    options = headless_options(*arguments.split(), *more, "--data", str(tmp_path), "--python", sys.executable)
    assert (options.steps, options.duration, options.interval, options.overhead) == (7, 9.5, 0.5, 3.0)
    assert (options.scenario, options.python, options.logs) == ("deep-stack", sys.executable, ("-", "b.csv"))
    wanted = {"batch_size": 32, "steps": 7, "device": "cpu", "data": str(tmp_path), "optimizer": "sgd"}
    assert wanted.items() <= dict(options.settings).items()
    assert options.settings["checkpoint"] == "segments=4"


def test_steps_may_be_said_as_a_setting(headless_options: Callable[..., Options]) -> None:
    assert headless_options("--set", "steps=12").steps == 12


def test_whole_steps_are_logged_where_asked_for(headless_options: Callable[..., Options]) -> None:
    assert headless_options("--log", "a.jsonl").trace_steps is False
    assert headless_options("--log", "a.jsonl", "--log", "b.csv", "--trace-steps").trace_steps is True
    assert headless_options("--log", "-", "--trace-steps").trace_steps is True


def test_without_a_terminal_there_is_no_screen(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Options] = []
    monkeypatch.setattr(watching, "_once", lambda options: calls.append(options) or 3)
    assert cli.main([]) == 3
    assert cli.main(["--once", "--steps", "4"]) == 3
    assert [options.steps for options in calls] == [None, 4]


def test_once_prints_a_screen_and_keeps_the_status(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(headless, "once", lambda options, draw: (5, draw(snapshot())))
    monkeypatch.setenv("COLUMNS", "80")
    assert cli.main(["--once"]) == 5
    out = capsys.readouterr().out
    assert "mlp-mnist" in out
    assert "\x1b" not in out
    assert max(map(len, out.splitlines())) <= 80


def test_version_and_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"memtop, version {__version__}\n"
    assert cli.main(["-h"]) == 0
    text = capsys.readouterr().out
    assert cli.main(["--help"]) == 0
    assert capsys.readouterr().out == text
    for word in ("--scenario", "--log", "specs", "doctor", "Examples:", "completion"):
        assert word in text
    assert max(map(len, text.splitlines())) <= 80
    assert "COMMAND [--help]" in text


@pytest.mark.parametrize("command", ["specs", "scenarios", "doctor", "schema", "completion"])
def test_each_command_has_help(capsys: pytest.CaptureFixture[str], command: str) -> None:
    assert cli.main([command, "--help"]) == 0
    assert f"memtop {command}" in capsys.readouterr().out


def test_json_is_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["specs", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {"v", "host", "gpus", "note"} <= set(found)
    assert found["host"]["ram"] > 0
    assert cli.main(["scenarios", "--json"]) == 0
    names = [each["name"] for each in json.loads(capsys.readouterr().out)]
    assert names == list(manifests.names())
    assert cli.main(["schema"]) == 0
    assert json.loads(capsys.readouterr().out)["$schema"].endswith("2020-12/schema")


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_text_fits_the_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    assert cli.main(["scenarios"]) == 0
    scenarios = capsys.readouterr().out
    assert cli.main(["specs"]) == 0
    for text in (scenarios, capsys.readouterr().out):
        assert max(map(len, text.splitlines())) <= columns
    assert "checkpoint = " in scenarios


# --- completion


def completed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], shell: str, *words: str
) -> list[str]:
    monkeypatch.setenv("_MEMTOP_COMPLETE", f"{shell}_complete")
    monkeypatch.setenv("COMP_WORDS", " ".join(words))
    monkeypatch.setenv("COMP_CWORD", words[-1] if shell == "fish" else str(len(words) - 1))
    assert cli.main([]) == 0
    return capsys.readouterr().out.splitlines()


def test_completion_knows_scenarios_settings_and_values(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def zsh(*words: str) -> list[str]:
        rows = completed(monkeypatch, capsys, "zsh", "memtop", *words)
        return rows[1::3]

    assert zsh("--scenario", "mlp-") == ["mlp-mnist", "mlp-cifar"]
    assert zsh("--scenario", "cnn", "--set", "opt") == ["optimizer="]
    assert zsh("--scenario", "cnn", "--set", "inp") == ["inplace="]
    assert zsh("--set", "inp") == [], "the default scenario has no such setting"
    assert zsh("--set", "optimizer=a") == ["optimizer=adam", "optimizer=adamw"]
    assert zsh("sp") == ["specs"]
    assert "--headless" in zsh("--he")


def test_fish(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    rows = completed(monkeypatch, capsys, "fish", "memtop", "--scenario", "cn")
    assert [row.split("\t")[0] for row in rows][:1] == ["plain,cnn"]


def test_in_a_real_bash(tmp_path: Path) -> None:
    """bash breaks words at = and at :, so only a real one shows what a person gets."""
    (tmp_path / "memtop").write_text(f'#!/bin/sh\nexec {sys.executable} -m memtop "$@"\n')
    (tmp_path / "memtop").chmod(0o755)
    script = """
        eval "$(memtop completion bash)"
        ask() {
            COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMPREPLY=()
            _memtop_completion memtop
            echo "${COMPREPLY[*]}"
        }
        ask memtop --scenario mlp-
        ask memtop --set optimizer = ad
        ask memtop --set optimizer =
        ask memtop --scenario deep-stack --set check
        ask memtop spec
    """
    env = {**os.environ, "PYTHONPATH": str(ROOT), "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, env=env, timeout=60)
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        "mlp-mnist mlp-cifar",
        "adam adamw",
        "sgd momentum adam adamw",
        "checkpoint=",
        "specs",
    ]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_says_how_it_is_installed(capsys: pytest.CaptureFixture[str], shell: str) -> None:
    assert cli.main(["completion", shell]) == 0
    text = capsys.readouterr().out
    assert f"memtop completion {shell}" in "\n".join(text.splitlines()[:2])
    assert text.startswith("#compdef memtop\n") == (shell == "zsh")


# --- as a process


def test_exit_statuses_of_a_process() -> None:
    assert real("--version").stdout == f"memtop, version {__version__}\n"
    wrong = real("--scenario", "nope")
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert wrong.stderr.startswith("memtop: unknown scenario 'nope'; ")
    assert wrong.stderr.count("\n") == 1


def test_a_reader_that_leaves_is_quiet() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-m", "memtop", "schema"], stdout=writer, stderr=subprocess.PIPE, env=env, timeout=60
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, b"")


def test_no_utf8_and_no_stdout_are_no_traceback() -> None:
    latin = real("scenarios", env={"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"})
    assert (latin.returncode, latin.stderr) == (0, "")
    closed = subprocess.run(
        ["sh", "-c", 'exec "$0" -m memtop specs >&-', sys.executable],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        timeout=60,
    )
    assert (closed.returncode, closed.stderr) == (0, "")


def test_help_says_each_command_whole(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["--help"], ["fit", "--help"], ["run", "--help"]):
        assert cli.main(arguments) == 0
        text = capsys.readouterr().out
        commands = text.partition("Commands:")[2].partition("What to train:")[0]
        assert not [line for line in commands.splitlines() if line.endswith("...")], "cut by its column"
        assert "  COMMAND..." not in text.partition("Usage")[2], "an argument is no option"

"""`memtop --headless` as a person runs it, with real trainings on the CPU: ends, pipes, disks, and who is left."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest
from jsonschema import Draft202012Validator

from memtop.sinks.replay import LogReader, read
from memtop.sinks.schema import log_schema

ROOT = Path(__file__).parents[2]
LIMIT = 60
"""Seconds after which a run that should have ended has hung."""


def memtop(*arguments: str, **more: Any) -> subprocess.Popen[bytes]:
    """Start it; mlp-mnist on the CPU unless said otherwise."""
    command = [sys.executable, "-m", "memtop", "--headless", "--scenario", "mlp-mnist", "--device", "cpu", *arguments]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    streams: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, env=env, **(streams | more))


def until(process: subprocess.Popen[bytes], kind: str) -> list[psutil.Process]:
    """Read the log on its stdout up to a record of `kind`; its child processes at that moment."""
    assert process.stdout is not None
    for line in process.stdout:
        if json.loads(line)["kind"] == kind:
            return psutil.Process(process.pid).children(recursive=True)
    raise AssertionError(f"no {kind} record: {process.communicate()[1].decode()}")


def nobody_left(children: list[psutil.Process]) -> bool:
    return not psutil.wait_procs(children, timeout=2)[1]


def test_stdout_is_jsonl_alone_and_every_line_is_a_record() -> None:
    process = memtop("--steps", "20", "--log", "-")
    out, err = process.communicate(timeout=LIMIT)
    assert process.returncode == 0, err.decode()
    validator = Draft202012Validator(log_schema())
    records = [json.loads(line) for line in out.splitlines()]
    for record in records:
        validator.validate(record)
    assert (records[0]["kind"], records[-1]["kind"]) == ("run", "end")
    assert {"model", "memory", "step", "device"} <= {record["kind"] for record in records}
    assert (records[-1]["exit_code"], records[-1]["steps"]) == (0, 20)
    assert b"Traceback" not in err


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_ends_the_training_and_the_log_ends_whole(number: int, status: int) -> None:
    process = memtop("--log", "-")
    children = until(process, "step")
    assert children
    process.send_signal(number)
    out, err = process.communicate(timeout=LIMIT)
    assert process.returncode == status, err.decode()
    assert json.loads(out.splitlines()[-1])["kind"] == "end"
    assert nobody_left(children)
    assert b"Traceback" not in err


def test_a_reader_that_leaves_ends_the_training_quietly() -> None:
    process = memtop("--log", "-")
    children = until(process, "step")
    assert process.stdout is not None
    process.stdout.close()
    assert process.wait(LIMIT) == 141
    assert process.stderr is not None
    assert b"Traceback" not in process.stderr.read()
    assert nobody_left(children)


def test_the_time_is_over(tmp_path: Path) -> None:
    log = tmp_path / "run.jsonl"
    process = memtop("--duration", "6", "--log", str(log), "--log", str(tmp_path / "run.csv"))
    _, err = process.communicate(timeout=LIMIT)
    assert process.returncode == 0, err.decode()
    *_, end = read(log)
    assert (end.kind, end.seconds >= 6) == ("end", True)
    assert (tmp_path / "run.csv").read_text().startswith("t,rank,device,step,moment,tier,parameters,")


def test_a_full_disk_stops_the_log_and_not_the_training(tmp_path: Path) -> None:
    room = 20_000

    def small_disk() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, resource.RLIM_INFINITY))

    log = tmp_path / "run.jsonl"
    process = memtop("--steps", "3000", "--log", str(log), preexec_fn=small_disk)
    _, err = process.communicate(timeout=LIMIT)
    assert process.returncode == 0, err.decode()
    assert b"the file size limit is reached" in err
    assert log.stat().st_size <= room
    with log.open("rb") as file:
        reader = LogReader(file)
        assert next(iter(reader)).kind == "run"
        list(reader)
        assert (reader.malformed, reader.torn) == (0, False)


def test_a_log_that_cannot_be_opened_starts_nothing(tmp_path: Path) -> None:
    process = memtop("--log", str(tmp_path / "absent" / "run.jsonl"))
    out, err = process.communicate(timeout=LIMIT)
    assert (process.returncode, out) == (2, b"")
    assert err.startswith(b"memtop: can't log to ")
    assert err.count(b"\n") == 1


@pytest.fixture(scope="module")
def bare_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python that has no torch."""
    folder = tmp_path_factory.mktemp("bare")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True, timeout=LIMIT)
    return folder / "bin" / "python"


def test_without_torch_nothing_starts(bare_python: Path, tmp_path: Path) -> None:
    log = tmp_path / "run.jsonl"
    process = memtop("--python", str(bare_python), "--steps", "2", "--log", str(log))
    out, err = process.communicate(timeout=LIMIT)
    assert (process.returncode, out, log.exists()) == (2, b"", False)
    assert err.startswith(f"memtop: torch is not installed for {bare_python}; pip install ".encode())
    assert err.count(b"\n") == 1


def test_a_target_killed_from_outside() -> None:
    process = memtop("--log", "-")
    children = until(process, "step")
    training = next(child for child in children if any("train.py" in word for word in child.cmdline()))
    training.kill()
    out, err = process.communicate(timeout=LIMIT)
    assert process.returncode == 137, err.decode()
    end = json.loads(out.splitlines()[-1])
    assert (end["kind"], end["exit_code"], end["signal"]) == ("end", None, 9)
    assert nobody_left(children)

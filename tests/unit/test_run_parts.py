"""What `memtop run` is made of, without a process of its own where that can be."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from typing import Any

import pytest

from memtop.launcher import keeper
from memtop.launcher.command import resolved, shut_out, title
from memtop.launcher.target import LaunchError, environment
from memtop.protocol import records as wire
from memtop.session.missing import PATIENCE, why
from memtop.session.output import Output
from memtop.session.voices import Voices

BASE: dict[str, Any] = {"t_ns": 1}
STEP: dict[str, Any] = {"step": 1, "steps": 1, "seconds": 0.5, "phases": {}, "batch_size": None, "loss": None}
COSTS: dict[str, Any] = {"spent_ns": 0, "announced_ns": 0, "looks": 0, "trained_ns": 1}
BYE: dict[str, Any] = {"steps": 1, "seconds": 1.0, "spent_ns": 0, "announced_ns": 0, "looks": 0, "dropped": 0}


def hello(pid: int, rank: int = 0) -> wire.Hello:
    return wire.Hello(**BASE, pid=pid, rank=rank, python="3", torch="2", cuda=None, allocator=None, devices=[])


def step(pid: int, rank: int = 0) -> wire.Step:
    return wire.Step(**BASE, **STEP, **COSTS, pid=pid, rank=rank)


def test_the_first_process_with_a_step_speaks() -> None:
    voices = Voices(1, owned=False)
    assert voices.heard(hello(1))
    assert voices.heard(step(7))
    assert [voices.heard(one) for one in (step(8), hello(9), step(7))] == [False, False, True]
    assert voices.speakers == {0: 7}


def test_after_it_has_ended_another_may_speak() -> None:
    voices = Voices(1, owned=False)
    voices.heard(step(7))
    voices.heard(wire.Bye(**BASE, **BYE, pid=7))
    assert voices.left(7) is None
    assert voices.heard(step(8))
    assert voices.left(8) == 0, "no last word: its connection broke"
    assert voices.heard(step(9)), "a launcher has started another in its place"


def test_each_rank_has_a_voice() -> None:
    voices = Voices(1, owned=False)
    told = (hello(3, 1), step(3, 1), step(2), hello(5, 1), step(5, 1), step(4, 2), step(3, 1))
    assert [voices.heard(one) for one in told] == [True, True, True, False, False, True, True]
    assert voices.speakers == {0: 2, 1: 3, 2: 4}
    assert (voices.left(5), voices.left(3), voices.speakers) == (None, 1, {0: 2, 2: 4})


def test_a_scenario_speaks_by_its_root_alone() -> None:
    voices = Voices(1, owned=True)
    assert [voices.heard(step(pid)) for pid in (2, 1)] == [False, True]
    assert (voices.heard(step(2, 1)), voices.left(2), voices.left(1)) == (False, None, 0)


@pytest.mark.parametrize(
    ("command", "short", "out"),
    [
        (("/usr/bin/python3", "train.py", "--lr", "1"), "train.py --lr 1", None),
        (("python", "-u", "-W", "error", "a/train.py", "-I"), "train.py -I", None),
        (("python", "-uI", "train.py"), "train.py", "-I"),
        (("python3.11", "-E", "-m", "pkg.train"), "-m pkg.train", "-E"),
        (("python", "-X", "ISE", "-c", "pass"), "-c pass", None),
        (("bash", "job.sh", "-S"), "bash job.sh -S", None),
        (("/opt/torchrun", "--nproc-per-node", "2", "t.py"), "torchrun --nproc-per-node 2 t.py", None),
        (("python",), "python", None),
    ],
)
def test_a_command_in_short_and_what_shuts_the_probe_out(command: tuple[str, ...], short: str, out: str | None) -> None:
    assert (title(command), shut_out(command)) == (short, out)


def test_only_scripts_and_modules_need_a_python() -> None:
    assert resolved(("-m", "this", "--x"), "/opt/python") == ("/opt/python", "-m", "this", "--x")
    assert resolved((__file__, "-v"), "/opt/python") == ("/opt/python", __file__, "-v")
    assert resolved(("sh", "x.py"), None) == ("sh", "x.py")
    with pytest.raises(LaunchError):
        resolved(("sh", "x.py"), "/opt/python")


def test_a_command_is_not_owned_even_inside_a_scenario() -> None:
    env = environment({"MEMTOP_OWNED": "1", "PYTHONPATH": ""}, "/s", 1.0, owned=False)
    assert env.keys() == {"PYTHONPATH", "MEMTOP_SOCKET", "MEMTOP_OVERHEAD"}
    assert os.pathsep not in env["PYTHONPATH"]


def test_nothing_is_called_missing_before_it_is_known() -> None:
    late = PATIENCE + 1
    facts: dict[str, Any] = {"torch": None, "stepped": False, "over": False, "t": 1.0}
    assert why(("python", "a.py"), **facts) is None
    assert "-S keeps the probe out" in str(why(("python", "-S", "a.py"), **facts))
    assert "this Python" in str(why(("python", "a.py"), **(facts | {"t": late})))
    assert "no Python of this command" in str(why(("make",), **(facts | {"over": True})))
    assert why(("make",), **(facts | {"torch": "2.13", "t": late})) is None
    assert "no training step" in str(why(("make",), **(facts | {"torch": "2.13", "over": True})))
    assert why(("make",), **(facts | {"stepped": True, "over": True})) is None


def test_a_progress_bar_is_its_last_state() -> None:
    output = Output()
    for count in range(3000):
        output.feed(b"\r%4d of 3000" % count)
    assert (output.count, output.tail(3)) == (0, ("2999 of 3000",))
    output.feed(b"\r")
    assert output.tail(1) == ("2999 of 3000",), "it stands until something is written over it"
    output.feed(b"\r\ndone\r\n")
    assert (output.count, output.tail(3)) == (2, ("2999 of 3000", "done"))
    output.feed(b"x" * 20_000 + b"\rlast\x1b[K\n")
    assert output.tail(1) == ("last",)
    assert all(len(line) <= 2000 for line in output.since(0)[1])


def test_the_keeper_reads_on_when_nobody_listens() -> None:
    read, write = os.pipe()
    master, theirs = os.pipe()
    thread = threading.Thread(target=keeper.keep, args=(master, write), daemon=True)
    thread.start()
    os.write(theirs, b"first")
    assert os.read(read, 5) == b"first"
    os.close(read)
    for _ in range(64):
        os.write(theirs, b"x" * 65536)
    os.close(theirs)
    thread.join(20)
    assert not thread.is_alive()
    os.close(master)
    os.close(write)


def test_the_keeper_never_makes_the_command_wait_for_a_slow_monitor() -> None:
    read, write = os.pipe()
    master, theirs = os.pipe()
    line = [sys.executable, "-I", "-S", str(keeper.__file__), str(master), str(write)]
    process = subprocess.Popen(line, pass_fds=(master, write))
    os.close(write)
    os.close(master)
    for _ in range(160):
        os.write(theirs, b"x" * 65536)
    os.write(theirs, b"the end")
    os.close(theirs)
    with os.fdopen(read, "rb") as pipe:
        told = pipe.read()
    assert process.wait(20) == 0
    assert told.endswith(b"x" * 65536 + b"the end")
    assert len(told) < 160 * 65536

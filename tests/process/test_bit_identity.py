"""Do no harm: with the probe a training computes, prints and exits bit for bit as it does without."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import msgspec
import pytest

from memtop.launcher.target import Address, environment
from memtop.protocol import records
from memtop.protocol.framing import LineSplitter

CHILD = Path(__file__).with_name("identity_child.py")
LIMIT = 120
EXIT_STATUS = 7
"""The child's own: an exit status that no accident gives."""

COMMON = ["--device", "cpu", "--steps"]
CASES: list[tuple[str, list[str]]] = [
    ("mlp-mnist", [*COMMON, "60"]),
    ("mlp-cifar", [*COMMON, "40", "--optimizer", "adamw"]),
    ("cnn", [*COMMON, "6", "--batch-size", "8", "--precision", "bf16"]),
    ("cnn", [*COMMON, "6", "--batch-size", "8", "--inplace", "on", "--optimizer", "momentum"]),
    ("deep-stack", [*COMMON, "4", "--depth", "100"]),
    ("deep-stack", [*COMMON, "4", "--depth", "100", "--checkpoint", "halves", "--optimizer", "sgd"]),
    ("deep-stack", [*COMMON, "4", "--depth", "100", "--checkpoint", "sqrt"]),
    ("tensor-tracker", [*COMMON, "3", "--batch-size", "2"]),
]
PLANTED = {
    "at backward": "tracker:Tracker.forward_ended",
    "at later moments": "tracker:Tracker.later",
    "in the loader": "inputs:Inputs.took",
    "in the samples": "sample:Samples.loaded",
    "in what samples tell": "sample:Samples.record",
    "in the description": "describe:model",
    "in the governor": "governor:Governor.may_watch",
    "in the clock": "clock:Clock.quiet_steps_ended",
}


class Monitor:
    """The other end of the socket: hears every process until all have gone."""

    def __init__(self) -> None:
        self.address = Address()
        self.address.listener.setblocking(True)
        self.heard: list[records.Message] = []
        self.malformed: list[bytes] = []
        self._readers: list[threading.Thread] = []
        self._acceptor = threading.Thread(target=self._accept, daemon=True)
        self._acceptor.start()

    def _accept(self) -> None:
        while True:
            try:
                link, _ = self.address.listener.accept()
            except OSError:
                return
            self._readers.append(threading.Thread(target=self._read, args=(link,), daemon=True))
            self._readers[-1].start()

    def _read(self, link: socket.socket) -> None:
        lines = LineSplitter()
        while chunk := link.recv(1 << 16):
            for line in lines.feed(chunk):
                try:
                    self.heard.append(records.decode(line))
                except msgspec.MsgspecError:
                    self.malformed.append(line)
        link.close()

    def close(self) -> None:
        """All that was sent has been read."""
        self.address.listener.shutdown(socket.SHUT_RDWR)
        self._acceptor.join(10)
        for reader in self._readers:
            reader.join(10)
            assert not reader.is_alive()
        self.address.close()


def child(result: Path, cases: list[tuple[str, list[str]]], env: dict[str, str]) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, str(CHILD), str(result), json.dumps(cases)],
        env={**env, "PYTHONHASHSEED": "0", "OMP_NUM_THREADS": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
        cwd=result.parent,
        start_new_session=True,
    )
    assert result.exists(), done.stderr
    said = re.sub(r"^step .*\n", "", done.stdout, flags=re.MULTILINE)  # once a second: how many is a matter of time
    return {**json.loads(result.read_text()), "status": done.returncode, "stdout": said, "stderr": done.stderr}


def base(users: Path | None = None) -> dict[str, str]:
    """The person's environment, with a PYTHONPATH of theirs or with none."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("MEMTOP", "PYTHONPATH"))}
    return env if users is None else {**env, "PYTHONPATH": str(users)}


def watched(
    result: Path, cases: list[tuple[str, list[str]]], base: dict[str, str], overhead: float = 1.0
) -> tuple[dict[str, Any], list[records.Message]]:
    """The same child with the probe in it: what it did, and what the monitor heard."""
    monitor = Monitor()
    try:
        facts = child(result, cases, environment(base, monitor.address.path, overhead))
    finally:
        monitor.close()
    assert not monitor.malformed
    return facts, monitor.heard


@pytest.fixture(scope="module", autouse=True)
def needs_torch() -> None:
    pytest.importorskip("torch", reason="scenarios need torch")


@pytest.fixture(scope="module")
def users(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of the person's on PYTHONPATH, with a sitecustomize."""
    folder = tmp_path_factory.mktemp("users")
    (folder / "sitecustomize.py").write_text("import sys\nsys.users_sitecustomize = __file__\n")
    return folder


@pytest.fixture(scope="module")
def alone(users: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return child(tmp_path_factory.mktemp("alone") / "result", CASES, base(users))


def test_bits_output_and_exit_status_are_the_same(alone: dict[str, Any], users: Path, tmp_path: Path) -> None:
    # A budget of 100 %: as many steps are watched as ever are.
    with_probe, heard = watched(tmp_path / "result", CASES, base(users), overhead=100.0)
    assert alone["status"] == EXIT_STATUS
    assert [case["status"] for case in alone["cases"]] == [0] * len(CASES)
    assert all(case["losses"] for case in alone["cases"])
    assert with_probe == alone
    assert {"hello", "model", "memory", "step", "bye"} <= {type(one).__name__.lower() for one in heard}
    # Beside the values that scripts read (their losses), the marks of tensor-tracker are all that is told: this Python
    # need not have memtop, the probe lends it.
    names = [one.name for one in heard if isinstance(one, records.Event)]
    assert [name for name in names if name != "syncs"] == ["track"] * 5
    steps = sum(len(case["losses"]) for case in alone["cases"])
    (bye,) = [one for one in heard if isinstance(one, records.Bye)]
    assert bye.steps == steps


def test_the_users_own_sitecustomize_runs_and_our_folder_is_gone(alone: dict[str, Any], users: Path) -> None:
    assert alone["user"] == str(users / "sitecustomize.py")
    assert str(users) in alone["path"]
    # `with_probe == alone` above compares `user` and `path` too: not a folder more, and in the same order.


def test_pythonpath_has_no_trailing_colon(tmp_path: Path) -> None:
    for given in (base(), {**base(), "PYTHONPATH": ""}):
        assert not environment(given, "/nowhere", 1.0)["PYTHONPATH"].endswith(os.pathsep)
    facts, heard = watched(tmp_path / "result", CASES[:1], base())
    assert facts["user"] is None
    assert not [entry for entry in facts["path"] if entry in ("", str(tmp_path)) or "memtop/probe" in entry]
    assert heard


@pytest.mark.parametrize("where", PLANTED.values(), ids=PLANTED)
def test_a_failure_of_ours_changes_nothing_and_is_told(
    alone: dict[str, Any], users: Path, tmp_path: Path, where: str
) -> None:
    env = {**base(users), "PLANT": where}
    facts, heard = watched(tmp_path / "result", CASES[:1], env)
    assert facts["cases"] == alone["cases"][:1]
    assert facts["status"] == EXIT_STATUS
    assert facts["stderr"] == alone["stderr"]
    first, _, _ = alone["stdout"].partition("== mlp-cifar")
    assert facts["stdout"] == first
    (event,) = [one for one in heard if isinstance(one, records.Event)]
    assert (event.name, "planted" in event.message) == ("probe", True)


def test_nobody_listens_to_a_command_of_the_persons(alone: dict[str, Any], users: Path, tmp_path: Path) -> None:
    env = environment(base(users), str(tmp_path / "no.sock"), 1.0)
    del env["MEMTOP_OWNED"]  # a scenario would end with its monitor
    facts = child(tmp_path / "result", CASES[:1], env)
    assert facts["cases"] == alone["cases"][:1]
    assert (facts["status"], facts["stderr"]) == (EXIT_STATUS, "")

"""Exceptions as they are raised: on Python 3.12 and newer, without a debugger's or a profiler's tool id."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="the probe lives in a process that has torch")

from memtop.probe import raises  # noqa: E402
from memtop.probe.raises import Raises  # noqa: E402

monitored = pytest.mark.skipif(sys.version_info < (3, 12), reason="sys.monitoring came with Python 3.12")


class Odd(RuntimeError):
    """A person's own, whose words are not asked for."""

    def __str__(self) -> str:
        raise AssertionError


def caught(error: BaseException) -> None:
    try:
        raise error
    except BaseException:
        pass


@pytest.fixture
def seen() -> Iterator[tuple[Raises, list[BaseException]]]:
    told: list[BaseException] = []
    watcher = Raises(told.append)
    watcher.watch()
    yield watcher, told
    watcher.remove()


@monitored
def test_what_is_raised_and_caught_is_told_and_nothing_after_the_end(seen: Any) -> None:
    watcher, told = seen
    first, memory = RuntimeError("a"), MemoryError()
    caught(first)
    caught(memory)
    caught(ValueError())
    caught(Odd())
    assert {id(one) for one in told} == {id(first), id(memory)}
    watcher.remove()
    told.clear()
    caught(RuntimeError("b"))
    assert told == []
    assert all(sys.monitoring.get_tool(tool) is None for tool in (3, 4))  # type: ignore[attr-defined]


@monitored
def test_ids_of_others_are_left_alone() -> None:
    monitoring = sys.monitoring  # type: ignore[attr-defined]
    for tool in (3, 4):
        monitoring.use_tool_id(tool, "theirs")
    try:
        watcher = Raises(lambda error: None)
        watcher.watch()
        assert not watcher.on
        watcher.remove()
        assert [monitoring.get_tool(tool) for tool in (3, 4)] == ["theirs", "theirs"]
    finally:
        for tool in (3, 4):
            monitoring.free_tool_id(tool)


@monitored
def test_a_program_that_raises_all_the_time_is_left_alone(seen: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    watcher, _ = seen
    now = [watcher._since]
    monkeypatch.setattr(raises.time, "monotonic_ns", lambda: now[0])
    monkeypatch.setattr(raises, "_CREDIT", 2 * raises._MANY)
    for _ in range(2 * raises._MANY):
        caught(KeyError())
    assert watcher.on, "an import raises that many"
    now[0] += 2_000_000_000
    for _ in range(2 * raises._PACE):
        caught(KeyError())
    assert watcher.on, "a thousand a second"
    for _ in range(2 * raises._MANY):
        caught(KeyError())
    assert not watcher.on


def test_where_python_is_older_nothing_is_watched() -> None:
    watcher = Raises(lambda error: None)
    if sys.version_info < (3, 12):
        watcher.watch()
        assert not watcher.on
    watcher.remove()

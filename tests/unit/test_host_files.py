"""Kernel files as values: lists of CPUs, kilobytes, and what is missing."""

from __future__ import annotations

from pathlib import Path

import pytest

from memtop.collectors.files import Files, cpu_list, integer, kilobytes


@pytest.mark.parametrize(
    ("text", "cpus"),
    [("0-3,8", {0, 1, 2, 3, 8}), ("5", {5}), ("", set()), (None, set()), ("0-1\n", {0, 1}), ("x-2,-", set())],
)
def test_cpu_list(text: str | None, cpus: set[int]) -> None:
    assert cpu_list(text) == cpus


@pytest.mark.parametrize(
    ("key", "value"), [("VmRSS", 2048), ("VmPin", 0), ("RSS", None), ("VmSwap", None), ("Name", None)]
)
def test_kilobytes_finds_whole_keys_only(key: str, value: int | None) -> None:
    assert kilobytes("Name:\tx VmSwap: 3\nVmRSS:\t    2 kB\nVmPin:\t0 kB\n", key) == value


def test_kilobytes_of_the_first_and_of_an_unfinished_last_line() -> None:
    assert kilobytes("MemTotal: 7 kB\nMemFree: 9 kB", "MemTotal") == 7168
    assert kilobytes("MemTotal: 7 kB\nMemFree: 9 kB", "MemFree") == 9216


def test_integer() -> None:
    assert [integer(text) for text in ("12", "-1", "max", "", None)] == [12, -1, None, None, None]


def test_a_missing_file_is_none_and_a_missing_folder_empty(tmp_path: Path) -> None:
    files = Files(tmp_path)
    assert files.text("proc/stat") is None
    assert files.word("proc/stat") is None
    assert files.number("proc/stat") is None
    assert files.names("proc") == []
    assert not files.exists("proc")


def test_reads_on_until_the_end_or_the_limit(tmp_path: Path) -> None:
    (tmp_path / "long").write_text("x" * 200_000)
    files = Files(tmp_path)
    assert len(files.text("long") or "") == 200_000
    assert len(files.text("long", 1000) or "") == 1000


def test_numbered_entries_in_order(tmp_path: Path) -> None:
    for name in ("cpu10", "cpu2", "cpufreq", "cpu", "node3"):
        (tmp_path / name).mkdir()
    assert Files(tmp_path).numbered("", "cpu") == [2, 10]

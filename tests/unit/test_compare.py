"""Runs side by side."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from memtop import cli
from memtop.model import compare, compare_text
from memtop.model.compare import Side
from memtop.sinks.loading import load
from tests.unit import logs
from tests.unit.sample_records import CATEGORIES


@pytest.fixture
def pair(tmp_path: Path) -> tuple[str, str]:
    """The real log, and the same with twice the activations."""
    return str(logs.CNN), logs.write(tmp_path / "b.jsonl", logs.lines(), logs.twice_the_activations)


def sides(*paths: str) -> list[Side]:
    return [Side(path=path, book=load(path).books[0]) for path in paths]


def test_the_figures_are_the_logs_own(pair: tuple[str, str]) -> None:
    told = compare.to_json(sides(*pair))
    before = logs.peak()
    first, second = told["runs"]
    assert {name: first["bytes"][name] for name in CATEGORIES} == {name: before[name] for name in CATEGORIES}
    assert first["bytes"]["tensors"] == sum(before[name] for name in CATEGORIES)
    (changes,) = told["changes"]
    assert changes["activations"] == {"bytes": before["activations"], "percent": 100.0}
    assert changes["parameters"] == {"bytes": 0, "percent": 0.0}
    assert changes["tensors"]["bytes"] == before["activations"]
    assert sum(changes[name]["bytes"] for name in CATEGORIES) == changes["tensors"]["bytes"]
    assert told["settings"] == {"batch_size": [4, 8]}
    assert second["samples_per_second"] == pytest.approx(2 * first["samples_per_second"])


def test_what_is_not_known_has_no_difference() -> None:
    assert compare.change(None, 5) == compare.Change(difference=None, percent=None)
    assert compare.change(5, None).difference is None
    assert compare.change(0, 5) == compare.Change(difference=5, percent=None)


@pytest.mark.parametrize("width", [60, 80, 120, 200])
@pytest.mark.parametrize("count", [2, 3, 5])
def test_no_line_is_wider_than_the_terminal(pair: tuple[str, str], width: int, count: int) -> None:
    text = compare_text.lines(sides(*(pair * 3)[:count]), width)
    assert max(map(len, text)) <= width
    for letter in "ABCDE"[:count]:
        assert any(line.startswith(f"{letter} |") for line in text)


def test_a_bar_has_a_letter_for_each_part_and_the_longest_fills_it(pair: tuple[str, str]) -> None:
    first, second = sides(*pair)
    whole = second.bytes_of(compare.TOTAL)
    assert whole is not None
    long, short = compare_text.bar(second, 400, whole), compare_text.bar(first, 400, whole)
    assert len(long) == 400
    assert len(short) == round(400 * (first.bytes_of(compare.TOTAL) or 0) / whole)
    assert long.count("A") == pytest.approx(2 * short.count("A"), abs=2)
    assert short.count("P") == long.count("P")


def test_it_prints_sizes_and_differences(pair: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["compare", *pair]) == 0
    text = capsys.readouterr().out
    row = next(line for line in text.splitlines() if line.startswith("A activations"))
    assert row.split()[-2:] == ["+100.0", "%"]
    assert "batch_size  4  8" in text
    parameters = next(line for line in text.splitlines() if line.startswith("P parameters"))
    assert parameters.endswith("=")


@pytest.mark.parametrize(("above", "status"), [(-0.01, 1), (0.01, 0)])
def test_growth_is_an_exit_status(
    pair: tuple[str, str], above: float, status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    peak = logs.peak()
    grown = 100 * peak["activations"] / sum(peak[name] for name in CATEGORIES)
    assert cli.main(["compare", "--fail-above", str(grown + above), *pair]) == status
    assert ("more than" in capsys.readouterr().err) is (status == 1)
    assert cli.main(["compare", "--fail-above", "0", pair[1], pair[0]]) == 0


def test_json_is_all_that_is_printed(pair: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["compare", "--json", *pair]) == 0
    assert len(json.loads(capsys.readouterr().out)["runs"]) == 2


def test_a_log_that_was_cut_off_is_compared_and_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["compare", str(logs.CNN), logs.cut_off(tmp_path / "cut.jsonl")]) == 0
    text = capsys.readouterr().out
    assert "cut off: its last line is not whole" in text
    assert "settings: the same" in text


def test_the_runs_of_one_session_are_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = logs.write(tmp_path / "two.jsonl", logs.lines() * 2)
    assert cli.main(["compare", path]) == 0
    assert "(run 2)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "there is no log, and comparing takes two"),
        (["{cnn}"], "holds one run, and comparing takes two"),
        (["{cnn}", "nope.jsonl"], "nope.jsonl can't be read: no such file or directory"),
        (["{cnn}", "{cnn}", "--fail-above", "-1"], "per cent must be at least 0"),
        (["--fail-above", "5", "{cnn}", "{empty}"], "--fail-above needs memory figures above 0 of every run"),
    ],
)
def test_bad_input_is_one_line(
    arguments: list[str], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    empty = logs.write(tmp_path / "empty.jsonl", logs.lines()[:1])
    assert cli.main(["compare", *(word.format(cnn=logs.CNN, empty=empty) for word in arguments)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert says in err


@pytest.mark.parametrize(
    ("value", "words"), [(None, ""), (-99.5, "-99.5 %"), (1498, "+1,498 %"), (1_876_172_750, "×18.8M")]
)
def test_a_change_finds_room_in_its_column(value: float | None, words: str) -> None:
    assert compare_text.percent(value) == words
    assert len(words) < 9

"""A log as a page and as pictures: what stands in it, and what must not."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import msgspec
import pytest

from memtop import cli
from memtop.model.categories import CUDA, TENSORS
from memtop.model.colours import DARK, LIGHT
from memtop.model.logbook import Book
from memtop.model.record_base import RecordBase
from memtop.report import charts, page
from memtop.report.library import svg
from memtop.sinks.loading import load
from tests.unit import logs
from tests.unit import sample_records as sample
from tests.unit.sample_records import CATEGORIES

BAD = "</script><script>alert(1)</script><img src=http://evil.example/x onerror=alert(2)>"
VOID = {"meta", "img", "br", "link"}


class Forecasted(RecordBase, frozen=True, kw_only=True):
    """A forecast as the log has it."""

    kind: str = "forecast"
    device: str = "cpu"
    fixed_bytes: int = 1000
    bytes_per_sample: int = 50
    phases: list[dict[str, Any]] = msgspec.field(
        default_factory=lambda: [
            {"phase": "backward", "fixed_bytes": 1000, "bytes_per_sample": 50},
            {"phase": "optimizer", "fixed_bytes": 9000, "bytes_per_sample": 10},
        ]
    )
    max_batch_size: int = 1000
    limit_bytes: int = 51_000
    error_bytes: int = 500
    basis: str = "steps at batch 4 and 8"


class Reader(HTMLParser):
    """Elements as they open and close, and the text between them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.stack: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.stack.append(tag)
        if tag == "script":
            self.scripts.append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.stack.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.stack and self.stack[-1] == "script":
            self.scripts[-1] += data
        elif self.stack and self.stack[-1] != "style":
            self.text += data


@pytest.fixture(autouse=True, scope="module")
def no_bundling() -> Any:
    """The library's script takes three seconds to put together and is the same each time: a stand-in for all but one
    test."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(page, "script", lambda: "window.vegaEmbed = () => Promise.reject();")
        yield


def made(path: str | Path = logs.CNN, notes: tuple[str, ...] = ()) -> str:
    return page.page(load(str(path)).books[-1], Path(path).name, notes)


def hostile(record: logs.Line) -> None:
    """Every free string of a log as bad as it can be."""
    if record["kind"] == "modules":
        for row in record["rows"]:
            row["type"] = BAD
            row["path"] = None if row["path"] is None else row["path"] + BAD
    elif record["kind"] == "lines":
        for row in record["rows"]:
            row |= {"file": BAD, "text": BAD, "function": BAD, "phase": BAD}
    elif record["kind"] == "trace":
        record["columns"][-1] = BAD
        for index, point in enumerate(record["points"]):
            point[-1] = index
        for mark in record["marks"]:
            mark["name"] = BAD
    elif record["kind"] == "event":
        record |= {"name": "oom", "message": BAD}
    elif record["kind"] == "model":
        record |= {"name": BAD, "optimizers": [BAD]}
    elif record["kind"] == "memory":
        record |= {"notes": [BAD]}
        record["bytes"] |= {BAD: 5}
    elif record["kind"] == "run":
        record |= {"command": [BAD], "scenario": BAD, "settings": {BAD: BAD}, "started_at": BAD}
        record["host"] |= {"hostname": BAD, "cpu_model": BAD}


def test_it_is_well_formed_and_says_what_the_log_says() -> None:
    read = Reader(made())
    assert read.stack == []
    peak = logs.peak()
    whole = sum(peak[name] for name in CATEGORIES)
    for words in ("cnn", f"{whole:,}", f"{peak['activations']:,}", "MaxPool2d", "loss.backward()", "icelake or newer"):
        assert words in read.text
    names = [attributes.get("id") for tag, attributes in read.tags if tag == "figure"]
    assert names == ["chart-step", "chart-time", "chart-peak", "chart-device"]


def test_it_asks_nothing_of_anybody() -> None:
    text = made()
    read = Reader(text)
    for tag, attributes in read.tags:
        assert not {"src", "href", "xlink:href", "action", "data", "srcset"} & set(attributes), tag
    links = set(re.findall(r"(?:https?:)?//[\w.-]+\.\w+[^\s\"'<]*", text))
    assert links <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}
    assert "url(" not in text
    assert "@import" not in text
    (policy,) = [a["content"] for tag, a in read.tags if tag == "meta" and "http-equiv" in a]
    digest = base64.b64encode(hashlib.sha256(read.scripts[-1].encode()).digest()).decode()
    assert policy == (f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; base-uri 'none'")


def test_hostile_strings_are_text(tmp_path: Path) -> None:
    text = made(logs.write(tmp_path / "bad.jsonl", logs.lines(), hostile), notes=(BAD,))
    read = Reader(text)
    assert read.stack == []
    assert len(read.scripts) == 2
    assert not [tag for tag, _ in read.tags if tag == "img"]
    assert not [a for _, attributes in read.tags for a in attributes if a.startswith("on")]
    assert BAD in read.text
    specs = json.loads(read.scripts[0])
    assert "alert" not in json.dumps([_expressions(spec) for spec in specs.values()])


def _expressions(spec: Any) -> list[Any]:
    """Whatever the library would evaluate."""
    if isinstance(spec, list):
        return [found for one in spec for found in _expressions(one)]
    if not isinstance(spec, dict):
        return []
    keys = ("expr", "labelExpr", "calculate", "filter", "test")
    return [spec[key] for key in keys if key in spec] + [f for one in spec.values() for f in _expressions(one)]


def test_charts_hold_the_logs_own_bytes() -> None:
    by_name = {chart.name: chart for chart in charts.charts(load(str(logs.CNN)).books[0])}
    (trace,) = [line for line in logs.lines() if line["kind"] == "trace"]
    step = by_name["step"].rows
    assert [[row[name] for name in trace["columns"]] for row in step] == trace["points"]
    assert [row["sum"] for row in step] == [sum(point) for point in trace["points"]]
    memory = {(line["step"], line["moment"]): line["bytes"] for line in logs.lines() if line["kind"] == "memory"}
    for row in by_name["time"].rows:
        told = memory[row["step"], "forward_end"]
        assert {name: row.get(name) for name in TENSORS} == {name: told[name] for name in TENSORS}
        assert row["sum"] == sum(told[name] or 0 for name in TENSORS)
    peak = logs.peak()
    assert sum(row["bytes"] for row in by_name["peak"].rows) == sum(peak[name] for name in CATEGORIES)
    (whole,) = {line["device_total"] for line in logs.lines() if line["kind"] == "memory"}
    assert sum(row["bytes"] for row in by_name["device"].rows) == whole


def test_areas_stand_on_one_another_without_a_gap() -> None:
    chart = charts.charts(load(str(logs.CNN)).books[0])[0]
    parts = chart.build("light", False)["layer"][0]["data"]["values"]
    shown = list(dict.fromkeys(part["category"] for part in parts))
    assert len(parts) < len(chart.rows) * len(shown)  # of a stair only its steps
    at: dict[float, list[Any]] = {}
    for part in parts:
        at.setdefault(part["x"], []).append(part)
    held: dict[str, Any] = {}
    last = {row["x"]: row for row in chart.rows}  # several points may be of one time: the last of them holds
    for x, row in last.items():
        held |= {part["category"]: part for part in at.get(x, ())}
        own = [held[name] for name in shown]
        assert [part["low"] for part in own[1:]] == [part["high"] for part in own[:-1]]
        assert [part["high"] - part["low"] for part in own] == [row[name] for name in shown]
        assert own[-1]["high"] == row["sum"]


def test_what_is_not_known_is_a_dash_under_the_pointer_not_zero() -> None:
    time = charts.charts(load(str(logs.CNN)).books[0])[1]
    told = time.build("page", True)["layer"][-1]["data"]["values"]
    shown = [row for row in time.rows if "temporaries" not in row]
    assert shown
    assert all(row.get("temporaries", "—") == "—" for row in told)


def test_colours_are_the_terminals_in_both_themes() -> None:
    text = made()
    light, dark = text.split("prefers-color-scheme: dark", 1)
    assert f"--c-activations:{LIGHT['activations']};" in light
    assert f"--c-activations:{DARK['activations']};" in dark.split("color-scheme: light dark")[0]
    assert "@media screen and (" in light  # paper is white whatever the screen is
    chart = charts.charts(load(str(logs.CNN)).books[0])[0]
    assert LIGHT["activations"] in svg(chart.build("light", False))
    assert DARK["activations"] in svg(chart.build("dark", False))
    assert "var(--c-activations)" in svg(chart.build("page", False))


def test_without_the_course_of_a_step_it_says_what_brings_it(tmp_path: Path) -> None:
    rest = [line for line in logs.lines() if line["kind"] not in ("trace", "modules", "lines")]
    text = Reader(made(logs.write(tmp_path / "x.jsonl", rest))).text
    assert "memtop --trace-steps --log run.jsonl" in text
    assert "no deep look" in text


def test_a_run_without_any_figure_is_a_page_all_the_same(tmp_path: Path) -> None:
    read = Reader(made(logs.write(tmp_path / "x.jsonl", logs.lines()[:1])))
    assert "No memory record is in this log." in read.text
    assert not [tag for tag, _ in read.tags if tag == "figure"]


def test_the_command_names_what_is_not_whole(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "run.html"
    assert cli.main(["report", logs.cut_off(tmp_path / "cut.jsonl"), "-o", str(target)]) == 0
    assert capsys.readouterr().out.strip() == str(target)
    assert "its last line is not whole" in target.read_text()
    assert "its end is not in the log" in target.read_text()


def test_pictures_are_one_for_each_chart(tmp_path: Path) -> None:
    assert cli.main(["report", str(logs.CNN), "-o", str(tmp_path / "run.svg")]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        f"run-{name}.svg" for name in ("device", "peak", "step", "time")
    ]
    assert "var(" not in (tmp_path / "run-step.svg").read_text()
    assert (
        cli.main(["report", str(logs.CNN), "-o", str(tmp_path / "one.png"), "--chart", "peak", "--theme", "dark"]) == 0
    )
    assert (tmp_path / "one.png").read_bytes().startswith(b"\x89PNG")


def test_the_librarys_own_script_goes_into_the_page() -> None:
    from memtop.report.library import script

    text = script()
    assert "vegaEmbed" in text
    assert 300_000 < len(text) < 3_000_000
    assert "</script" not in text.lower()


def test_without_the_library_it_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "vl_convert", None)
    assert cli.main(["report", str(logs.CNN), "-o", str(tmp_path / "run.html")]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert "pip install 'torch-memtop[report]'" in err
    assert not (tmp_path / "run.html").exists()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["{cnn}"], "missing option '-o'"),
        (["{cnn}", "-o", "run.pdf"], "run.pdf is no kind of report; name it .html, .svg or .png"),
        (["{cnn}", "-o", "run.html", "--chart", "step"], "--chart is for pictures"),
        (["{cnn}", "-o", "{tmp}/x.svg", "--chart", "nope"], "has no chart nope; there are: step, time, peak, device"),
        (["{cnn}", "-o", "{tmp}/no/folder/x.html"], "can't be written: No such file or directory"),
        (["{cnn}", "-o", "{tmp}/x.html", "--run", "2"], "holds 1 runs; --run takes 1 to 1"),
        (["nope.jsonl", "-o", "{tmp}/x.html"], "nope.jsonl can't be read"),
    ],
)
def test_bad_input_is_one_line(
    arguments: list[str], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["report", *(word.format(cnn=logs.CNN, tmp=tmp_path) for word in arguments)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert says in err


def test_a_forecast_is_a_chart_and_marked_as_an_estimate() -> None:
    record = Forecasted(t=3.0)
    book = load(str(logs.CNN)).books[0]
    book.forecasts[0, "cpu"] = record  # type: ignore[assignment]
    read = Reader(page.page(book, "run.jsonl"))
    assert "~1,000" in read.text
    assert "fixed, B (estimated)" in read.text
    assert "From steps at batch 4 and 8." in read.text
    chart = charts.charts(book)[-1]
    assert chart.name == "forecast"
    assert all(row["sum"] == max(1000 + 50 * row["x"], 9000 + 10 * row["x"]) for row in chart.rows)
    assert chart.rows[0]["x"] == 1
    assert chart.rows[-1]["x"] == 1200


def test_every_kind_of_device_has_its_picture() -> None:
    sizes: dict[str, int | None] = {name: 2**20 * place for place, name in enumerate(CUDA, 1)} | {"context": None}
    whole = sum(size or 0 for size in sizes.values())
    record = sample.memory(device="cuda:0", bytes=sizes, device_total=whole, moment="forward_end")
    book = Book(None)
    book.add(record)
    found = {chart.name: chart for chart in charts.charts(book)}
    assert sum(row["bytes"] for row in found["device"].rows) == whole
    assert svg(found["device"].build("light", False)).count(LIGHT["pending_free"]) >= 1
    assert "cuda:0" in Reader(page.page(book, "run.jsonl")).text

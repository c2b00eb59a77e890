"""The catalogues: whole, compiled from what is written, and chosen as gettext would choose them."""

from __future__ import annotations

import ast
import importlib.util
import string
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from memtop.model import i18n
from memtop.model.batch_text import UNREAD
from memtop.model.i18n import _

ROOT = Path(__file__).parents[2]
PO = i18n.FOLDER / "zh" / "LC_MESSAGES" / "memtop.po"


@pytest.fixture(autouse=True)
def _english() -> Iterator[None]:
    yield
    i18n.use("en")


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("catalogue", ROOT / "tools" / "catalogue.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_message_of_the_code_is_translated(tool: ModuleType) -> None:
    wanted, known = tool.messages(), tool.read(PO)
    assert len(wanted) > 300
    assert [text for text in wanted if not known.get(text)] == []
    assert [text for text in known if text not in wanted] == []


def test_the_compiled_catalogue_is_the_written_one(tool: ModuleType) -> None:
    known = tool.read(PO)
    assert PO.with_suffix(".mo").read_bytes() == tool.compiled("zh", known)
    i18n.use("zh")
    assert {text: _(text) for text in known} == known


def fields(text: str) -> set[tuple[str, str, str]]:
    return {
        (name, spec or "", conversion or "") for _text, name, spec, conversion in string.Formatter().parse(text) if name
    }


def test_a_translation_fills_in_what_the_original_does(tool: ModuleType) -> None:
    for text, translated in tool.read(PO).items():
        if "{" in text:
            assert fields(translated) == fields(text), text
        assert translated.startswith(" ") == text.startswith(" "), text
        if not text.rstrip().endswith((",", ";", ":")):  # Chinese punctuation brings its own space.
            assert translated.endswith(" ") == text.endswith(" "), text


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, "en"),
        ({"LANG": "C.UTF-8"}, "en"),
        ({"LANG": "zh_CN.UTF-8"}, "zh"),
        ({"LANG": "zh_TW"}, "zh"),
        ({"LANG": "de_DE.UTF-8"}, "en"),
        ({"LANG": "zh_CN.UTF-8", "LC_ALL": "en_US.UTF-8"}, "en"),
        ({"LANG": "en_US.UTF-8", "LC_MESSAGES": "zh_CN"}, "zh"),
        ({"LANG": "en_US.UTF-8", "LANGUAGE": "de:zh:en"}, "zh"),
        ({"LANG": "zh_CN.UTF-8", "LANGUAGE": "en"}, "en"),
        ({"LANG": "C", "LANGUAGE": "zh"}, "en"),
        ({"LC_ALL": "", "LANG": "zh"}, "zh"),
    ],
)
def test_the_language_of_a_locale(environ: dict[str, str], expected: str) -> None:
    assert i18n.of_locale(environ) == expected


def test_what_has_no_translation_stays_as_it_is() -> None:
    i18n.use("zh")
    assert _("no such message") == "no such message"
    assert _("") == ""
    assert _("parameters") == "参数"
    i18n.use("en")
    assert _("parameters") == "parameters"


@pytest.mark.parametrize("content", [None, b"", b"\xde\x12\x04\x95", b"not a catalogue at all, but long enough to be"])
def test_a_broken_catalogue_is_english(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes | None) -> None:
    folder = tmp_path / "zh" / "LC_MESSAGES"
    folder.mkdir(parents=True)
    if content is not None:
        (folder / "memtop.mo").write_bytes(content)
    monkeypatch.setattr(i18n, "FOLDER", tmp_path)
    i18n.use("zh")
    assert (_("parameters"), i18n.language()) == ("parameters", "en")


def test_reasons_for_unread_values_are_those_of_the_probe() -> None:
    """The probe can't import the catalogue's words: they stand a second time where they are translated."""
    tree = ast.parse((ROOT / "memtop" / "probe" / "sample.py").read_text("utf-8"))
    said = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}
    assert set(UNREAD) <= said

"""The gettext catalogues: what there is to translate, and the compiled form of what was translated.

    python tools/catalogue.py update     add what is new to every memtop.po, drop what is gone; then compile
    python tools/catalogue.py check      exit status 1 where a catalogue is not as `update` would leave it

A new language: `mkdir -p memtop/locale/XX/LC_MESSAGES`, an empty `memtop.po` in it, then `update`.
"""

from __future__ import annotations

import ast
import re
import struct
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
_TABLES = (
    "WAITING",
    "NOTHING_YET",
    "HEADS",
    "_UNKNOWN_WHY",
    "_ORDER",
    "_PHASES",
    "_SHORT",
    "GROUPS",
    "TRAINING",
    "LOOKING",
    "APP",
    "NOTHING_PRINTED",
    "SILENCE",
)
"""Constants that hold words; some hold names with underscores, too, which nobody translates."""
LOCALE = ROOT / "memtop" / "locale"
HEADER = "Content-Type: text/plain; charset=UTF-8\nContent-Transfer-Encoding: 8bit\n"
_ENTRY = re.compile(r'^msgid ((?:"(?:[^"\\]|\\.)*"\s*)+)^msgstr ((?:"(?:[^"\\]|\\.)*"\s*)+)', re.MULTILINE)
_KEY_CALLS = {"_key": 2, "Foot": 1, "Binding": 2, "Column": 1}
"""Calls whose words are for the screen, and where those stand."""


def messages() -> dict[str, str]:
    """Each message and the file that it is first found in, in the files' order."""
    found: dict[str, str] = {}
    for path in sorted(ROOT.glob("memtop/**/*.py")):
        if "scenarios" not in path.relative_to(ROOT).parts:
            for text in _in_code(ast.parse(path.read_text("utf-8"))):
                found.setdefault(text, path.relative_to(ROOT).as_posix())
    for text, place in _in_manifests():
        found.setdefault(text, place)
    found.pop("", None)
    return found


def _in_code(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, (ast.Assign, ast.AnnAssign)) and node.value is not None:
            yield from _in_table(node)
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
            continue
        name = node.func.id
        if name in ("_", "N_"):
            yield from _constants(node.args[:1])
        elif name in _KEY_CALLS:
            tooltips = [each.value for each in node.keywords if each.arg == "tooltip"]
            at = _KEY_CALLS[name]
            yield from _constants([*node.args[at : at + 1], *(node.args[4:5] if name == "_key" else []), *tooltips])


def _in_table(node: ast.Assign | ast.AnnAssign) -> Iterator[str]:
    """Words of constants that the screen translates where it draws them."""
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    name = targets[0].id if isinstance(targets[0], ast.Name) else ""
    if name in ("HINTS", "TABS") and isinstance(node.value, ast.Tuple):
        at = 1 if name == "HINTS" else 0
        yield from _constants([each.elts[at] for each in node.value.elts if isinstance(each, ast.Tuple)])
    elif name in _TABLES:
        yield from (text for text in _constants([*ast.walk(node.value)]) if "_" not in text)


def _constants(nodes: Sequence[ast.AST]) -> Iterator[str]:
    for node in nodes:
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def _in_manifests() -> Iterator[tuple[str, str]]:
    sys.path.insert(0, str(ROOT))
    from memtop.launcher import manifests
    from memtop.model.categories import ALL, MEANING
    from memtop.model.colours import NAMES

    for name in ALL:
        yield name.replace("_", " "), "memtop/model/categories.py"
        yield MEANING[name], "memtop/model/categories.py"
    yield from ((text, "memtop/model/colours.py") for text in NAMES.values())
    for moment in ("forward end", "backward end", "step end", "highest", "now", "peak"):
        yield moment, "memtop/tui/draw/figures.py"
    for name in manifests.names():
        manifest = manifests.load(name)
        place = f"scenarios/{name}/scenario.toml"
        texts = [manifest.title, manifest.lesson, manifest.synthetic]
        texts += [text for step in manifest.steps for text in (step.do, step.why)]
        texts += [claim.text for claim in manifest.claims]
        texts += [text for spec in manifest.settings for text in (spec.title, spec.name.replace("_", " "))]
        yield from ((text, place) for text in texts)


def read(path: Path) -> dict[str, str]:
    """The messages of a .po file, translated or not, its header left out."""
    found = {_unquoted(key): _unquoted(value) for key, value in _ENTRY.findall(path.read_text("utf-8"))}
    found.pop("", None)
    return found


def _unquoted(quoted: str) -> str:
    return "".join(ast.literal_eval(f'"{part}"') for part in re.findall(r'"((?:[^"\\]|\\.)*)"', quoted))


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def written(language: str, wanted: dict[str, str], known: dict[str, str]) -> str:
    """A .po file's text: `wanted`, by file, with the translations that are `known`."""
    head = HEADER + f"Language: {language}\n"
    lines = ['msgid ""', 'msgstr ""', *(_quoted(line + "\n") for line in head.splitlines())]
    for text, place in sorted(wanted.items(), key=lambda item: item[1]):
        lines += ["", f"#: {place}", f"msgid {_quoted(text)}", f"msgstr {_quoted(known.get(text, ''))}"]
    return "\n".join(lines) + "\n"


def compiled(language: str, known: dict[str, str]) -> bytes:
    """The .mo file of what is translated: gettext's own format, sorted, without a hash table."""
    pairs = {"": HEADER + f"Language: {language}\n"} | {key: value for key, value in known.items() if value}
    items = sorted((key.encode(), value.encode()) for key, value in pairs.items())
    count, start = len(items), 7 * 4
    text, tables = b"", ([], [])  # type: tuple[bytes, tuple[list[int], list[int]]]
    for which in (0, 1):
        for item in items:
            tables[which].extend((len(item[which]), start + 16 * count + len(text)))
            text += item[which] + b"\0"
    numbers = (0x950412DE, 0, count, start, start + 8 * count, 0, start + 16 * count)
    return struct.pack(f"<7I{4 * count}i", *numbers, *tables[0], *tables[1]) + text


def main(arguments: list[str]) -> int:
    """`update` or `check`."""
    if arguments not in (["update"], ["check"]):
        print("usage: python tools/catalogue.py update|check", file=sys.stderr)
        return 2
    wanted, stale = messages(), 0
    for path in sorted(LOCALE.glob("*/LC_MESSAGES/memtop.po")):
        language, known = path.parents[1].name, read(path)
        known = {key: value for key, value in known.items() if key in wanted}
        files = {path: written(language, wanted, known).encode(), path.with_suffix(".mo"): compiled(language, known)}
        for each, content in files.items():
            if not each.exists() or each.read_bytes() != content:
                stale += 1
                if arguments == ["update"]:
                    each.write_bytes(content)
                print(f"{each.relative_to(ROOT)}: {'written' if arguments == ['update'] else 'not up to date'}")
        missing = sum(not known.get(text) for text in wanted)
        print(f"{language}: {len(wanted)} messages, {missing} without a translation")
    return int(stale > 0) if arguments == ["check"] else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

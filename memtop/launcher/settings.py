"""A scenario's settings: what is offered, and a person's words turned into checked values."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable
from typing import Any, Final, Literal

import msgspec

from memtop.model.records import Setting

Kind = Literal["int", "float", "str", "bool"]

_TRUE: Final = ("true", "on", "yes", "1")
_FALSE: Final = ("false", "off", "no", "0")


class ManifestError(ValueError):
    """A scenario, setting or value that is not offered: one line for a person, and what to do instead."""

    def __init__(self, message: str, remedy: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy


class SettingSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One setting of a scenario, as its manifest offers it."""

    name: str
    """As in logs and `--set`, `batch_size`."""
    title: str
    kind: Kind
    default: Setting
    choices: tuple[Setting, ...] = ()
    """The values offered, in the order a key goes through them; empty: any value of the kind."""
    patterns: tuple[str, ...] = ()
    """Values offered beside the choices, N standing for a number: `segments=N`."""
    key: str | None = None
    """The key (or two, down and up) that changes it on screen; `None`: only the command line does."""
    flag: str
    """The script's flag, `--batch-size`; of a bool it stands alone and means true."""
    minimum: float | None = None
    maximum: float | None = None


def from_table(table: dict[str, Any]) -> SettingSpec:
    """A `[[settings]]` table of a manifest. Raises `KeyError` or `TypeError` where keys are missing or unknown."""
    fields: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in table.items()}
    return SettingSpec(**{"kind" if name == "type" else name: value for name, value in fields.items()})


def nearest(name: str, offered: Iterable[str]) -> str:
    """A remedy for a name that is not offered: the nearest that is, and all of them."""
    offered = tuple(offered)
    near = difflib.get_close_matches(name.replace("_", "-"), [each.replace("_", "-") for each in offered], n=1)
    hint = next((f"did you mean {each}? " for each in offered if near and each.replace("_", "-") == near[0]), "")
    return f"{hint}there are: {', '.join(offered)}"


def checked(spec: SettingSpec, value: object) -> Setting:
    """The value in the setting's type. Raises `ManifestError` where it is not offered."""
    converted = _converted(spec, value)
    if converted is None:
        raise ManifestError(f"{spec.name} can't be {value!r}", f"it takes {_offer(spec)}")
    return converted


def _converted(spec: SettingSpec, value: object) -> Setting:
    """The value in the setting's type, or `None` where it is not offered."""
    text = str(value).strip()
    if spec.kind == "bool":
        lowered = text.lower()
        return True if lowered in _TRUE else False if lowered in _FALSE else None
    if spec.kind == "str":
        return text if not spec.choices or text in spec.choices or _matches(spec, text) else None
    try:
        number = int(text) if spec.kind == "int" else float(text)
    except ValueError:
        return None
    low = -math.inf if spec.minimum is None else spec.minimum
    high = math.inf if spec.maximum is None else spec.maximum
    return number if low <= number <= high and number not in (math.inf, -math.inf) else None


def _matches(spec: SettingSpec, text: str) -> bool:
    return any(re.fullmatch(re.escape(pattern).replace("N", "[0-9]{1,9}"), text) for pattern in spec.patterns)


def _offer(spec: SettingSpec) -> str:
    """What a setting takes, in words."""
    if spec.kind == "bool":
        return "on or off"
    if spec.choices:
        return ", ".join((*map(str, spec.choices), *spec.patterns))
    words = {"int": "a whole number", "float": "a number", "str": "text"}[spec.kind]
    words += "" if spec.minimum is None else f" from {spec.minimum:g}"
    return words + ("" if spec.maximum is None else f" to {int(spec.maximum)}")

"""The scenarios that can be run: their manifests, their settings checked, their command lines.

A scenario is a folder with `train.py` and `scenario.toml`; `common/settings.toml` holds the settings that all have.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import msgspec

from memtop.launcher.settings import ManifestError, SettingSpec, checked, from_table, nearest
from memtop.model.claims import Claim, Step, claim
from memtop.model.claims import names as names_in
from memtop.model.expressions import ExpressionError, evaluate
from memtop.model.records import Setting
from memtop.model.snapshot import Choice

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """One scenario: what it teaches, what can be set, what theory says."""

    name: str
    title: str
    lesson: str
    """One paragraph for a learner."""
    script: Path
    settings: tuple[SettingSpec, ...]
    theory: Mapping[str, str]
    """Arithmetic expressions of the settings by category, see `model.theory`."""
    data: str | None
    """The real data set's name; `None`: it has none."""
    synthetic: str
    """What it trains on without a data folder, in words."""
    claims: tuple[Claim, ...]
    """What it teaches, in figures that a log must show."""
    steps: tuple[Step, ...]
    """What to do to see it, in order; each names the claims that it comes to by their `step`."""

    def spec(self, name: str) -> SettingSpec | None:
        """The setting of that name, written with `_` or `-`; `None`: not offered."""
        wanted = name.replace("-", "_")
        return next((spec for spec in self.settings if spec.name == wanted), None)


__all__ = (
    "Claim",
    "Manifest",
    "ManifestError",
    "SettingSpec",
    "as_json",
    "choices",
    "command",
    "data_source",
    "load",
    "names",
    "resolve",
)


def names() -> tuple[str, ...]:
    """The scenarios in teaching order."""
    return _ordered(_root())


def load(name: str) -> Manifest:
    """The manifest of a scenario. Raises `ManifestError` for a name that is not offered."""
    if name not in names():
        raise ManifestError(f"unknown scenario {name!r}", nearest(name, names()))
    return _load(_root(), name)


def resolve(manifest: Manifest, given: Mapping[str, object]) -> dict[str, Setting]:
    """The defaults with `given` over them, complete and checked. Raises `ManifestError` for what is not offered."""
    settings = {spec.name: spec.default for spec in manifest.settings}
    for name, value in given.items():
        spec = manifest.spec(name)
        if spec is None:
            offered = tuple(spec.name for spec in manifest.settings)
            raise ManifestError(f"{manifest.name} has no setting {name!r}", nearest(name, offered))
        settings[spec.name] = checked(spec, value)
    return settings


def command(manifest: Manifest, settings: Mapping[str, Setting], python: str) -> list[str]:
    """The command line that runs the scenario with these settings."""
    line = [python, "-u", str(manifest.script)]
    for spec in manifest.settings:
        value = settings[spec.name]
        if spec.kind == "bool":
            line += [spec.flag] if value else []
        elif value not in ("", None):
            line += [spec.flag, str(value)]
    return line


def choices(manifest: Manifest, settings: Mapping[str, Setting]) -> tuple[Choice, ...]:
    """The settings that a key can change, with their present values."""
    return tuple(
        Choice(name=spec.name, title=spec.title, value=settings[spec.name], choices=spec.choices, key=spec.key)
        for spec in manifest.settings
        if spec.key is not None
    )


def data_source(manifest: Manifest, settings: Mapping[str, Setting]) -> str:
    """What a run with these settings trains on, in words."""
    folder = settings.get("data")
    return f"{manifest.data} files in {folder}" if manifest.data and folder else manifest.synthetic


def as_json() -> list[dict[str, Any]]:
    """All scenarios, for `memtop scenarios --json`."""
    return [_described(load(name)) for name in names()]


def _described(manifest: Manifest) -> dict[str, Any]:
    return {
        "name": manifest.name,
        "title": manifest.title,
        "lesson": manifest.lesson,
        "script": str(manifest.script),
        "data": manifest.data,
        "synthetic": manifest.synthetic,
        "claims": [claim.text for claim in manifest.claims],
        "settings": [
            {
                "name": spec.name,
                "title": spec.title,
                "type": spec.kind,
                "default": spec.default,
                "choices": list(spec.choices),
                "patterns": list(spec.patterns),
                "minimum": spec.minimum,
                "maximum": spec.maximum,
                "key": spec.key,
                "flag": spec.flag,
            }
            for spec in manifest.settings
        ],
    }


@lru_cache(maxsize=1)
def _root() -> Path:
    """Beside the package in a source checkout, inside it when installed."""
    package = Path(__file__).resolve().parents[1]
    for root in (package / "scenarios", package.parent / "scenarios"):
        if (root / "common" / "settings.toml").is_file():
            return root
    raise ManifestError("memtop's scenarios are missing from this installation", "install torch-memtop again")


@lru_cache(maxsize=4)
def _ordered(root: Path) -> tuple[str, ...]:
    found = {path.parent.name: _read(path) for path in root.glob("*/scenario.toml")}
    return tuple(sorted(found, key=lambda name: (found[name].get("order", math.inf), name)))


@lru_cache(maxsize=64)
def _read(path: Path) -> dict[str, Any]:
    try:
        table: dict[str, Any] = tomllib.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ManifestError(f"{path} can't be read: {error}") from None
    return table


@lru_cache(maxsize=64)
def _load(root: Path, name: str) -> Manifest:
    path = root / name / "scenario.toml"
    table = _read(path)
    try:
        return _whole(
            Manifest(
                name=name,
                title=table["title"],
                lesson=" ".join(table["lesson"].split()),
                script=root / name / "train.py",
                settings=_settings(_common(root, table.get("without", [])), table.get("settings", [])),
                theory=table.get("theory", {}),
                data=table.get("data"),
                synthetic=table["synthetic"],
                claims=tuple(claim(each) for each in table.get("claims", [])),
                steps=tuple(_step(each) for each in table.get("steps", [])),
            )
        )
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ManifestError(f"{path} is not a manifest: {error!r}") from None


def _common(root: Path, without: list[str]) -> list[dict[str, Any]]:
    """The settings that all have, but for those a scenario can't have."""
    tables: list[dict[str, Any]] = _read(root / "common" / "settings.toml")["settings"]
    return [table for table in tables if table["name"] not in without]


def _settings(common: list[dict[str, Any]], own: list[dict[str, Any]]) -> tuple[SettingSpec, ...]:
    """The common settings, each with what the scenario says otherwise, then the scenario's own."""
    merged: dict[str, dict[str, Any]] = {}
    for table in (*common, *own):
        merged[table["name"]] = {**merged.get(table["name"], {}), **table}
    return tuple(from_table(table) for table in merged.values())


def _step(table: dict[str, Any]) -> Step:
    return Step(**{name: " ".join(value.split()) for name, value in table.items()})


def _whole(manifest: Manifest) -> Manifest:
    """The manifest, its steps and claims held together. Raises `ValueError` where they speak of what is not there."""
    known = {step.name for step in manifest.steps}
    for each in manifest.claims:
        if each.step is not None and each.step not in known:
            raise ValueError(f"claim {each.text!r} checks a step {each.step!r} that is not there")
    defaults = {spec.name: spec.default for spec in manifest.settings}
    for step in manifest.steps:
        try:
            evaluate(step.when, names_in(defaults, defaults))
        except ExpressionError as error:
            raise ValueError(f"step {step.name!r}: {error}") from None
    return manifest

"""The settings of the allocator that change what it reserves: the text of `PYTORCH_ALLOC_CONF`, read and checked.

Names, defaults and limits are those of c10/core/AllocatorConfig.h (torch 2.13).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

import msgspec

MIB: Final = 1024**2
INTERVALS: Final = 16
"""Powers of two, from 1 MiB up, that each may have a number of divisions of their own."""

_QUIET: Final = re.compile(
    r"pinned_\w+|release_lock_on_\w+|graph_capture_record_stream_reuse|per_process_memory_fraction"
)
"""Settings that are torch's and leave what tensors reserve alone, or that the limit stands for."""


class ConfigError(ValueError):
    """Settings that torch would refuse, or that the model does not know: one line for a person."""


class AllocatorConfig(msgspec.Struct, frozen=True, kw_only=True):
    """How the allocator is set. Sizes are bytes."""

    max_split: int | None = None
    """`max_split_size_mb`: blocks of this size and more are not split; `None` where there is no such limit."""
    max_rounding: int = 20 * MIB
    """`max_non_split_rounding_mb`: how much larger an unsplittable block may be than what was asked for."""
    divisions: tuple[int, ...] = (0,) * INTERVALS
    """`roundup_power2_divisions` of sizes from 1, 2, 4, ... MiB up; 0 and 1 are none."""
    large_segment: int = 20 * MIB
    """`large_segment_size_mb`: the segments that requests of 1 to 10 MiB are cut from, and pages of expandable ones."""
    expandable: bool = False
    """`expandable_segments`."""
    collect_above: float = 0.0
    """`garbage_collection_threshold`: the share of a cap above which old cached segments are released; 0 is never."""


def parse(text: str) -> AllocatorConfig:
    """The settings in a text such as `max_split_size_mb:128,expandable_segments:True`; empty is the defaults.

    Raises `ConfigError` for what torch would refuse, and for `backend:cudaMallocAsync`, which is another allocator."""
    found: dict[str, Any] = {}
    for name, value in _pairs(re.sub(r"\s", "", text)):
        if name == "backend":
            if value != "native":
                raise ConfigError(f"backend:{value} is another allocator than the one that is modelled, native")
        elif name in _READ:
            field, read = _READ[name]
            found[field] = read(name, value)
        elif not _QUIET.fullmatch(name):
            raise ConfigError(f"unknown allocator setting {name!r} (known: {', '.join(sorted(_READ))})")
    config = AllocatorConfig(**found)
    for name, field in (("max_split_size_mb", "max_split"), ("max_non_split_rounding_mb", "max_rounding")):
        if found.get(field, config.large_segment) < config.large_segment:
            raise ConfigError(f"{name} is too small, it must be at least {config.large_segment // MIB}")
    return config


def _pairs(text: str) -> list[tuple[str, str]]:
    """`a:1,b:[x:1,y:2]` as names and values."""
    pairs, rest = [], text
    while rest:
        match = re.match(r"(\w+):(\[[^\]]*\]|[^,\[\]]+)(,|$)", rest)
        if match is None:
            raise ConfigError(f"allocator settings are NAME:VALUE,NAME:VALUE,... and {rest!r} is not")
        pairs.append((match[1], match[2]))
        rest = rest[match.end() :]
    return pairs


def _megabytes(name: str, value: str) -> int:
    return _whole(name, value) * MIB


def _whole(name: str, value: str) -> int:
    if not value.isdecimal():
        raise ConfigError(f"{name}:{value} is not a whole number")
    return int(value)


def _flag(name: str, value: str) -> bool:
    if value not in ("True", "False"):
        raise ConfigError(f"{name}:{value} must be True or False")
    return value == "True"


def _share(name: str, value: str) -> float:
    try:
        share = float(value)
    except ValueError:
        share = 0.0
    if not 0 < share < 1:
        raise ConfigError(f"{name}:{value} must be a number between 0 and 1")
    return share


def _divisions(name: str, value: str) -> tuple[int, ...]:
    """`8` for every size, or `[256:1,512:2,>:8]`: below the first size its own, above the last what `>` says."""
    if not value.startswith("["):
        return (_power(name, value),) * INTERVALS
    found, last = [0] * INTERVALS, -1
    for pair in value[1:-1].split(","):
        size, colon, count = pair.partition(":")
        if not colon:
            raise ConfigError(f"{name}:{value} must be a list of SIZE:DIVISIONS")
        divisions = _power(name, count)
        if size == ">":
            behind = max(last, 0) + 1
            found[behind:] = [divisions] * (INTERVALS - behind)
            continue
        index = min(_power(name, size).bit_length() - 1, INTERVALS - 1)
        if last < 0:
            found[:index] = [divisions] * index
        found[index] = divisions
        last = index
    return tuple(found)


def _power(name: str, value: str) -> int:
    number = _whole(name, value)
    if number & (number - 1):
        raise ConfigError(f"{name}: {value} is not a power of 2")
    return number


_READ: Final[dict[str, tuple[str, Callable[[str, str], Any]]]] = {
    "max_split_size_mb": ("max_split", _megabytes),
    "max_non_split_rounding_mb": ("max_rounding", _megabytes),
    "large_segment_size_mb": ("large_segment", _megabytes),
    "roundup_power2_divisions": ("divisions", _divisions),
    "expandable_segments": ("expandable", _flag),
    "garbage_collection_threshold": ("collect_above", _share),
}

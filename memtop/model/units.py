"""Numbers to text. Everything else in memtop keeps bytes, seconds, watts; only a screen asks for words."""

from __future__ import annotations

from typing import Final, Literal

Unit = Literal["auto", "MiB", "MB", "B"]
"""How byte counts are shown: binary and fitting, one fixed unit, or plain bytes."""

UNITS: Final[tuple[Unit, ...]] = ("auto", "MiB", "MB", "B")
UNKNOWN: Final = "—"
"""What stands where a value is not known. Never 0."""

_BINARY: Final = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
_DECIMAL: Final = ("", "k", "M", "G", "T", "P", "E")


def size(count: int | None, unit: Unit = "auto") -> str:
    """Bytes as text: `size(1578536)` is `1.51 MiB`. `None` is `—`. Three significant digits from a KiB up."""
    if count is None:
        return UNKNOWN
    if unit == "B":
        return f"{count:,} B"
    if unit == "MiB":
        return f"{count / 2**20:,.2f} MiB"
    if unit == "MB":
        return f"{count / 10**6:,.2f} MB"
    value, index = float(abs(count)), 0
    while value >= 1023.995 and index < len(_BINARY) - 1:
        value, index = value / 1024, index + 1
    sign = "-" if count < 0 else ""
    if index == 0:
        return f"{sign}{int(value)} B"
    digits = 2 if value < 9.995 else 1 if value < 99.95 else 0
    return f"{sign}{value:.{digits}f} {_BINARY[index]}"


def percent(part: float | None, whole: float | None, digits: int = 1) -> str:
    """`part` of `whole` in per cent, or `—` where either is unknown or the whole is 0."""
    if part is None or not whole:
        return UNKNOWN
    return f"{100 * part / whole:.{digits}f} %"


def number(value: float | None, digits: int = 0) -> str:
    """A plain number with thousands separated, or `—`."""
    return UNKNOWN if value is None else f"{value:,.{digits}f}"


def rate(value: float | None) -> str:
    """A rate (per second) with about three significant digits, or `—`."""
    if value is None:
        return UNKNOWN
    return f"{value:,.0f}" if value >= 99.5 else f"{value:.1f}" if value >= 9.95 else f"{value:.2f}"


def duration(seconds: float | None) -> str:
    """Seconds as text of at most two units: `3m12s`, `2h05m`, `0.8 s`, `12 ms`; `—` where unknown."""
    if seconds is None:
        return UNKNOWN
    if seconds < 1e-3:
        return f"{seconds * 1e6:.0f} µs"
    if seconds < 1:
        return f"{seconds * 1e3:.3g} ms" if seconds < 0.1 else f"{seconds:.2g} s"
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(int(seconds), 60)
    if minutes < 60:
        return f"{minutes}m{rest:02d}s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02d}m" if hours < 48 else f"{hours // 24}d{hours % 24:02d}h"


def milliseconds(seconds: float, digits: int = 2) -> str:
    """Seconds in ms with a fixed number of digits, for an axis and for what is read off it: `12.30 ms`."""
    return f"{1e3 * seconds:,.{digits}f} ms"


def short(value: int | None) -> str:
    """A count in three digits and a prefix of a thousand: `1.23 G`; `—` where unknown."""
    if value is None:
        return UNKNOWN
    scaled, index = float(abs(value)), 0
    while scaled >= 999.5 and index < len(_DECIMAL) - 1:
        scaled, index = scaled / 1000, index + 1
    sign = "-" if value < 0 else ""
    if index == 0:
        return f"{sign}{int(scaled)}"
    return f"{sign}{scaled:.{2 if scaled < 9.995 else 1 if scaled < 99.95 else 0}f} {_DECIMAL[index]}"


def parse_size(text: str) -> int:
    """`8GiB`, `512 MiB`, `1.5e9`, `24GB` to bytes. Raises `ValueError` with a line fit for a person."""
    cleaned = text.strip().replace(" ", "")
    factors = {"kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40}
    factors |= {"kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12, "b": 1}
    for suffix, factor in factors.items():
        if cleaned.lower().endswith(suffix):
            cleaned, scale = cleaned[: -len(suffix)], factor
            break
    else:
        scale = 1
    try:
        count = float(cleaned) * scale
    except ValueError:
        raise ValueError(f"{text!r} is not a size; write 512MiB, 8GiB or a number of bytes") from None
    if not 0 < count < 2**63:
        raise ValueError(f"{text!r} is not a size above zero; write 512MiB, 8GiB or a number of bytes")
    return int(count)

"""The words on screen in the person's language, from gettext catalogues in `memtop/locale`.

English is what the code is written in: it has no catalogue, and costs one call that returns its argument. What a log
holds is never translated.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

DOMAIN: Final = "memtop"
FOLDER: Final = Path(__file__).resolve().parents[1] / "locale"
ENGLISH: Final = "en"
_VARIABLES: Final = ("LC_ALL", "LC_MESSAGES", "LANG")
_NO_LANGUAGE: Final = ("C", "POSIX")

_lookup: Callable[[str], str] | None = None
_language = ENGLISH


def _(text: str) -> str:
    """`text` in the language chosen; as it is where there is no translation."""
    # The empty id is the catalogue's own header.
    return text if _lookup is None or not text else _lookup(text)


def N_(text: str) -> str:
    """Marks a constant for the catalogue; whoever draws it calls `_`."""
    return text


def language() -> str:
    """The language chosen: `en`, or a folder's name."""
    return _language


def languages() -> tuple[str, ...]:
    """What there is: English, and each folder of `memtop/locale` that holds a catalogue."""
    return (ENGLISH, *sorted(path.parents[1].name for path in FOLDER.glob(f"*/LC_MESSAGES/{DOMAIN}.mo")))


def use(name: str) -> None:
    """Speak the language `name`, one of `languages()`; one that has no readable catalogue is English."""
    global _language, _lookup
    _lookup, _language = None, ENGLISH
    if name == ENGLISH:
        return
    import gettext
    import struct

    try:
        _lookup = gettext.translation(DOMAIN, FOLDER, [name]).gettext
    except (OSError, ValueError, EOFError, struct.error):  # no file, or one that was cut off
        return
    _language = name


def of_locale(environ: Mapping[str, str] = os.environ) -> str:
    """The language that the environment asks for, as gettext has it; English where there is no catalogue of it.

    The first of LC_ALL, LC_MESSAGES and LANG that is set says the locale; LANGUAGE, a list, goes before it unless that
    is C.
    """
    locale = next((environ[name] for name in _VARIABLES if environ.get(name)), "")
    if not locale or _stem(locale) in _NO_LANGUAGE:
        return ENGLISH
    wanted = [*environ.get("LANGUAGE", "").split(":"), locale]
    return next((found for one in wanted if one and (found := offered(one)) is not None), ENGLISH)


def offered(wanted: str) -> str | None:
    """The language that serves `zh_CN.UTF-8`, `zh-Hans` or `zh`; `None` where there is none."""
    stem = _stem(wanted).replace("-", "_").lower()
    known = {name.lower(): name for name in languages()}
    return known.get(stem) or known.get(stem.split("_")[0])


def _stem(locale: str) -> str:
    return locale.split(".")[0].split("@")[0]

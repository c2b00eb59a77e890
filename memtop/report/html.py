"""HTML whose every piece of text is escaped: strings of a log are hostile."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape


class Html(str):
    """Markup of ours. Any other string is text."""

    __slots__ = ()


Part = str | None
"""Text, or `Html`; `None` is nothing."""


def tag(name: str, *parts: Part, **attributes: str) -> Html:
    """An element. `class_` is the attribute `class`."""
    told = "".join(f' {key.rstrip("_")}="{escape(value)}"' for key, value in attributes.items())
    return Html(f"<{name}{told}>{join(parts)}</{name}>")


def join(parts: Iterable[Part]) -> Html:
    """One after another."""
    return Html("".join(part if isinstance(part, Html) else escape(part) for part in parts if part is not None))


def table(
    heads: Sequence[str], rows: Iterable[Sequence[Part]], numbers: Sequence[int] = (), total: Sequence[Part] = ()
) -> Html:
    """A table; the columns `numbers` stand at the right, `total` is the last row."""

    def cells(kind: str, row: Sequence[Part]) -> Html:
        return join(
            tag(kind, cell, class_="n")
            if place in numbers
            else tag(kind, cell, **({"class_": "path"} if not place else {}))
            for place, cell in enumerate(row)
        )

    body = [tag("tr", cells("td", row)) for row in rows]
    body += [tag("tr", cells("td", total), class_="sum")] if total else []
    return tag("div", tag("table", tag("thead", tag("tr", cells("th", heads))), tag("tbody", *body)), class_="wide")

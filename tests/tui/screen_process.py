"""A screen on a FakeSession in a process of its own, for the tests that need a terminal.

Arguments: a file for what the session was asked, and which way to go wrong.
"""

from __future__ import annotations

import sys
from pathlib import Path

from memtop.tui.running import run_app
from tests.tui.fakes import FakeSession, failed, mlp


class Refused(Exception):
    """What a launcher raises."""

    message, remedy = "torch is not installed", "pip install torch"


def main() -> int:
    """Run until told to leave; then write down what the session was asked."""
    calls, how = Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else ""
    session = FakeSession(failed() if how == "failed" else mlp(), Refused() if how == "refused" else None)
    plain = session.close

    def close() -> object:
        calls.write_text("closed")
        return plain()

    session.close = close  # type: ignore[method-assign,assignment]
    if how == "broken":
        session.snapshot = lambda: 1 / 0  # type: ignore[assignment,return-value]
    return run_app(session, True)  # type: ignore[arg-type]


if __name__ == "__main__":
    sys.exit(main())

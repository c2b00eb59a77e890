"""memtop on scenarios of a test's own: the first argument is their folder, the rest is memtop's command line."""

from __future__ import annotations

import sys
from pathlib import Path

from memtop import cli
from memtop.launcher import manifests


def main() -> int:
    """As `memtop.cli.main`."""
    root = Path(sys.argv[1])
    manifests._root = lambda: root  # type: ignore[assignment]
    return cli.main(sys.argv[2:])


if __name__ == "__main__":
    sys.exit(main())

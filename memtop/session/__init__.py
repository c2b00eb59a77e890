"""Floor 3: one run of one target, from launch to end: target + collectors -> records -> history, sinks, subscribers."""

from memtop.session.options import Options
from memtop.session.session import Session

__all__ = ["Options", "Session"]

"""Floor 4: the largest batch that fits, found by trial runs in fresh processes, or estimated from one or two."""

from memtop.fit.finding import Finding, FitError, find
from memtop.fit.trial import Plan, Trial, capped

__all__ = ["Finding", "FitError", "Plan", "Trial", "capped", "find"]

"""The fakes are what a session could tell: else the tests beside them show nothing."""

from __future__ import annotations

import pytest

from memtop.model.categories import TENSORS
from memtop.model.snapshot import DeepLook

from .deep_fakes import PEAK, cnn_look, stack_look


@pytest.mark.parametrize("look", [cnn_look(), stack_look(), stack_look(100, 4)])
def test_modules_lines_trace_and_peak_have_one_sum(look: DeepLook) -> None:
    assert look.modules is not None
    assert look.lines is not None
    assert look.trace is not None
    peak = sum(look.peak.bytes[name] or 0 for name in TENSORS)
    assert sum(row.at_peak for row in look.modules.rows) == peak
    assert sum(row.at_peak for row in look.lines.rows) == peak
    assert sum(look.trace.points[look.trace.peak]) == peak == max(map(sum, look.trace.points))
    assert all(sum(tensor.bytes for tensor in row.tensors) == row.at_peak for row in look.lines.rows)
    assert look.trace.times == sorted(look.trace.times)


def test_the_cnns_peak_is_the_measured_one() -> None:
    look = cnn_look()
    assert sum(look.peak.bytes[name] or 0 for name in TENSORS) == PEAK == 45_234_424
    assert look.trace is not None
    assert look.trace.marks[1].name == "backward"
    backward = look.trace.times.index(look.trace.marks[1].at)
    assert sum(look.trace.points[backward]) == 2_159_048 + 40_374_536, "when forward ends"

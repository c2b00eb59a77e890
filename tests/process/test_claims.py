"""What the scenarios claim, held against logs: one test for all of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from memtop.launcher import manifests
from memtop.model.claims import STEP
from tests.process.runs import Log, logged, shared


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("torch", reason="scenarios need torch")
    return shared(tmp_path_factory)


def bytes_of(log: Log, category: str, moment: str) -> int:
    (found,) = [r["bytes"] for r in log if r["kind"] == "memory" and (r["moment"], r["step"]) == (moment, STEP)]
    size = found[category]
    assert isinstance(size, int)
    return size


@pytest.mark.parametrize("name", manifests.names())
def test_the_log_shows_what_the_scenario_claims(folder: Path, name: str) -> None:
    claims = manifests.load(name).claims
    assert claims
    for claim in claims:
        log = logged(folder, name, claim.settings)
        other = log if claim.than is None else logged(folder, name, claim.than)
        found = bytes_of(log, claim.category, claim.moment)
        of = bytes_of(other, claim.of, claim.moment)
        assert of > 0
        assert claim.holds(found, of), f"{claim.text}: {found:,} B for {claim.factor} × {of:,} B"

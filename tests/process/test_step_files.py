"""A real child writes down the storages of the step that is looked at, where it is asked to, and a plan reads them."""

from __future__ import annotations

import json
import subprocess
import sys

from memtop.launcher.events_folder import EventsFolder
from memtop.model.plan import plan
from tests.process.failing import Place


def test_a_scenarios_second_step_is_planned_for_a_gpu(place: Place) -> None:
    log = place.temp / "run.jsonl"
    command = [sys.executable, "-m", "memtop", "--scenario", "mlp-cifar", "--device", "cpu", "--headless"]
    with EventsFolder() as folder:
        env = {**place.env, **folder.environment}
        done = subprocess.run([*command, "--steps", "3", "--log", str(log)], env=env, capture_output=True, timeout=60)
        assert done.returncode == 0, done.stderr
        (events,) = folder.read()
    records = [json.loads(line) for line in log.read_text().splitlines()]
    (peak,) = [one for one in records if one["kind"] == "memory" and one["moment"] == "peak"]
    assert events.step == peak["step"] == 2
    assert events.peak == sum(peak["bytes"][name] for name in events.categories)
    (model, *_) = [one for one in records if one["kind"] == "model"]
    found = plan(events, limit=2**30, optimizers=model["optimizers"])
    assert found.fits == "yes"
    # Weights, gradients, two numbers of state and one of the optimizer's list for each weight; cuBLAS's twice.
    assert found.allocated > 5 * 1_578_536 + 2 * 8_519_680
    assert found.low < found.used < found.high

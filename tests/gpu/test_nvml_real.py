"""The collector on a real GPU, beside nvidia-smi and torch, which read the same driver by other ways."""

from __future__ import annotations

import csv
import os
import shutil
import subprocess
from collections.abc import Iterator

import pytest

from memtop.collectors.nvml import Nvml, Unavailable

pytestmark = pytest.mark.gpu
MIB = 2**20


@pytest.fixture
def nvml() -> Iterator[Nvml]:
    opened = Nvml.open()
    if isinstance(opened, Unavailable):
        pytest.skip(opened.reason)
    yield opened
    opened.close()


def smi(*fields: str) -> list[dict[str, str]]:
    """nvidia-smi's figures by GPU, physical ones in NVML's order."""
    program = shutil.which("nvidia-smi")
    if program is None:
        pytest.skip("no nvidia-smi")
    command = [program, f"--query-gpu={','.join(fields)}", "--format=csv,noheader,nounits"]
    out = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    return [dict(zip(fields, row, strict=True)) for row in csv.reader(out.splitlines(), skipinitialspace=True)]


def test_specs_agree_with_nvidia_smi(nvml: Nvml) -> None:
    rows = smi("uuid", "name", "memory.total", "driver_version", "compute_cap", "clocks.max.sm", "clocks.max.memory")
    specs = [spec for spec in nvml.specs() if spec.parent_uuid is None]
    assert [spec.uuid for spec in specs] == [row["uuid"] for row in rows]
    for spec, row in zip(specs, rows, strict=True):
        assert (spec.name, spec.driver, spec.compute_capability) == (
            row["name"],
            row["driver_version"],
            row["compute_cap"],
        )
        assert spec.memory is not None
        assert spec.memory // MIB == int(row["memory.total"])
        assert (spec.clock_sm_max_mhz, spec.clock_memory_max_mhz) == (
            int(row["clocks.max.sm"]),
            int(row["clocks.max.memory"]),
        )


def test_samples_agree_with_nvidia_smi(nvml: Nvml) -> None:
    rows = {
        row["uuid"]: row for row in smi("uuid", "memory.total", "memory.reserved", "power.limit", "temperature.gpu")
    }
    for record in nvml.sample(0.0):
        if record.uuid not in rows:
            continue
        row = rows[record.uuid]
        parts = (record.memory_used, record.memory_free, record.memory_reserved)
        assert None not in parts, record.notes
        assert record.memory_total == sum(part or 0 for part in parts)
        assert abs((record.memory_reserved or 0) / MIB - int(row["memory.reserved"])) <= 64
        assert record.power_limit == pytest.approx(float(row["power.limit"]), abs=1)
        assert record.temperature == pytest.approx(float(row["temperature.gpu"]), abs=10)


def test_sms_and_memory_agree_with_torch(nvml: Nvml) -> None:
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("this torch sees no CUDA device")
    properties = torch.cuda.get_device_properties(0)
    visible = {str(properties.uuid): "cuda:0"}
    (spec,) = [spec for spec in nvml.specs(visible) if spec.visible_as == "cuda:0"]
    assert spec.sms == properties.multi_processor_count
    assert spec.compute_capability == f"{properties.major}.{properties.minor}"
    (before,) = [record for record in nvml.sample(0.0, visible=visible) if record.device == "cuda:0"]
    held = torch.empty(512 * MIB, dtype=torch.uint8, device="cuda:0")
    (after,) = [record for record in nvml.sample(0.1, ours=[os.getpid()], visible=visible) if record.device == "cuda:0"]
    free, total = torch.cuda.mem_get_info(0)
    assert before.memory_used is not None
    assert after.memory_used is not None
    assert after.memory_free is not None
    assert after.memory_used - before.memory_used >= held.numel() - 64 * MIB
    assert after.memory_free == pytest.approx(free, abs=256 * MIB)
    assert after.memory_total is not None
    assert after.memory_total >= total
    mine = [process for process in after.processes or () if process.ours]
    if mine and mine[0].bytes is not None:
        assert mine[0].bytes >= held.numel()
    else:
        assert after.notes, "a process that is not seen must have its reason"

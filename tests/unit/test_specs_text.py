"""What `memtop specs` prints."""

from __future__ import annotations

import json

import msgspec
import pytest

from memtop.model.specs import GpuSpec, HostSpec, NumaNode
from memtop.model.specs_text import lines, to_json

HOST = HostSpec(
    hostname="node7",
    system="Linux 6.8.0",
    cpu_model="AMD EPYC 9654 96-Core Processor",
    cpu_vendor="AuthenticAMD",
    microarchitecture="zen4",
    sockets=2,
    cores=192,
    threads=384,
    usable_threads=16,
    frequency_max_mhz=3707.0,
    caches={"L1d": 6 << 20, "L3": 768 << 20},
    features=("avx", "avx2", "fma", "avx512f", "avx512_bf16"),
    ram=768 << 30,
    swap=0,
    cgroup_limit=128 << 30,
    numa=(NumaNode(node=0, cpus="0-95", memory=384 << 30), NumaNode(node=1, cpus="96-191", memory=None)),
)

UNKNOWN_HOST = HostSpec(
    hostname="mac",
    system="Darwin 24",
    cpu_model=None,
    cpu_vendor=None,
    microarchitecture=None,
    sockets=None,
    cores=1,
    threads=None,
    usable_threads=None,
    frequency_max_mhz=None,
    caches={},
    features=(),
    ram=8 << 30,
    swap=None,
    cgroup_limit=None,
    numa=(),
)

GPU = GpuSpec(
    index=0,
    uuid="GPU-00000000-1111-2222-3333-444444444444",
    name="NVIDIA H200",
    visible_as="cuda:1",
    architecture="Hopper",
    compute_capability="9.0",
    sms=132,
    cuda_cores=16896,
    memory=141 << 30,
    bus_width=6144,
    bandwidth=4_916_000_000_000,
    pcie_generation=1,
    pcie_generation_max=5,
    pcie_width=16,
    pcie_width_max=16,
    driver="580.95",
    cuda="13.0",
    power_limit_w=700.0,
    clock_sm_max_mhz=1980,
    clock_memory_max_mhz=3201,
    ecc=True,
    mig=False,
    parent_uuid=None,
)

NAMES = [field.name for field in msgspec.structs.fields(GPU) if field.name not in ("index", "uuid")]
UNKNOWN_GPU = GpuSpec(index=0, uuid=GPU.uuid, **dict.fromkeys(NAMES))


def row(text: list[str], name: str) -> str:
    """The value of the fact `name`."""
    return next(line for line in text if line.startswith(f"  {name} "))[2 + len(name) :].strip()


def test_the_hosts_facts() -> None:
    text = lines(HOST, [], "no NVIDIA driver", 100)
    assert row(text, "topology") == "2 sockets · 192 cores · 384 threads, 16 usable here"
    assert row(text, "generation") == "zen4"
    assert row(text, "clock") == "3,707 MHz at most"
    assert row(text, "caches") == "L1d 6.00 MiB · L3 768 MiB"
    assert row(text, "limit") == "128 GiB (control group)"
    assert row(text, "swap") == "none"
    assert row(text, "NUMA") == "node 0: 384 GiB, CPUs 0-95"
    assert " " * 16 + "node 1: —, CPUs 96-191" in text
    assert text[-2:] == ["GPU", "  no NVIDIA driver"]


def test_unknown_facts_are_dashes_never_zero() -> None:
    text = lines(UNKNOWN_HOST, [UNKNOWN_GPU], None)
    for name in ("model", "vendor", "generation", "clock", "caches", "instructions", "swap", "power limit"):
        assert row(text, name) == "—", name
    assert row(text, "topology") == "— sockets · 1 core · — threads"
    assert row(text, "memory") == "— · — · —"
    assert row(text, "limit") == "none"
    assert not any("0" in line for line in text if line.startswith(("  clocks", "  PCIe", "  processors")))


def test_the_gpus_facts() -> None:
    text = lines(HOST, [GPU], None)
    assert "GPU 0  NVIDIA H200" in text
    assert row(text, "torch's name") == "cuda:1"
    assert row(text, "memory") == "141 GiB · 6,144 bit · 4,916 GB/s in theory · ECC on"
    assert row(text, "PCIe") == "generation 1 x16 now, generation 5 x16 at most"
    assert row(text, "processors") == "132 SMs · 16,896 CUDA cores"
    assert "GPU" not in text


def test_a_hidden_gpu_and_a_mig_instance() -> None:
    instance = msgspec.structs.replace(GPU, visible_as=None, parent_uuid="GPU-parent", mig=True)
    text = lines(HOST, [instance], "one is lost")
    assert row(text, "torch's name").startswith("hidden by CUDA_VISIBLE_DEVICES")
    assert "MIG instance 0  NVIDIA H200" in text
    assert row(text, "MIG, part of") == "GPU-parent"
    assert text[-1] == "  one is lost"


@pytest.mark.parametrize("width", [40, 60, 80, 100])
def test_no_line_is_wider_than_asked_and_no_word_is_lost(width: int) -> None:
    text = lines(HOST, [GPU], "a note of several words that has to be wrapped on a screen as narrow as this", width)
    assert max(map(len, text)) <= width
    assert all(line == line.rstrip() for line in text)
    squeezed = "".join("".join(text).split())
    for word in (*HOST.features, GPU.uuid, "narrow", "AMDEPYC9654"):
        assert word in squeezed


def test_a_drivers_escapes_reach_no_screen() -> None:
    text = lines(HOST, [msgspec.structs.replace(GPU, name="\x1b[31mred", driver="1\x1b]0;x\x07")], "\x1b[2Jcleared")
    assert not any("\x1b" in line for line in text)
    assert "GPU 0  red" in text


def test_json_has_every_fact_as_it_is() -> None:
    value = json.loads(json.dumps(to_json(HOST, [GPU], "a note")))
    assert list(value) == ["v", "host", "gpus", "note"]
    assert (value["v"], value["note"]) == (1, "a note")
    assert set(value["host"]) == {field.name for field in msgspec.structs.fields(HostSpec)}
    assert value["host"]["numa"][1] == {"node": 1, "cpus": "96-191", "memory": None}
    assert set(value["gpus"][0]) == {field.name for field in msgspec.structs.fields(GpuSpec)}
    assert value["gpus"][0]["memory"] == 141 << 30
    assert to_json(HOST, [], None)["gpus"] == []

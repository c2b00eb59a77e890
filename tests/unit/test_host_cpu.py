"""What the CPU is and how busy, fast and warm it is, from fake `/proc` and `/sys`."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from memtop.collectors import cpu_facts
from memtop.collectors.cpu_load import Frequency, Load, Temperature, mean_of
from memtop.collectors.files import Files
from memtop.model.specs import NumaNode
from tests.unit.host_root import GIB, write

X86 = """\
processor\t: 0
vendor_id\t: AuthenticAMD
model name\t: AMD EPYC 9654 96-Core Processor
cpu MHz\t\t: 2400.000
flags\t\t: fpu sse avx fma avx2 f16c avx512vl avx512f avx512_bf16 amx_tile amx_bf16

processor\t: 1
model name\t: another
"""

ARM = """\
processor\t: 0
BogoMIPS\t: 2000.00
Features\t: fp asimd evtstrm aes asimdhp sve i8mm bf16 sve2
CPU implementer\t: 0x41
CPU part\t: 0xd4f

processor\t: 1
"""


def files(root: Path, content: dict[str, str | int]) -> Files:
    return Files(write(root, content))


def test_x86_facts_are_those_of_the_first_cpu(tmp_path: Path) -> None:
    facts = cpu_facts.cpuinfo(files(tmp_path, {"proc/cpuinfo": X86}))
    assert cpu_facts.model(facts) == "AMD EPYC 9654 96-Core Processor"
    assert cpu_facts.vendor(facts) == "AuthenticAMD"
    expected = ("avx", "avx2", "fma", "f16c", "avx512f", "avx512_bf16", "avx512vl", "amx_tile", "amx_bf16")
    assert cpu_facts.features(facts) == expected


def test_arm_has_its_model_from_the_id_register(tmp_path: Path) -> None:
    facts = cpu_facts.cpuinfo(files(tmp_path, {"proc/cpuinfo": ARM}))
    assert (cpu_facts.model(facts), cpu_facts.vendor(facts)) == ("Neoverse-V2", "ARM")
    assert cpu_facts.features(facts) == ("asimd", "asimdhp", "sve", "sve2", "bf16", "i8mm")


def test_nothing_is_known_without_cpuinfo(tmp_path: Path) -> None:
    facts = cpu_facts.cpuinfo(Files(tmp_path))
    assert (cpu_facts.model(facts), cpu_facts.vendor(facts), cpu_facts.features(facts)) == (None, None, ())


@pytest.mark.parametrize(
    ("has", "target", "answer"),
    [
        (("avx2",), {"avx2"}, "zen3"),
        (("avx2", "amx_tile"), {"avx2"}, "zen3 or newer"),
        (("avx2", "avx_vnni"), {"avx2"}, "zen3"),
    ],
)
def test_a_cpu_with_more_than_its_archspec_target_is_newer(
    monkeypatch: pytest.MonkeyPatch, has: tuple[str, ...], target: set[str], answer: str
) -> None:
    import archspec.cpu

    monkeypatch.setattr(archspec.cpu, "host", lambda: SimpleNamespace(name="zen3"))
    monkeypatch.setattr(archspec.cpu, "TARGETS", {"zen3": SimpleNamespace(features=target)})
    assert cpu_facts.microarchitecture(has) == answer


def test_an_archspec_that_fails_leaves_the_generation_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    import archspec.cpu

    def fail() -> None:
        raise KeyError("flags")

    monkeypatch.setattr(archspec.cpu, "host", fail)
    assert cpu_facts.microarchitecture(()) is None


def topology(sockets: int, cores: int) -> dict[str, str | int]:
    """`sockets` of `cores` of two threads each, siblings `cores * sockets` apart, one L2 a core, one L3 a socket."""
    half, content = sockets * cores, dict[str, "str | int"]()
    for cpu in range(2 * half):
        core, base = cpu % half, f"sys/devices/system/cpu/cpu{cpu}"
        first = core // cores * cores
        siblings = f"{core},{core + half}"
        package = f"{first}-{first + cores - 1},{first + half}-{first + cores - 1 + half}"
        content[f"{base}/topology/thread_siblings_list"] = siblings
        content[f"{base}/topology/core_siblings_list"] = package
        rows = [("1", "Data", "48K", siblings), ("1", "Instruction", "32K", siblings)]
        rows += [("2", "Unified", "1M", siblings), ("3", "Unified", "32768K", package)]
        for index, (level, kind, size, shared) in enumerate(rows):
            cache = f"{base}/cache/index{index}"
            content |= {f"{cache}/level": level, f"{cache}/type": kind, f"{cache}/size": size}
            content[f"{cache}/shared_cpu_list"] = shared
    content["sys/devices/system/cpu/online"] = f"0-{2 * half - 1}\n"
    return content


def test_sockets_cores_and_caches_count_what_is_shared_once(tmp_path: Path) -> None:
    host = files(tmp_path, topology(sockets=2, cores=4))
    cpus = cpu_facts.online(host)
    assert len(cpus) == 16
    assert (cpu_facts.sockets(host, cpus), cpu_facts.cores(host, cpus)) == (2, 8)
    sizes = {"L1d": 8 * 48 << 10, "L1i": 8 * 32 << 10, "L2": 8 << 20, "L3": 2 * 32 << 20}
    assert cpu_facts.caches(host, cpus) == sizes


def test_without_sys_topology_is_unknown(tmp_path: Path) -> None:
    host = Files(tmp_path)
    assert cpu_facts.online(host) == frozenset()
    assert cpu_facts.cores(host, frozenset({0, 1})) is None
    assert cpu_facts.caches(host, frozenset({0, 1})) == {}
    assert cpu_facts.frequency_max(host) is None
    assert cpu_facts.numa(host) == ()


def test_the_highest_clock_of_any_cpu(tmp_path: Path) -> None:
    base = "sys/devices/system/cpu/cpufreq"
    host = files(tmp_path, {f"{base}/policy0/cpuinfo_max_freq": 3700000, f"{base}/policy8/cpuinfo_max_freq": 4100000})
    assert cpu_facts.frequency_max(host) == 4100


def test_numa_nodes(tmp_path: Path) -> None:
    base = "sys/devices/system/node"
    content: dict[str, str | int] = {
        f"{base}/node0/cpulist": "0-3\n",
        f"{base}/node0/meminfo": "Node 0 MemTotal:   2097152 kB\nNode 0 MemFree: 1 kB\n",
    }
    host = files(tmp_path, content | {f"{base}/node1/cpulist": "\n"})
    nodes = NumaNode(node=0, cpus="0-3", memory=2 * GIB), NumaNode(node=1, cpus="", memory=None)
    assert cpu_facts.numa(host) == nodes


def stat(*cpus: tuple[int, int, int, int, int]) -> dict[str, str | int]:
    """`/proc/stat` with user, nice, system, idle, iowait by CPU."""
    rows = "".join(f"cpu{n} {' '.join(map(str, row))} 0 0 0 0 0\n" for n, row in enumerate(cpus))
    return {"proc/stat": f"cpu  1 2 3 4 5 6 7 8 0 0\n{rows}intr 1 2 3\n"}


def test_load_is_the_busy_share_since_the_reading_before(tmp_path: Path) -> None:
    load = Load(files(tmp_path, stat((100, 0, 0, 100, 0), (0, 0, 0, 0, 0))))
    assert load.read() is None
    write(tmp_path, stat((120, 5, 5, 150, 20), (10, 0, 0, 0, 0)))
    assert load.read() == {0: 30.0, 1: 100.0}


def test_load_stays_where_no_tick_passed_and_is_never_out_of_bounds(tmp_path: Path) -> None:
    load = Load(files(tmp_path, stat((0, 0, 0, 0, 0))))
    load.read()
    write(tmp_path, stat((50, 0, 0, 50, 0)))
    assert load.read() == {0: 50.0}
    assert load.read() == {0: 50.0}
    write(tmp_path, stat((150, 0, 0, 50, -20)))  # iowait may go backwards
    assert load.read() == {0: 100.0}


def test_a_cpu_that_goes_offline_is_left_out(tmp_path: Path) -> None:
    load = Load(files(tmp_path, stat((0, 0, 0, 0, 0), (0, 0, 0, 0, 0))))
    load.read()
    write(tmp_path, stat((10, 0, 0, 10, 0), (10, 0, 0, 10, 0)))
    load.read()
    write(tmp_path, stat((20, 0, 0, 20, 0)))
    assert load.read() == {0: 50.0}


def test_no_proc_stat_is_unknown(tmp_path: Path) -> None:
    assert Load(Files(tmp_path)).read() is None


def test_mean_of_the_usable_cpus() -> None:
    shares = {0: 100.0, 1: 50.0, 2: 0.0}
    assert mean_of(shares, frozenset({0, 1})) == 75.0
    assert mean_of(shares, frozenset()) == 50.0
    assert mean_of({}, frozenset({0})) is None


def test_frequency_is_the_mean_over_eight_cpus_at_most(tmp_path: Path) -> None:
    base = "sys/devices/system/cpu/cpu"
    host = files(tmp_path, {f"{base}{n}/cpufreq/scaling_cur_freq": (1 + n % 2) * 1_000_000 for n in range(20)})
    frequency = Frequency(host, frozenset(range(20)))
    # Every third of 20: 0, 3, 6, 9, 12, 15, 18, of which three are odd.
    assert frequency.read() == pytest.approx(1000 * (4 * 1 + 3 * 2) / 7)


def test_frequency_of_a_virtual_machine_is_what_cpuinfo_says(tmp_path: Path) -> None:
    assert Frequency(files(tmp_path, {"proc/cpuinfo": X86}), frozenset({0})).read() == 2400
    assert Frequency(files(tmp_path, {"proc/cpuinfo": ARM}), frozenset({0})).read() is None


def test_temperature_is_the_packages_not_a_cores(tmp_path: Path) -> None:
    base = "sys/class/hwmon"
    content: dict[str, str | int] = {f"{base}/hwmon0/name": "nvme\n", f"{base}/hwmon0/temp1_input": 90000}
    for chip, celsius in ((1, 55), (2, 61)):
        content |= {f"{base}/hwmon{chip}/name": "coretemp\n", f"{base}/hwmon{chip}/temp1_label": f"Package id {chip}\n"}
        content |= {f"{base}/hwmon{chip}/temp1_input": celsius * 1000, f"{base}/hwmon{chip}/temp2_label": "Core 0\n"}
        content[f"{base}/hwmon{chip}/temp2_input"] = 99000
    assert Temperature(files(tmp_path, content)).read() == 61.0


def test_tdie_is_preferred_to_tctl_with_its_offset(tmp_path: Path) -> None:
    base = "sys/class/hwmon/hwmon0"
    content: dict[str, str | int] = {f"{base}/name": "k10temp\n", f"{base}/temp1_label": "Tctl\n"}
    content |= {f"{base}/temp1_input": 77000, f"{base}/temp2_label": "Tdie\n", f"{base}/temp2_input": 50000}
    assert Temperature(files(tmp_path, content)).read() == 50.0


def test_temperature_of_a_thermal_zone_or_none(tmp_path: Path) -> None:
    base = "sys/class/thermal/thermal_zone"
    assert Temperature(Files(tmp_path)).read() is None
    content: dict[str, str | int] = {f"{base}0/type": "acpitz\n", f"{base}0/temp": 20000}
    assert Temperature(files(tmp_path, content)).read() is None
    assert Temperature(files(tmp_path, {f"{base}1/type": "cpu-thermal\n", f"{base}1/temp": 48500})).read() == 48.5

"""CUDA_VISIBLE_DEVICES: a table, and torch's own reading of it as the reference."""

from __future__ import annotations

import os
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memtop.collectors.nvml import visible_devices

A, B, C = "GPU-aaaa1111-0", "GPU-aaaa2222-0", "GPU-cccc3333-0"
ALL = [A, B, C]
M, N = "MIG-11111111-0", "MIG-22222222-0"
BUS = {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}


@pytest.mark.parametrize(
    ("wanted", "order"),
    [
        (None, [A, B, C]),
        ("", []),
        ("-1", []),
        ("0", [A]),
        ("2,0", [C, A]),
        (" 1 , 2 ", [B, C]),
        ("0,-1,1", [A]),
        ("1,7,0", [B]),
        ("1gpu2,2ampere", [B, C]),
        ("junk", []),
        ("0,,1", [A]),
        ("1,1", []),
        ("NoDevFiles", []),
        ("GPU-aaaa1", [A]),
        ("GPU-cccc3333-0,GPU-aaaa2222-0", [C, B]),
        ("GPU-aaaa,GPU-cccc", []),
        ("GPU-cccc,GPU-zzzz,GPU-aaaa1", [C]),
        ("GPU-cccc,1", [C]),
        ("GPU-cccc,GPU-cccc3", []),
        ("GPU-", []),
    ],
)
def test_by_pci_bus(wanted: str | None, order: list[str]) -> None:
    env = BUS if wanted is None else BUS | {"CUDA_VISIBLE_DEVICES": wanted}
    assert visible_devices(ALL, env) == {uuid: f"cuda:{place}" for place, uuid in enumerate(order)}


@pytest.mark.parametrize(
    ("names", "env", "known"),
    [
        (["H200", "A100", "H200"], {}, False),
        (["H200", "A100", "H200"], {"CUDA_DEVICE_ORDER": "FASTEST_FIRST"}, False),
        (["H200", "A100", "H200"], BUS, True),
        (["H200"] * 3, {}, True),
        (["H200", None, "H200"], {}, False),
        ([None] * 3, {}, False),
        ([], {}, False),
        (["H200"] * 2, {}, False),
    ],
)
def test_an_index_means_a_gpu_only_where_the_order_is_known(
    names: list[str | None], env: dict[str, str], known: bool
) -> None:
    expected = {B: "cuda:0"} if known else {}
    assert visible_devices(ALL, env | {"CUDA_VISIBLE_DEVICES": "1"}, names) == expected
    assert visible_devices(ALL, env | {"CUDA_VISIBLE_DEVICES": "GPU-aaaa2"}, names) == {B: "cuda:0"}


def test_one_gpu_needs_no_order() -> None:
    assert visible_devices([A], {}) == {A: "cuda:0"}
    assert visible_devices([], {}) == {}


def test_instances_are_named_by_uuid_and_cuda_takes_one() -> None:
    mixed = [A, M, N, B]
    assert visible_devices(mixed, {"CUDA_VISIBLE_DEVICES": N}) == {N: "cuda:0"}
    assert visible_devices(mixed, {"CUDA_VISIBLE_DEVICES": f"{N},{M}"}) == {N: "cuda:0"}
    assert visible_devices(mixed, {"CUDA_VISIBLE_DEVICES": "MIG-1"}) == {M: "cuda:0"}
    assert visible_devices(mixed, {"CUDA_VISIBLE_DEVICES": "GPU-aaaa2"}) == {B: "cuda:0"}
    assert visible_devices(mixed, BUS | {"CUDA_VISIBLE_DEVICES": "0"}) == {}
    assert visible_devices(mixed, BUS) == {}


ENTRY = st.one_of(
    st.integers(-2, 6).map(str),
    st.sampled_from([*ALL, "GPU-aaaa", "GPU-aaaa1", "GPU-c", "GPU-zz", "MIG-1", "", " ", "x", "2x", " 1 "]),
)


@settings(deadline=None)
@given(st.lists(ENTRY, max_size=5).map(",".join))
def test_as_torch_reads_it(wanted: str) -> None:
    cuda = pytest.importorskip("torch.cuda")
    with mock.patch.dict(os.environ, {"CUDA_VISIBLE_DEVICES": wanted}):
        parsed = cuda._parse_visible_devices()
    if parsed and isinstance(parsed[0], str):
        parsed = cuda._transform_uuid_to_ordinals(parsed, ALL)
    order = []
    for index in parsed:
        if index >= len(ALL):
            break
        order.append(ALL[index])
    assert visible_devices(ALL, BUS | {"CUDA_VISIBLE_DEVICES": wanted}) == {u: f"cuda:{n}" for n, u in enumerate(order)}


@given(st.text(max_size=40), st.lists(st.sampled_from([*ALL, M, N]), unique=True, max_size=5))
def test_any_text_gives_distinct_ordinals_from_zero(wanted: str, uuids: list[str]) -> None:
    seen = visible_devices(uuids, BUS | {"CUDA_VISIBLE_DEVICES": wanted})
    assert set(seen) <= set(uuids)
    assert sorted(seen.values()) == [f"cuda:{place}" for place in range(len(seen))]

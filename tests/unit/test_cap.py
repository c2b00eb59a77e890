"""The cap of a trial on CUDA: it waits for the program to begin CUDA, and touches no device that is not used."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from memtop.probe import cap


class Cuda:
    """torch as it is with two devices, of which the second is used later."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.waiting: list[Callable[[], None]] = []
        self.set: list[tuple[int, float]] = []
        self.begun = False
        self.reserved = {0: 0, 1: 0}
        monkeypatch.setattr(cap, "_capped", set())
        monkeypatch.setattr(torch.version, "cuda", "13.0")
        monkeypatch.setattr(torch.cuda, "_lazy_call", self.waiting.append)
        monkeypatch.setattr(torch.cuda, "is_initialized", lambda: self.begun)
        monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
        monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(total_memory=1000))
        monkeypatch.setattr(
            torch.cuda, "set_per_process_memory_fraction", lambda share, device: self.set.append((device, share))
        )
        monkeypatch.setattr(torch._C, "_cuda_memoryStats", self.stats, raising=False)

    def stats(self, device: int) -> dict[str, Any]:
        return {"reserved_bytes": {"all": {"current": self.reserved[device]}}}


def test_the_cap_waits_for_cuda_and_follows_to_devices_that_come_to_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = Cuda(monkeypatch)
    monkeypatch.setenv(cap.VARIABLE, "250")
    cap.await_cuda()
    cap.cap_others()
    assert cuda.set == []
    [begin] = cuda.waiting
    cuda.begun = True
    begin()
    assert cuda.set == [(0, 0.25)]
    cap.cap_others()
    assert cuda.set == [(0, 0.25)], "the other device is not touched"
    cuda.reserved = {0: 100, 1: 2}
    cap.cap_others()
    cap.cap_others()
    assert cuda.set == [(0, 0.25), (1, 0.25)]


def test_a_cap_beyond_the_device_is_the_whole_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = Cuda(monkeypatch)
    monkeypatch.setenv(cap.VARIABLE, "5000")
    cap.await_cuda()
    cuda.waiting[0]()
    assert cuda.set == [(0, 1.0)]


@pytest.mark.parametrize("said", [None, "", "much"])
def test_nothing_is_capped_where_nobody_asks(monkeypatch: pytest.MonkeyPatch, said: str | None) -> None:
    cuda = Cuda(monkeypatch)
    if said is None:
        monkeypatch.delenv(cap.VARIABLE, raising=False)
    else:
        monkeypatch.setenv(cap.VARIABLE, said)
    cuda.begun, cuda.reserved = True, {0: 1, 1: 1}
    cap.await_cuda()
    cap.cap_others()
    assert (cuda.waiting, cuda.set) == ([], [])


def test_what_breaks_there_does_not_reach_the_programs_first_use_of_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = Cuda(monkeypatch)
    monkeypatch.setenv(cap.VARIABLE, "250")
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 1 / 0)
    cap.await_cuda()
    cuda.waiting[0]()
    assert cuda.set == []

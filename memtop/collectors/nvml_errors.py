"""The one place where NVML's errors become "not available", each with a calm reason that is said once."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from memtop.model.text import harmless


class Unavailable(msgspec.Struct, frozen=True, kw_only=True):
    """Why there is no NVML at all, in a line fit for a screen."""

    reason: str
    remedy: str | None


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """What an NVML error means to a person."""

    reason: str
    remedy: str | None = None
    lasting: bool = False
    """The same call on the same device will fail again: it is not made again."""
    whole: bool = False
    """No other call on the device can succeed now."""


_RELOAD: Final = "reboot, or reload the NVIDIA kernel modules"
_NOT_SUPPORTED: Final = Fault(reason="not supported by this GPU", lasting=True)
_NOT_FOUND: Final = Fault(reason="the driver is too old for it", remedy="update the NVIDIA driver", lasting=True)
_LOST: Final = Fault(
    reason="the GPU is lost: it has fallen off the bus",
    remedy="look for Xid in the kernel's log (dmesg), then reboot",
    whole=True,
)
_RESET: Final = Fault(
    reason="the GPU must be reset before it can be used again", remedy="nvidia-smi --gpu-reset, or reboot", whole=True
)
_UNREADABLE: Final = Fault(reason="the driver's answer can't be read")
_NO_DRIVER: Final = Fault(
    reason="no NVIDIA driver: libnvidia-ml.so.1 was not found",
    remedy="with an NVIDIA GPU: install its driver; in a container: start it with --gpus all",
)

_FAULTS: Final[dict[int, Fault]] = {
    1: Fault(reason="the driver's library is not initialized", whole=True),
    2: Fault(reason="the driver refused the question"),
    3: _NOT_SUPPORTED,
    4: Fault(reason="no permission", remedy="ask the administrator for access to /dev/nvidia*"),
    6: Fault(reason="the driver does not know it"),
    7: Fault(reason="the answer changed while it was read"),
    8: Fault(reason="the GPU's power cables are not attached", remedy="attach them", whole=True),
    9: Fault(
        reason="the NVIDIA driver's kernel module is not loaded",
        remedy="modprobe nvidia; in a container: start it with --gpus all",
        whole=True,
    ),
    10: Fault(reason="the driver did not answer in time"),
    11: Fault(reason="the kernel reports an interrupt problem with the GPU", remedy=_RELOAD, whole=True),
    12: _NO_DRIVER,
    13: _NOT_FOUND,
    14: Fault(reason="the GPU's infoROM is corrupted"),
    15: _LOST,
    16: _RESET,
    17: Fault(reason="the operating system blocks it (a cgroup, perhaps)"),
    18: Fault(
        reason="the NVIDIA driver's library and its kernel module are of different versions",
        remedy=f"the driver was updated: {_RELOAD}",
        whole=True,
    ),
    25: Fault(reason="the driver knows another version of it", remedy="update the NVIDIA driver", lasting=True),
    26: Fault(reason="the driver no longer offers it", lasting=True),
    28: _LOST,
}

SENTINELS: Final = frozenset((2**64 - 1, 2**32 - 1))
"""NVML's "value not available" for 64 and 32 bits: never a figure, though WSL2 and WDDM drivers hand them out."""

NOT_SAID: Final = "the driver does not say"


def fault_of(library: Any, error: Exception) -> Fault:
    """What an exception out of `library` (the pynvml module) means."""
    if isinstance(error, library.NVMLError):
        code = getattr(error, "value", None)
        known = _FAULTS.get(code) if isinstance(code, int) else None
        return known or Fault(reason=f"NVML error {code}: {harmless(str(error), 80)}")
    if isinstance(error, (AttributeError, getattr(library, "NVMLLibraryMismatchError", AttributeError))):
        return _NOT_FOUND
    return _UNREADABLE


class _Heard(msgspec.Struct):
    """What one device's calls have come to."""

    never: dict[tuple[Any, ...], Fault] = msgspec.field(default_factory=dict)
    said: set[tuple[str, str]] = msgspec.field(default_factory=set)
    fresh: dict[str, list[str]] = msgspec.field(default_factory=dict)
    gone: Fault | None = None


class Calls:
    """Makes NVML calls and never raises. Not thread-safe: its owner holds a lock."""

    def __init__(self, library: Any) -> None:
        self.library = library
        self.why: Fault | None = None
        """Why the question last asked had no answer; `None` where it had one."""
        self._heard: dict[str, _Heard] = {}

    def _of(self, device: str) -> _Heard:
        return self._heard.setdefault(device, _Heard())

    def begin(self, device: str) -> None:
        """Start a round of calls on a device: one that was gone is asked again."""
        self._of(device).gone = None

    def gone(self, device: str) -> Fault | None:
        """Why no call on the device can succeed, by the round of calls last begun."""
        return self._of(device).gone

    def ask(self, device: str, what: str | None, names: str | tuple[str, ...], *arguments: Any) -> Any:
        """The answer of the first of `names` that has one; `None` where none has, or where it is a sentinel.

        `what` is the figure's name in the note that says why it is missing; without it nothing is said. The first
        of `arguments` is a handle (or nothing): the others tell questions apart that the device will never answer.
        """
        heard = self._of(device)
        self.why = None
        for name in (names,) if isinstance(names, str) else names:
            answer, fault = self._call(heard, name, arguments)
            if fault is None:
                return self._known(device, what, answer)
            if self.why in (None, _NOT_FOUND):
                self.why = fault
        if what and self.why and not self.why.whole:
            self.say(device, what, self.why.reason)
        return None

    def _known(self, device: str, what: str | None, answer: Any) -> Any:
        self.why = None
        if not (isinstance(answer, int) and answer in SENTINELS):
            return answer
        if what:
            self.say(device, what, NOT_SAID)
        return None

    def _call(self, heard: _Heard, name: str, arguments: tuple[Any, ...]) -> tuple[Any, Fault | None]:
        call = (name, *arguments[1:])
        known = heard.gone or heard.never.get(call)
        if known:
            return None, known
        try:
            return getattr(self.library, name)(*arguments), None
        except Exception as error:
            fault = fault_of(self.library, error)
        self._remember(heard, call, fault)
        return None, fault

    def _remember(self, heard: _Heard, call: tuple[Any, ...], fault: Fault) -> None:
        if fault.lasting:
            heard.never[call] = fault
        if fault.whole:
            heard.gone = fault

    def say(self, device: str, what: str, reason: str) -> None:
        """Put `what: reason` into the device's next notes, unless it was said in this run."""
        heard = self._of(device)
        if (what, reason) not in heard.said:
            heard.said.add((what, reason))
            heard.fresh.setdefault(reason, []).append(what)

    def notes(self, device: str) -> list[str]:
        """What is to be said of the device now: figures with the same reason share a line."""
        heard = self._of(device)
        if heard.gone and ("", heard.gone.reason) not in heard.said:
            heard.said.add(("", heard.gone.reason))
            heard.fresh.setdefault(line(heard.gone), [])
        lines = [f"{', '.join(whats)}: {reason}" if whats else reason for reason, whats in heard.fresh.items()]
        heard.fresh.clear()
        return lines


def line(fault: Fault) -> str:
    """A fault with its remedy in one line."""
    return f"{fault.reason} ({fault.remedy})" if fault.remedy else fault.reason

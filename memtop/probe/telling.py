"""What the probe says of a watched step that is not a deep look: bytes by category at its moments, and the model."""

from __future__ import annotations

from typing import Any

from . import allocator, cap, describe, wire
from .clock import Clock
from .inputs import Inputs
from .oom import Ooms
from .storages import Ledger
from .tracker import CATEGORIES, Tracker
from .transport import Transport


class Telling:
    """The part of the probe that puts readings into records."""

    _link: Transport
    _inputs: Inputs
    _tracker: Tracker
    _clock: Clock
    _ooms: Ooms
    _forward_seen: bool
    _described: dict[str, Any] | None
    _facts: dict[str, Any]

    def _report(self, moment: str, ledger: Ledger) -> None:
        """One memory record for each device that holds something of the model."""
        devices = set(ledger.bytes) if len(ledger.bytes) == 1 else _homes(ledger)
        for device in sorted(devices):
            known = ledger.bytes.get(device, {})
            bytes_: dict[str, int | None] = {name: known.get(name, 0) for name in CATEGORIES}
            if moment != "forward_end" and not self._forward_seen:
                bytes_["activations"] = None
            facts = {"device": device, "step": self._clock.step + 1, "moment": moment, "tier": "graph", "where": None}
            bytes_ |= {"temporaries": None, "other_tensors": None}
            counted = allocator.counters(device)
            notes = sorted(self._tracker.notes)
            self._link.send(wire.memory(facts | {"bytes": bytes_, "allocator": counted, "notes": notes}))

    def _describe(self) -> None:
        """A `model` record, when the model or the shape of its inputs has changed."""
        if not self._facts["devices"] and (facts := allocator.facts())["devices"]:
            self._facts = facts
            self._link.send(wire.hello(facts))
            self._ooms.attach()
        cap.cap_others()
        described = describe.model(self._tracker, self._inputs)
        if described != self._described:
            self._described = described
            self._link.send(wire.model(described))


def _homes(ledger: Ledger) -> set[str]:
    """Devices with more than a stray scalar of state on them: where the parameters are, else all."""
    home = {device for device, known in ledger.bytes.items() if known.get("parameters")}
    return home or set(ledger.bytes)

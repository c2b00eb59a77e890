"""The loss, read without waiting for a device and without an operator that somebody's dispatch mode would see."""

from __future__ import annotations

import ctypes
import struct
from typing import Any

import torch


class Loss:
    """The value of the newest watched root of backward."""

    def __init__(self) -> None:
        self.value: float | None = None
        self._copy: Any = None
        self._ready: Any = None

    def saw(self, root: Any) -> None:
        """Backward begins at `root`. Scalars alone are taken for a loss."""
        if root.numel() != 1 or root.layout is not torch.strided:
            return
        if root.device.type == "cpu":
            self.value = _scalar(root)
        elif root.device.type == "cuda" and not torch.cuda.is_current_stream_capturing():
            self._send(root)

    def poll(self) -> None:
        """Take over a copy that has arrived. Never waits."""
        if self._ready is not None and self._ready.query():
            self.value = _scalar(self._copy)
            self._copy = self._ready = None

    def _send(self, root: Any) -> None:
        """Start a copy to pinned memory; it is read at a later moment."""
        if self._ready is not None:
            return
        with torch.no_grad(), torch._C._DisableTorchDispatch():
            self._copy = torch.empty((), dtype=root.dtype, pin_memory=True)
            self._copy.copy_(root.detach().reshape(()), non_blocking=True)
            self._ready = torch.cuda.Event()
            self._ready.record()


def _scalar(tensor: Any) -> float | None:
    """A CPU scalar read from its address; `None` for types that no loss has."""
    raw = ctypes.string_at(tensor.data_ptr(), tensor.element_size())
    if tensor.dtype is torch.bfloat16:
        return float(struct.unpack("<f", b"\0\0" + raw)[0])
    formats = {torch.float32: "f", torch.float64: "d", torch.float16: "e"}
    code = formats.get(tensor.dtype)
    return None if code is None else float(struct.unpack("=" + code, raw)[0])

"""What a sum over rows takes of a CUDA device while it runs: where many blocks work on one output, each puts its part
into a buffer.

The arithmetic of aten/src/ATen/native/cuda/Reduce.cuh (torch 2.14): `setReduceConfig`, `global_memory_size`.
"""

from __future__ import annotations

from typing import Final

_THREADS: Final = 512
_WARP: Final = 32
_LEAST, _MOST = 16, 256
"""Values that a thread sums at least before the rows are shared out among blocks, and at most."""
SMS: Final = 132
"""Multiprocessors of the device, and the threads of one: those of an H100. A smaller device takes no more."""
_RESIDENT: Final = 2048


def scratch(rows: int, columns: int, size: int = 4, sms: int = SMS) -> int:
    """Bytes of the buffer for `columns` sums over `rows` rows that lie one behind another; `size` bytes an element as
    it is added up. 0 where each sum is one block's work."""
    vector = next(one for one in (4, 2, 1) if columns % one == 0)
    wide, threads = columns // vector, _THREADS // vector
    width = min(_power(wide, threads), _WARP)
    height = min(_power(rows, threads), threads // width)
    width = min(_power(wide, threads), threads // height)
    if rows < height * _LEAST and rows < _MOST:
        return 0  # Each warp has outputs of its own.
    values = -(-rows // height)
    grid, target = -(-wide // width), sms * (_RESIDENT // (width * height))
    if values < _MOST or grid > target:
        return 0
    blocks = max(min(-(-target // grid), -(-values // _LEAST)), -(-values // _MOST))
    return size * columns * blocks * width * vector if blocks > 1 else 0


def _power(number: int, most: int) -> int:
    """The largest power of two that is not above `number`, and `most` at most."""
    return most if number >= most else 1 << (number.bit_length() - 1)

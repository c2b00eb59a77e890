"""What the storages of a look were made of, for the question which of them grow with the batch (`scaling.py`)."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import torch

KEEPS, REDUCES, MULTIPLIES, BATCHED = range(4)
"""What an operator may do to the batch dimension: nothing that needs a word here, reduce it, contract it in a matrix
product. A product of batches of matrices keeps it, but may make or contract the length of sequences."""
_REDUCING = frozenset(
    f"aten::{name}"
    for name in (
        *("sum", "nansum", "mean", "nanmean", "prod", "amax", "amin", "max", "min", "argmax", "argmin", "any", "all"),
        *("var", "std", "var_mean", "std_mean", "norm", "linalg_vector_norm", "logsumexp", "median"),
    )
)
_PRODUCTS = frozenset({"aten::mm", "aten::addmm"})
_BATCHED = frozenset({"aten::bmm", "aten::baddbmm"})
_folds: dict[Any, int] = {}
_storage = torch._C.TensorBase.untyped_storage


class Origins:
    """Written while the step runs: flat lists of numbers, for a container a birth would bring on collections."""

    def __init__(self, live: dict[int, int], refs: list[Any]) -> None:
        """`live` and `refs` are the look's: the newest birth by its storage's address, and a reference to each."""
        self._live, self._refs = live, refs
        self._flat: list[int] = []
        """A birth's number as `~number`, then the births that its operator read."""
        self.shrunk: dict[int, tuple[tuple[int, ...], Any]] = {}
        """By birth: the shape that its operator read, and the dimensions that it reduced."""
        self.products: dict[int, bool] = {}
        """By birth of a product of two matrices: whether it sums over the outermost dimension of both."""
        self.inner: dict[int, tuple[bool, int]] = {}
        """By birth of any product of matrices: that, and the size of the dimension it sums over."""

    def add(self, number: int, operator: Any, arguments: tuple[Any, ...]) -> None:
        """A birth, the operator that made it, and what that read. Storages that the look has not seen are left out."""
        live, refs, keep = self._live, self._refs, self._flat.append
        keep(~number)
        for given in arguments:
            for one in given if type(given) is list or type(given) is tuple else (given,):
                if isinstance(one, torch.Tensor):
                    try:
                        found = live.get(_storage(one)._cdata)
                    except (NotImplementedError, RuntimeError, TypeError):
                        continue
                    if found is not None and refs[found]() is not None:
                        keep(found)
        how = _folds.get(operator)
        if how is None:
            how = _folds[operator] = folding(operator)
        if how == REDUCES and len(arguments) > 1:
            self.shrunk[number] = (arguments[0].shape, arguments[1])
        elif how == MULTIPLIES:
            self.products[number] = lost = contracts(*arguments[-2:])
            self.inner[number] = lost, arguments[-2].shape[-1]
        elif how == BATCHED:
            self.inner[number] = sums_outer(*arguments[-2:]), arguments[-2].shape[-1]

    def __iter__(self) -> Iterator[tuple[int, list[int]]]:
        """(birth, what its operator read), in the order of the births."""
        flat = self._flat
        starts = [place for place, number in enumerate(flat) if number < 0]
        for begin, end in pairwise([*starts, len(flat)]):
            yield ~flat[begin], flat[begin + 1 : end]


def folding(operator: Any) -> int:
    """How an operator may lose a dimension of what it reads."""
    name = getattr(getattr(operator, "_schema", None), "name", "")
    if name in _PRODUCTS or name in _BATCHED:
        return MULTIPLIES if name in _PRODUCTS else BATCHED
    return REDUCES if name in _REDUCING else KEEPS


def contracts(left: Any, right: Any) -> bool:
    """Whether the product of two matrices sums over the outermost dimension of both: batches lie outermost in memory,
    so such a product has lost theirs. A sum over one element is none."""
    if left.dim() != 2 or right.dim() != 2 or left.shape[1] == 1:
        return False
    return sums_outer(left, right)


def sums_outer(left: Any, right: Any) -> bool:
    """Whether the dimension that a product of matrices (or of batches of them) sums over is the outer one of both."""
    return bool(left.stride(-1) >= left.stride(-2) and right.stride(-2) >= right.stride(-1))

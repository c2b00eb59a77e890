"""Batches as a session would tell them: pictures in colour and in gray, ids of a text, a table."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from memtop.model.batch import BatchColumn, BatchPicture, BatchSample, BatchTensor
from memtop.model.snapshot import Snapshot

from .deep_fakes import LOOK_T, deep_cnn

WAVES = [3, 5, 9, 14, 22, 31, 40, 52, 60, 66, 70, 71, 70, 66, 60, 52, 40, 31, 22, 14, 9, 5, 3, 1]


def tensor(name: str, shape: list[int], **changes: Any) -> BatchTensor:
    """Normalised floats of the loader, unless told otherwise."""
    facts: dict[str, Any] = {
        "place": "loader", "dtype": "float32", "device": "cpu", "bytes": 4, "kind": "other", "layout": None,
        "unread": None, "looked": 1, "low": -2.1, "high": 2.4, "mean": 0.013, "nonfinite": 0, "histogram": WAVES,
        "first": [], "distinct": None, "columns": [],
    }  # fmt: skip
    return BatchTensor(name=name, shape=shape, **(facts | changes))


def labels(count: int, *values: float) -> BatchTensor:
    """A label a sample."""
    return tensor(
        "1", [count], dtype="int64", bytes=8 * count, kind="labels", looked=count, low=0, high=9, mean=4.4,
        first=[[one] for one in values], distinct=10, histogram=[],
    )  # fmt: skip


def colour() -> BatchSample:
    """Bytes that the script makes floats of and normalises on the way."""
    size = 64 * 3 * 32 * 32
    image = {"kind": "image", "layout": "CHW", "looked": size}
    loaded = tensor("0", [64, 3, 32, 32], dtype="uint8", bytes=size, low=0, high=255, mean=120.7, **image)
    entered = tensor("0", [64, 3, 32, 32], place="root", bytes=4 * size, device="cuda:0", **image)
    pixels = [
        bytes(v for y in range(32) for x in range(32) for v in (8 * x, 8 * y, (60 * shift) % 256)) for shift in range(4)
    ]
    picture = BatchPicture(tensor=0, width=32, height=32, channels=3, black=0, white=255, pixels=pixels)
    tensors = [loaded, labels(64, 3, 8, 8, 0), entered]
    return BatchSample(t=LOOK_T, step=2, tensors=tensors, picture=picture)


def gray() -> BatchSample:
    """A disc, with channels last."""
    disc = bytes(255 if (x - 14) ** 2 + (y - 14) ** 2 < 100 else 30 for y in range(28) for x in range(28))
    image = tensor("image", [16, 28, 28, 1], bytes=16 * 784 * 4, kind="image", layout="HWC", looked=16 * 784)
    picture = BatchPicture(tensor=0, width=28, height=28, channels=1, black=-2.1, white=2.4, pixels=[disc])
    return BatchSample(t=LOOK_T, step=2, tensors=[image], picture=picture)


def text() -> BatchSample:
    """Ids and what shall follow them."""
    rows = [[float((7 * row + 13 * place) % 67) for place in range(32)] for row in range(8)]
    ids = {"dtype": "int64", "bytes": 16384, "kind": "tokens", "looked": 2048, "low": 0, "high": 66, "distinct": 54}
    tensors = [
        tensor("0", [8, 256], first=rows, **ids),
        tensor("1", [8, 256], first=[[*row[1:], 1.0] for row in rows], **ids),
        tensor("0", [8, 256], place="root", first=rows, **ids),
    ]
    return BatchSample(t=LOOK_T, step=2, tensors=tensors, picture=None)


def table() -> BatchSample:
    """Four columns, one of them without a finite value."""
    columns = [BatchColumn(low=4.3, mean=5.843, high=7.9), BatchColumn(low=2, mean=3.057, high=4.4)]
    columns += [BatchColumn(low=None, mean=None, high=None), BatchColumn(low=0.1, mean=1.199, high=2.5)]
    rows = tensor(
        "0", [150, 4], bytes=2400, kind="table", looked=600, low=0.1, high=7.9, mean=3.46, nonfinite=150,
        columns=columns, first=[[5.1, 3.5, None, 0.2], [4.9, 3.0, None, 0.2]],
    )  # fmt: skip
    return BatchSample(t=LOOK_T, step=2, tensors=[rows, labels(150, 0, 2)], picture=None)


def fed(batch: BatchSample) -> Snapshot:
    """cnn with a deep look, and this batch."""
    return replace(deep_cnn(), batch=batch)

"""A mark of `memtop.track()` as text: the table that line-by-line trackers print."""

from __future__ import annotations

from math import prod
from typing import Any

from memtop.model.snapshot import TensorGroup, Tracked
from memtop.model.tracked_text import lines


def group(count: int, *shape: int, **changes: Any) -> TensorGroup:
    fields: dict[str, Any] = {"dtype": "float32", "kind": "Parameter", "device": "cpu"}
    return TensorGroup(shape=shape, count=count, bytes=count * prod(shape) * 4, **(fields | changes))


def mark(**changes: Any) -> Tracked:
    fields: dict[str, Any] = {"t": 1.0, "place": "train.py:31", "label": "", "gained": (), "lost": (), "total": 0}
    return Tracked(**(fields | changes))


VGG19 = [
    *(group(8, 512), group(4, 256), group(2, 128), group(2, 64)),
    *(group(1, 64, 3, 3, 3), group(1, 64, 64, 3, 3), group(1, 128, 64, 3, 3), group(1, 128, 128, 3, 3)),
    *(group(1, 256, 128, 3, 3), group(3, 256, 256, 3, 3), group(1, 512, 256, 3, 3), group(7, 512, 512, 3, 3)),
]
"""The convolutions of a VGG-19, closed forms: weights and biases."""


def test_the_largest_tensors_come_first() -> None:
    table = lines(mark(label="the stack", gained=tuple(VGG19), total=80_097_536))
    assert table == [
        "train.py:31 the stack",
        "  + 7 x (512, 512, 3, 3)  float32  Parameter  66,060,288",
        "  + 1 x (512, 256, 3, 3)  float32  Parameter   4,718,592",
        "  + 3 x (256, 256, 3, 3)  float32  Parameter   7,077,888",
        "  + 1 x (256, 128, 3, 3)  float32  Parameter   1,179,648",
        "  + 1 x (128, 128, 3, 3)  float32  Parameter     589,824",
        "  + 1 x (128, 64, 3, 3)   float32  Parameter     294,912",
        "  + 1 x (64, 64, 3, 3)    float32  Parameter     147,456",
        "  + 1 x (64, 3, 3, 3)     float32  Parameter       6,912",
        "  + 8 x (512,)            float32  Parameter      16,384",
        "  + 4 x (256,)            float32  Parameter       4,096",
        "  + 2 x (128,)            float32  Parameter       1,024",
        "  + 2 x (64,)             float32  Parameter         512",
        "  = 80,097,536 B in all: + 80,097,536 B, - 0 B",
    ]


def test_lost_comes_after_gained() -> None:
    lost = (group(1, 40, 3, 512, 512, kind="Tensor"), group(1, 120, 3, 512, 512, kind="Tensor"))
    assert lines(mark(gained=(group(1),), lost=lost, total=4)) == [
        "train.py:31",
        "  + 1 x ()                  float32  Parameter            4",
        "  - 1 x (120, 3, 512, 512)  float32  Tensor     377,487,360",
        "  - 1 x (40, 3, 512, 512)   float32  Tensor     125,829,120",
        "  = 4 B in all: + 4 B, - 503,316,480 B",
    ]


def test_nothing_is_said_plainly() -> None:
    assert lines(mark(total=1234)) == ["train.py:31", "  nothing new, nothing gone", "  = 1,234 B in all"]


def test_a_device_is_named_where_it_is_not_the_cpu_alone() -> None:
    both = (group(1000, 2), group(1, 4, device="cuda:0"))
    rows = lines(mark(gained=both, total=8016))
    assert rows[1:3] == [
        "  +     1 x (4,)  float32  Parameter  cuda:0     16",
        "  + 1,000 x (2,)  float32  Parameter  cpu     8,000",
    ]


def test_bytes_are_exact_and_words_harmless() -> None:
    huge = group(1, (1 << 53) + 1, kind="\x1b[31mMine\n", dtype="int8")
    text = "\n".join(lines(mark(place="a\x1b]0;x\x07.py:1", label="b\nc", gained=(huge,))))
    assert "\x1b" not in text
    assert text.startswith("a.py:1 b c\n")
    assert f"{((1 << 53) + 1) * 4:,}" in text
    assert "  Mine  " in text

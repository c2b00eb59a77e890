"""What is told of a batch: its kinds, figures and pictures, whatever is in it."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

torch = pytest.importorskip("torch", reason="the probe lives in a process that has torch")

from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402

from memtop.model.batch import BatchSample  # noqa: E402
from memtop.probe.guess import guess  # noqa: E402
from memtop.probe.sample import _COPY, Samples  # noqa: E402
from memtop.protocol import records  # noqa: E402
from memtop.session import batches  # noqa: E402


@pytest.fixture(autouse=True)
def no_random_number_is_drawn() -> Iterator[None]:
    before = torch.get_rng_state()
    yield
    assert torch.equal(before, torch.get_rng_state())


def told(*loaded: Any, given: tuple[Any, ...] = ()) -> BatchSample:
    """A batch through the probe, the wire and the session."""
    samples = Samples(7)
    if loaded:
        samples.loaded(loaded[0] if len(loaded) == 1 else loaded)
    if given:
        samples.entered(given, {})
    record = samples.record()
    assert record is not None
    line = json.dumps(record, allow_nan=False).encode()
    assert len(line) < 1 << 16
    message = records.decode(line)
    assert isinstance(message, records.Batch)
    found = batches.sample(1.0, message)
    assert found is not None
    return found


def ramp(*shape: int, dtype: Any = torch.float32) -> Any:
    """0, 1, 2, ... in this shape."""
    count = 1
    for size in shape:
        count *= size
    return torch.arange(count).reshape(shape).to(dtype)


def test_gray_pictures_with_labels() -> None:
    found = told([ramp(4, 1, 28, 28) / 3135, torch.tensor([3, 1, 4, 1])])
    image, labels = found.tensors
    assert (image.kind, image.layout, image.shape, image.bytes) == ("image", "CHW", [4, 1, 28, 28], 4 * 784 * 4)
    assert (image.low, image.high, image.looked) == (0.0, 1.0, 3136)
    assert image.mean == pytest.approx(0.5)
    assert sum(image.histogram) == 3136
    assert max(image.histogram) - min(image.histogram) <= 1, "a ramp fills all parts alike"
    assert labels.first == [[3.0], [1.0], [4.0], [1.0]]
    assert labels.distinct == 3
    picture = found.picture
    assert picture is not None
    assert (picture.tensor, picture.width, picture.height, picture.channels) == (0, 28, 28, 1)
    assert (picture.black, picture.white, len(picture.pixels)) == (0.0, 1.0, 4)
    assert picture.pixels[0] == bytes(round(255 * i / 3135) for i in range(784))


def test_bytes_in_colour_keep_their_scale() -> None:
    images = ramp(2, 3, 8, 8, dtype=torch.uint8)
    picture = told(images).picture
    assert picture is not None
    assert (picture.black, picture.white, picture.channels) == (0.0, 255.0, 3)
    assert picture.pixels[1] == bytes(images[1].permute(1, 2, 0).reshape(-1).tolist())


def test_channels_last_is_told_and_drawn_the_same() -> None:
    images = ramp(2, 9, 8, 3, dtype=torch.uint8)
    found = told(images)
    assert found.tensors[0].layout == "HWC"
    picture = found.picture
    assert picture is not None
    assert (picture.width, picture.height) == (8, 9)
    assert picture.pixels[0] == bytes(images[0].reshape(-1).tolist())


def test_normalised_values_are_stretched_to_their_own_range() -> None:
    picture = told(torch.linspace(-2, 3, 64).reshape(1, 1, 8, 8)).picture
    assert picture is not None
    assert (picture.black, picture.white) == (-2.0, 3.0)
    assert (picture.pixels[0][0], picture.pixels[0][-1]) == (0, 255)


def test_a_large_picture_is_thinned_and_stays_small_on_the_wire() -> None:
    found = told(ramp(1, 3, 1000, 600))
    picture = found.picture
    assert picture is not None
    assert max(picture.width, picture.height) <= 64
    assert len(picture.pixels[0]) == picture.width * picture.height * 3
    assert found.tensors[0].looked * 4 <= _COPY


def test_rows_of_784_are_pictures_laid_flat() -> None:
    found = told(ramp(2, 784))
    assert found.tensors[0].layout == "flat"
    assert found.picture is not None
    assert (found.picture.width, found.picture.height) == (28, 28)


def test_tokens() -> None:
    ids = ramp(3, 50, dtype=torch.int64) % 20
    tokens = told(ids).tensors[0]
    assert (tokens.kind, tokens.low, tokens.high, tokens.distinct) == ("tokens", 0, 19, 20)
    assert tokens.first[1] == [float(one) for one in ids[1, :32].tolist()]
    assert told(ids).picture is None


def test_a_table_by_columns() -> None:
    table = told(torch.tensor([[1.0, -1.0], [3.0, float("nan")]])).tensors[0]
    assert table.kind == "table"
    assert [(one.low, one.mean, one.high) for one in table.columns] == [(1.0, 2.0, 3.0), (-1.0, -1.0, -1.0)]
    assert table.first == [[1.0, -1.0], [3.0, None]]
    assert (table.nonfinite, table.looked, table.low, table.high) == (1, 4, -1.0, 3.0)


def test_nothing_finite_has_no_range() -> None:
    image = told(torch.full((1, 1, 8, 8), float("inf"))).tensors[0]
    assert (image.low, image.high, image.mean, image.histogram) == (None, None, None, [])
    assert image.nonfinite == 64


@pytest.mark.parametrize(
    "dtype",
    [torch.uint8, torch.bool, torch.float16, torch.bfloat16, torch.float64, torch.complex64, torch.int64, torch.int8,
     torch.uint16, torch.uint64, torch.float8_e4m3fn],
)  # fmt: skip
def test_any_dtype_is_drawn_or_its_silence_has_a_reason(dtype: Any) -> None:
    found = told((ramp(2, 1, 8, 8) % 2).to(dtype))
    image = found.tensors[0]
    assert (image.dtype, image.unread) == (str(dtype)[6:], None)
    assert (image.low, image.high, image.mean) == (0, 1, 0.5)
    assert found.picture is not None
    assert set(found.picture.pixels[0]) == ({0, 1} if dtype is torch.uint8 else {0, 255})


@pytest.mark.parametrize("shape", [(0, 3, 8, 8), (4, 0), (0,), (0, 784), (2, 1, 0, 8)])
def test_an_empty_batch_has_no_figures(shape: tuple[int, ...]) -> None:
    found = told(torch.empty(shape))
    assert (found.tensors[0].looked, found.tensors[0].low, found.picture) == (0, None, None)


def test_a_scalar_and_five_dimensions_are_other() -> None:
    assert told(torch.tensor(3.0)).tensors[0].kind == "other"
    assert told(ramp(1, 2, 3, 4, 5)).tensors[0].kind == "other"


def test_nests_are_told_by_their_keys() -> None:
    batch = {"image": ramp(2, 3, 8, 8), "target": {"label": torch.tensor([1, 2])}, "name": ["a", "b"]}
    assert [one.name for one in told(batch).tensors] == ["image", "target.label"]


def test_loader_and_model_are_told_beside_each_other() -> None:
    images = ramp(2, 1, 8, 8, dtype=torch.uint8)
    found = told([images, torch.tensor([0, 1])], given=(images.float() / 255,))
    assert [(one.place, one.name, one.dtype) for one in found.tensors] == [
        ("loader", "0", "uint8"), ("loader", "1", "int64"), ("root", "0", "float32"),
    ]  # fmt: skip
    assert found.picture is not None
    assert found.picture.tensor == 0


def test_the_first_batch_of_a_step_is_the_one() -> None:
    samples = Samples(1)
    samples.loaded(ramp(2, 2))
    samples.loaded(ramp(5, 5))
    record = samples.record()
    assert record is not None
    assert [one["shape"] for one in record["tensors"]] == [[2, 2]]


def test_nothing_taken_is_nothing_told() -> None:
    samples = Samples(1)
    samples.loaded("words")
    assert samples.record() is None


def test_what_cannot_be_read_has_a_reason() -> None:
    from torch.testing._internal.two_tensor import TwoTensor

    assert told(torch.eye(9).to_sparse()).tensors[0].unread == "it is not dense"
    assert told(torch.empty(2, 2, device="meta")).tensors[0].unread == "values on meta are not read"
    two = TwoTensor(torch.ones(2, 2), torch.ones(2, 2))
    assert told(two).tensors[0].unread == "it is a tensor of a kind of its own"


def test_the_persons_tensor_is_neither_kept_nor_changed_nor_seen_by_a_mode() -> None:
    class Counting(TorchDispatchMode):
        count = 0

        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            self.count += 1
            return func(*args, **(kwargs or {}))

    images = ramp(2, 1, 8, 8)
    with Counting() as mode:
        samples = Samples(1)
        samples.loaded(images)
        images.add_(1000)
        told_after = mode.count
        record = samples.record()
    assert told_after == mode.count == 1, "only the person's own operator was seen"
    assert record is not None
    assert record["tensors"][0]["high"] == 127
    assert images._version == 1
    assert samples._taken["loader"][0].values.data_ptr() != images.data_ptr()


def test_the_largest_record_is_within_its_bounds() -> None:
    tensors = [ramp(16, 3, 64, 64)] + [ramp(64, 40) for _ in range(20)]
    found = told(tensors, given=tuple(tensors))
    assert len(found.tensors) == 10
    assert found.picture is not None
    assert sum(map(len, found.picture.pixels)) <= 12_288


@pytest.mark.parametrize(
    ("shape", "dtype", "expected"),
    [
        ((4, 3, 32, 32), "float32", ("image", "CHW")),
        ((4, 32, 32, 3), "uint8", ("image", "HWC")),
        ((4, 3, 32, 3), "float32", ("image", "CHW")),
        ((4, 12, 32, 32), "float32", ("image", "CHW")),
        ((4, 28, 28), "uint8", ("image", "HW")),
        ((4, 30, 64), "float32", ("other", None)),
        ((4, 10), "float32", ("table", None)),
        ((4, 10), "int64", ("tokens", None)),
        ((4, 784), "float32", ("image", "flat")),
        ((4,), "int64", ("labels", None)),
        ((), "float32", ("other", None)),
    ],
)
def test_guesses(shape: tuple[int, ...], dtype: str, expected: tuple[str, str | None]) -> None:
    assert guess(shape, dtype) == expected


# -- what a hostile target may send ------------------------------------------------------------------------------------


def record_of(**changes: Any) -> dict[str, Any]:
    samples = Samples(1)
    samples.loaded(ramp(1, 1, 8, 8))
    record = samples.record()
    assert record is not None
    record["picture"] |= changes
    return record


@pytest.mark.parametrize(
    "changes",
    [
        {"width": 65}, {"width": 0}, {"channels": 2}, {"pixels": ["?"]}, {"pixels": ["AAAA"] * 17},
        {"pixels": [base64.b64encode(bytes(12_289)).decode()]}, {"black": "white"},
    ],
)  # fmt: skip
def test_a_picture_out_of_bounds_is_no_message(changes: dict[str, Any]) -> None:
    with pytest.raises(msgspec.MsgspecError):
        records.decode(json.dumps(record_of(**changes)).encode())


@pytest.mark.parametrize("changes", [{"width": 9}, {"pixels": []}, {"pixels": ["AAAA"]}, {"tensor": 1}])
def test_a_picture_that_contradicts_itself_is_dropped(changes: dict[str, Any]) -> None:
    message = records.decode(json.dumps(record_of(**changes)).encode())
    assert isinstance(message, records.Batch)
    assert batches.sample(0.0, message) is None


def test_a_copy_on_its_way_is_waited_for_by_nobody() -> None:
    class Event:
        arrived = False

        def query(self) -> bool:
            return self.arrived

    samples, event = Samples(1), Event()
    samples.loaded(ramp(2, 2))
    samples._ready.append(event)
    sent: list[dict[str, Any]] = []
    assert samples.tell(sent.append) is samples
    event.arrived = True
    assert samples.tell(sent.append) is None
    assert [one["kind"] for one in sent] == ["batch"]
    assert Samples(2).tell(sent.append) is None, "nothing taken is not waited for"

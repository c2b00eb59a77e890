"""The bar's arithmetic."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from memtop.model.categories import CPU, CUDA, TENSORS
from memtop.tui.draw.bar import bar, cells_of, parts, share_out
from memtop.tui.palettes import MONO, PALETTES

sizes = st.integers(0, 2**40)


@given(st.lists(sizes, max_size=20), st.integers(0, 2000))
def test_shares_sum_to_the_whole_and_are_off_by_less_than_one(values: list[int], units: int) -> None:
    shares = share_out(values, units)
    whole = sum(values)
    assert sum(shares) == (units if whole else 0)
    for value, share in zip(values, shares, strict=True):
        assert abs(share * whole - units * value) < max(whole, 1)


@settings(deadline=None)
@given(
    st.dictionaries(st.sampled_from(CUDA), st.one_of(st.none(), sizes)),
    st.integers(1, 250),
    st.sampled_from([MONO, *PALETTES.values()]),
)
def test_a_bar_has_the_width_it_was_given(figures: dict[str, int | None], width: int, palette: object) -> None:
    rows, drawn = bar(parts(figures, CUDA), width, palette, [{}, {}])  # type: ignore[arg-type]
    assert [sum(cell_len(segment.text) for segment in row) for row in rows] == [width, width]
    assert drawn <= {name for name, value in figures.items() if value}


@given(
    st.fixed_dictionaries({name: st.integers(0, 2**34) for name in CPU}),
    st.integers(-(2**34), 0),
    st.integers(-(2**20), 0),
)
def test_lengths_add_up_to_the_device_even_with_figures_below_zero(
    figures: dict[str, int | None], unbacked: int, other: int
) -> None:
    figures = {**figures, "unbacked": unbacked, "other_tensors": other}
    total = sum(value or 0 for value in figures.values())
    lengths = parts(figures, CPU)
    assert all(length >= 0 for _, length in lengths)
    assert sum(length for _, length in lengths) == max(total, 0)


def test_not_resident_tensors_are_taken_off_the_tensors() -> None:
    lengths = dict(parts({"parameters": 100, "gradients": 100, "unbacked": -50, "runtime": 1000, "free": 9}, CPU))
    assert lengths["parameters"] + lengths["gradients"] == 150
    assert (lengths["runtime"], lengths["free"]) == (1000, 9)


def test_a_sliver_is_not_widened_to_be_seen() -> None:
    cells = cells_of([("parameters", 1), ("free", 100_000)], 100, PALETTES["dark"])
    assert {name for cell in cells for name in cell[:2]} == {"free"}


def test_an_eighth_of_a_cell_is_drawn() -> None:
    cells = cells_of([("parameters", 1), ("free", 799)], 100, PALETTES["dark"])
    assert cells[0] == ("parameters", "free", 1)


def test_labels_stand_only_where_they_fit() -> None:
    words = {"parameters": "parameters 50 %\tparameters\tP", "free": "free"}
    wide, _ = bar([("parameters", 1), ("free", 1)], 40, PALETTES["dark"], [words])
    narrow, _ = bar([("parameters", 1), ("free", 1)], 6, PALETTES["dark"], [words])
    assert "".join(s.text for s in wide[0]).split() == ["parameters", "50", "%", "free"]
    assert "".join(s.text for s in narrow[0]).split() == ["P"]


def test_order_is_the_order_of_the_categories() -> None:
    names = [name for name, _ in parts(dict.fromkeys(TENSORS, 8), TENSORS)]
    assert names == list(TENSORS)

"""The tree of modules: sums, order, folding, searching."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from memtop.model.deep_records import ModuleRow
from memtop.model.layers import ORDERS, shown, tree, whole


def row(path: str | None, type: str = "Module", at_peak: int = 0, **changes: object) -> ModuleRow:
    plain = ModuleRow(
        path=path, type=type, parameters=0, parameter_bytes=0, buffer_bytes=0, gradient_bytes=0, state_bytes=0,
        output=None, activations=0, recomputed=0, at_peak=at_peak, born=0, flops=None, series=[],
    )  # fmt: skip
    return replace(plain, **changes)  # type: ignore[arg-type]


ROWS = [
    row(None, "", 7),
    row("", "Net", 1),
    row("a", "Block", 2, activations=5),
    row("a.conv", "Conv2d", 30, parameters=10, flops=100, series=[1, 2]),
    row("a.norm", "BatchNorm2d", 4, parameters=2, series=[0, 3]),
    row("b", "Block"),
    row("b.deep.er", "Conv2d", 50, flops=1),
]


def paths(order: str = "model", folded: frozenset[str] = frozenset(), wanted: str = "") -> list[str | None]:
    layers = tree(ROWS)
    return [layers[index].row.path for index in shown(layers, order, folded, wanted)]


def test_a_container_sums_its_subtree_and_the_top_level_is_all_of_it() -> None:
    layers = {layer.row.path: layer for layer in tree(ROWS)}
    assert layers["a"].total.at_peak == 36
    assert layers["a"].total.parameters == 12
    assert layers["a"].total.activations == 5
    assert layers["a"].total.series == (1, 5)
    assert layers[""].total.at_peak == 87
    total = whole(tree(ROWS))
    assert total is not None
    assert total.at_peak == sum(one.at_peak for one in ROWS) == 94
    assert total.flops == 101
    assert whole(()) is None


def test_flops_are_unknown_where_none_is_known_and_not_zero() -> None:
    layers = {layer.row.path: layer for layer in tree(ROWS)}
    assert layers["a.norm"].total.flops is None
    assert layers["a"].total.flops == 100


def test_a_parent_that_was_left_out_is_skipped() -> None:
    layers = tree(ROWS)
    deep = next(layer for layer in layers if layer.row.path == "b.deep.er")
    assert deep.parent is not None
    assert layers[deep.parent].row.path == "b"
    assert deep.depth == 2
    assert deep.name == "er"


def test_model_order_is_the_records_and_what_has_no_module_comes_last() -> None:
    assert paths() == ["", "a", "a.conv", "a.norm", "b", "b.deep.er", None]


def test_sorting_keeps_each_module_under_its_own() -> None:
    assert paths("at peak") == ["", "b", "b.deep.er", "a", "a.conv", "a.norm", None]
    assert paths("flops") == ["", "a", "a.conv", "a.norm", "b", "b.deep.er", None]
    assert paths("parameters")[1:4] == ["a", "a.conv", "a.norm"]
    assert paths("activations")[1] == "a"


def test_folding_hides_what_is_below() -> None:
    assert paths(folded=frozenset({"a"})) == ["", "a", "b", "b.deep.er", None]
    assert paths(folded=frozenset({""})) == ["", None]


def test_searching_shows_what_stands_above_and_looks_into_what_is_folded() -> None:
    assert paths(wanted="CONV2D") == ["", "a", "a.conv", "b", "b.deep.er"]
    assert paths(wanted="norm", folded=frozenset({"a"})) == ["", "a", "a.norm"]
    assert paths(wanted="nothing") == []


@given(
    st.lists(st.tuples(st.lists(st.sampled_from("abc"), max_size=4), st.integers(0, 99)), max_size=30),
    st.sampled_from(ORDERS),
)
def test_every_row_is_counted_and_shown_once(found: list[tuple[list[str], int]], order: str) -> None:
    known = {".".join(words): size for words, size in found}
    rows = [row(path, at_peak=size) for path, size in sorted(known.items())]
    layers = tree(rows)
    assert sorted(shown(layers, order, frozenset())) == list(range(len(rows)))
    total = whole(layers)
    assert (0 if total is None else total.at_peak) == sum(known.values())


def test_of_a_container_without_any_known_flops_they_are_unknown() -> None:
    layers = {layer.row.path: layer for layer in tree([row(""), row("pool"), row("pool.a"), row("pool.b")])}
    assert layers["pool"].total.flops is None
    assert layers[""].total.flops is None

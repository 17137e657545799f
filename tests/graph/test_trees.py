"""Templates: taking leaves out of nested structures, and putting them in."""

from collections import namedtuple
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncjit.graph.trees import Ref, fill, is_flat, leaves_at, leaves_of, map_tree, refs_of, take_out

Point = namedtuple("Point", "x y")


class Leaf:
    """Something to take out."""


def is_leaf(item: Any) -> bool:
    return isinstance(item, Leaf)


def trees() -> st.SearchStrategy[Any]:
    leaves = st.builds(Leaf) | st.integers() | st.none() | st.just("text")
    return st.recursive(
        leaves,
        lambda inner: (
            st.lists(inner)
            | st.tuples(inner, inner)
            | st.builds(Point, inner, inner)
            | st.dictionaries(st.text(max_size=2), inner)
            | st.builds(slice, inner, inner)
        ),
        max_leaves=10,
    )


@given(trees())
def test_what_was_taken_out_and_put_in_again_is_the_same(tree: Any) -> None:
    template, leaves = take_out(is_leaf, tree)
    assert all(map(is_leaf, leaves))
    assert not any(map(is_leaf, leaves_of(template)))
    assert fill(template, leaves) == tree


@given(trees())
def test_leaves_are_found_in_the_places_that_a_template_has_for_them(tree: Any) -> None:
    template, leaves = take_out(is_leaf, tree)
    assert leaves_at(template, tree) == leaves


def test_a_leaf_that_stands_in_two_places_is_taken_out_once() -> None:
    leaf, other = Leaf(), Leaf()
    template, leaves = take_out(is_leaf, [leaf, (other, leaf)])
    assert template == [Ref(0), (Ref(1), Ref(0))]
    assert leaves == [leaf, other]
    assert refs_of(template) == [0, 1, 0]


def test_a_named_tuple_stays_one() -> None:
    assert map_tree(lambda leaf: leaf + 1, Point(1, (2,))) == Point(2, (3,))
    assert type(map_tree(str, Point(1, 2))) is Point


def test_a_template_is_flat_if_it_is_a_tuple_of_all_leaves_in_order() -> None:
    assert is_flat((Ref(0), Ref(1)))
    assert is_flat(())
    assert not is_flat((Ref(1), Ref(0)))
    assert not is_flat((Ref(0), Ref(0)))
    assert not is_flat((Ref(0), 1))
    assert not is_flat([Ref(0)])


@pytest.mark.parametrize(
    ("template", "tree", "message"),
    [
        ((Ref(0), Ref(1)), (1,), "expected a tuple of 2, got a tuple of 1"),
        ([Ref(0)], 1, "expected a list of 1, got a int"),
        ({"a": Ref(0)}, {"b": 1}, r"expected a dict with the keys \['a'\], got a dict with the keys \['b'\]"),
        ((Ref(0), 2), (1, 3), "expected the constant 2, got 3"),
        ((Ref(0), 2), (1, 2.0), "expected the constant 2, got 2.0"),
        ((np.zeros(2), Ref(0)), (np.ones(2), 1), "expected the constant array"),
        (slice(Ref(0), 2), slice(1, 3), "expected the constant 2, got 3"),
        ((Ref(0), Ref(0)), ([1], [2]), "expected one and the same object in two places, got two, of type list"),
    ],
)
def test_another_structure_than_the_templates_is_an_error_that_shows_both(
    template: Any, tree: Any, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        leaves_at(template, tree)


@pytest.mark.parametrize("constant", [float("nan"), np.float32("nan"), np.array([1.0, float("nan")])])
def test_nan_is_the_same_constant_as_itself(constant: Any) -> None:
    assert leaves_at((Ref(0), constant), (7, constant * 1)) == [7]

"""Batches are small, complete and in order, and pieces of a picture come together again."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from models.export.batches import in_batches
from models.export.reader import Regained, whole_pictures

MIB = 2**20


@given(
    st.lists(
        st.tuples(st.sampled_from([MIB, 16 * MIB, 50 * MIB, 300 * MIB]), st.integers(0, 12)), max_size=80
    )
)
@settings(max_examples=100, deadline=None)
def test_batches_hold_everything_in_order_and_little_at_once(pictures: list[tuple[int, int]]) -> None:
    asked = [(number, pixels, list(range(rows))) for number, (pixels, rows) in enumerate(pictures)]
    batches = list(in_batches(asked))
    got: dict[int, list[int]] = {}
    for batch in batches:
        assert len(batch) <= 64
        assert len({piece.key for piece in batch}) == len(batch)  # readers name files by picture
        masks = sum(len(piece.rows) * pictures[piece.key][0] for piece in batch)
        assert masks <= 32 * MIB or sum(len(piece.rows) for piece in batch) == 1
        for piece in batch:
            got.setdefault(piece.key, []).extend(piece.rows)
    assert list(got.items()) == [(number, rows) for number, _, rows in asked]


def test_pieces_of_a_picture_are_joined() -> None:
    left, right = np.array([[True, False]]), np.array([[False, True]])
    pieces = [
        Regained("train", "000001", 2, {4: left}),
        Regained("train", "000001", 1, {4: right, 8: right}),
        Regained("val", "000002", 0, {}),
    ]
    first, second = whole_pictures(iter(pieces))
    assert (first.annotations, second.annotations) == (3, 0)
    assert first.regions is not None
    assert {number: region.tolist() for number, region in first.regions.items()} == {
        4: [[True, True]],
        8: [[False, True]],
    }
    assert left.tolist() == [[True, False]]  # the pieces stay as they are

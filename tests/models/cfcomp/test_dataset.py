from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from models.categories import caption
from models.cfcomp.dataset import CropOptions, FolderPairs, TrainingSet, draw_sample
from models.cfcomp.pairs import read_pairs
from models.cfcomp.triple import Triple
from tests.models.cfcomp.samples import with_boxes, write_pair

PLAIN = CropOptions(size=16, orientations=False, single_category=0)


def numbered(height: int = 40, width: int = 56, text: str = "A satellite image of road, tree") -> Triple:
    """Every pixel's colour says where it was and what its mask is: (row, column, id)."""
    rows, columns = np.mgrid[:height, :width].astype(np.uint8)
    mask = np.where((rows // 8 + columns // 8) % 2 == 0, np.uint8(4), np.uint8(5))
    return Triple("numbered", np.stack([rows, columns, mask], axis=2), mask, text)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000))
def test_a_crop_is_a_window_of_picture_and_mask_together(seed: int) -> None:
    pair = numbered()
    sample = draw_sample(pair, PLAIN, np.random.default_rng(seed))
    top, left = (int(part) for part in sample.picture[0, 0, :2])
    assert np.array_equal(sample.picture, pair.picture[top : top + 16, left : left + 16])
    assert np.array_equal(sample.mask, pair.mask[top : top + 16, left : left + 16])


def test_every_place_and_orientation_is_drawn() -> None:
    pair = numbered(18, 17)
    options = CropOptions(size=16, single_category=0)
    corners, orientations = set(), set()
    for seed in range(400):
        sample = draw_sample(pair, options, np.random.default_rng(seed))
        assert np.array_equal(sample.picture[:, :, 2], sample.mask)  # turned together
        places = sample.picture[:, :, :2].astype(int)
        corners.add(tuple(places.min(axis=(0, 1))))
        orientations.add((tuple(places[0, 1] - places[0, 0]), tuple(places[1, 0] - places[0, 0])))
    assert corners == {(top, left) for top in range(3) for left in range(2)}
    assert len(orientations) == 8


def test_zooming_out_keeps_ids() -> None:
    options = CropOptions(size=16, max_zoom_out=2.0, single_category=0)
    sides = set()
    for seed in range(60):
        sample = draw_sample(numbered(), options, np.random.default_rng(seed))
        assert sample.mask.shape == (16, 16)
        assert set(np.unique(sample.mask)) <= {4, 5}
        sides.add(int(np.ptp(sample.picture[:, :, 0])))
    assert min(sides) < 17
    assert max(sides) > 25


def test_a_small_pair_is_enlarged() -> None:
    sample = draw_sample(numbered(24, 20), CropOptions(size=64, single_category=0), np.random.default_rng(0))
    assert sample.picture.shape == (64, 64, 3)
    assert set(np.unique(sample.mask)) == {4, 5}


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([0.0, 0.5, 1.0]))
def test_the_text_names_what_is_there(seed: int, single: float) -> None:
    mask = with_boxes((25, 0, 0, 8, 8), (4, 16, 0, 4, 32), (255, 30, 0, 2, 32))
    pair = Triple("pair", np.zeros((32, 32, 3), np.uint8), mask, "Tanks beside a road")
    sample = draw_sample(pair, CropOptions(size=24, single_category=single), np.random.default_rng(seed))
    present = set(np.unique(sample.mask).tolist()) - {0, 255}
    if present == {4, 25}:
        assert sample.text == "Tanks beside a road"
    else:
        assert sample.text == caption(present)
    if single == 1:
        assert len(present) <= 1
        assert (sample.mask == 255).sum() == (
            draw_sample(pair, CropOptions(size=24, single_category=0), np.random.default_rng(seed)).mask
            == 255
        ).sum()


def test_single_category_views_come_as_often_as_asked() -> None:
    options = CropOptions(size=32, single_category=0.25)
    counts = [
        len(set(np.unique(draw_sample(numbered(32, 32), options, np.random.default_rng(seed)).mask)) - {0})
        for seed in range(400)
    ]
    assert 70 < counts.count(1) < 130  # 100 expected, standard deviation 9


@pytest.fixture
def training_set(tmp_path: Path) -> TrainingSet:
    for number in range(5):
        write_pair(tmp_path, str(number), with_boxes((8, number, 0, 12, 32), side=40), seed=number)
    return TrainingSet(FolderPairs(read_pairs(tmp_path)), CropOptions(size=16), seed=7, keep_decoded=2)


def test_a_sample_is_a_function_of_seed_epoch_and_index(tmp_path: Path, training_set: TrainingSet) -> None:
    again = TrainingSet(FolderPairs(read_pairs(tmp_path)), CropOptions(size=16), seed=7)
    late = [again[1, index] for index in (4, 0, 2)]
    first = [training_set[1, index] for index in range(5)]
    for sample, index in zip(late, (4, 0, 2), strict=True):
        assert np.array_equal(sample.picture, first[index].picture)
        assert np.array_equal(sample.mask, first[index].mask)
    other = TrainingSet(FolderPairs(read_pairs(tmp_path)), CropOptions(size=16), seed=8)
    assert any(not np.array_equal(other[1, k].picture, first[k].picture) for k in range(5))
    assert any(not np.array_equal(training_set[2, k].picture, first[k].picture) for k in range(5))


def test_a_pair_is_cut_anew_in_each_epoch(tmp_path: Path) -> None:
    write_pair(tmp_path, "0", with_boxes((8, 0, 0, 12, 32), side=40))
    one = TrainingSet(FolderPairs(read_pairs(tmp_path)), CropOptions(size=16), seed=7)
    assert len({one[epoch, 0].picture.tobytes() for epoch in range(8)}) > 6


def test_an_epoch_shows_every_pair_once(training_set: TrainingSet) -> None:
    names = [{training_set[epoch, index].name for index in range(5)} for epoch in range(3)]
    assert names == [{f"images/{number}.png" for number in range(5)}] * 3
    assert len({tuple(training_set.order(epoch)) for epoch in range(3)}) > 1


def test_batches_run_on_through_the_epochs(training_set: TrainingSet) -> None:
    batches = [training_set.batch(step, 4) for step in range(3)]
    expected = [training_set[place // 5, place % 5] for place in range(12)]
    for sample, wanted in zip([one for batch in batches for one in batch], expected, strict=True):
        assert np.array_equal(sample.picture, wanted.picture)


def test_a_data_loader_takes_it(training_set: TrainingSet) -> None:
    keys = [(0, index) for index in range(5)]
    loader: DataLoader[list[Triple]] = DataLoader(
        training_set,  # type: ignore[arg-type]
        sampler=keys,
        batch_size=2,
        collate_fn=list,
    )
    seen = [sample.name for batch in loader for sample in batch]
    assert seen == [training_set[key].name for key in keys]


def test_it_travels_to_another_process(training_set: TrainingSet) -> None:
    there: TrainingSet = pickle.loads(pickle.dumps(training_set))  # noqa: S301  (our own)
    assert np.array_equal(there[3, 2].picture, training_set[3, 2].picture)


@pytest.mark.parametrize(
    "wrong", [{"size": 12}, {"size": 4096}, {"max_zoom_out": 0.5}, {"single_category": 2}]
)
def test_options_have_bounds(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="validation error"):
        CropOptions.model_validate(wrong)

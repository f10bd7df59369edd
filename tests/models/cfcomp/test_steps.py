from __future__ import annotations

import io
import tarfile
import threading
from collections import Counter
from collections.abc import Sequence
from functools import partial
from itertools import islice, pairwise

import numpy as np
import pytest
from PIL import Image

from models.cfcomp.composition import compose_batch
from models.cfcomp.dataset import TrainingSet
from models.cfcomp.preview import first_pairs
from models.cfcomp.recipe import MATCH_WITHIN, DroppedMask, Recipe
from models.cfcomp.selection import select_pairs, step_rng
from models.cfcomp.shards import Shard
from models.cfcomp.steps import PairSteps, ShardSteps, StepBatch, StepSource, groups_of
from models.cfcomp.triple import Triple
from tests.models.cfcomp.trainings import MadePairs, small, steps_of

PAIRS = MadePairs(11)
MIXED = small(batch_size=20, steps=5, prompt_dropout=0.4, dropped_mask="other", max_zoom_out=1.5)


def batches(source: StepSource, recipe: Recipe, share: range, first: int = 0) -> list[StepBatch]:
    return list(source.steps(first, recipe.steps, share))


def assert_same(one: StepBatch, other: StepBatch, where: slice = slice(None)) -> None:
    """`one` is the part `where` of `other`."""
    assert np.array_equal(one.pictures, other.pictures[where])
    assert np.array_equal(one.masks, other.masks[where])
    assert np.array_equal(one.controls, other.controls[where])
    assert one.texts == other.texts[where]
    assert one.places == other.places[where]


def test_a_step_is_the_training_set_s_batch_exchanged_within_groups() -> None:
    """In the order of method, 5: crops, matching within sixteen, exchange; nothing dropped here."""
    recipe = small(batch_size=20, steps=4, prompt_dropout=0, cf_comp={"probability": 0.8})
    composites = 0
    for number, found in enumerate(batches(steps_of(PAIRS, recipe), recipe, range(20))):
        real = TrainingSet(PAIRS, recipe.crops, seed=recipe.seed).batch(number, 20)
        wanted = []
        members = 0
        for group, members_of in enumerate((real[:16], real[16:])):
            pairs = select_pairs(
                members_of, recipe.cf_comp, step_rng(recipe.seed, number, group), PAIRS.frequencies
            )
            members += 2 * len(pairs)
            wanted += compose_batch(members_of, pairs)
        assert np.array_equal(found.pictures, np.stack([sample.picture for sample in wanted]))
        assert np.array_equal(found.masks, np.stack([sample.mask for sample in wanted]))
        assert np.array_equal(found.controls, found.masks)
        assert found.texts == tuple(sample.text for sample in wanted)
        assert found.places == range(20)
        assert found.composed == members
        composites += members
    assert composites > 10


def test_without_exchange_and_dropping_the_real_batch_comes_back() -> None:
    recipe = small(batch_size=20, steps=3, prompt_dropout=0, cf_comp={"probability": 0})
    for number, found in enumerate(batches(steps_of(PAIRS, recipe), recipe, range(20))):
        real = TrainingSet(PAIRS, recipe.crops, seed=recipe.seed).batch(number, 20)
        assert np.array_equal(found.pictures, np.stack([sample.picture for sample in real]))
        assert np.array_equal(found.masks, np.stack([sample.mask for sample in real]))
        assert found.texts == tuple(sample.text for sample in real)
        assert found.composed == 0


@pytest.mark.parametrize("cuts", [(0, 10, 20), (0, 4, 8, 12, 16, 20), (0, 16, 20)])
def test_shares_are_slices_of_the_whole(cuts: Sequence[int]) -> None:
    whole = batches(steps_of(PAIRS, MIXED), MIXED, range(20))
    composed = Counter[int]()
    for start, stop in pairwise(cuts):
        parts = batches(steps_of(PAIRS, MIXED), MIXED, range(start, stop))
        for number, (part, full) in enumerate(zip(parts, whole, strict=True)):
            assert_same(part, full, slice(start, stop))
            composed[number] += part.composed
    assert [composed[number] for number in range(MIXED.steps)] == [full.composed for full in whole]
    assert sum(composed.values()) > 0


@pytest.mark.parametrize("first", [1, 3, 5])
def test_a_resumed_run_sees_the_same_steps(first: int) -> None:
    whole = batches(steps_of(PAIRS, MIXED), MIXED, range(20))
    rest = batches(steps_of(PAIRS, MIXED), MIXED, range(20), first)
    assert len(rest) == MIXED.steps - first
    for one, other in zip(rest, whole[first:], strict=True):
        assert_same(one, other)


def test_another_seed_gives_other_samples() -> None:
    other = MIXED.model_copy(update={"seed": 1})
    one, two = (batches(steps_of(PAIRS, recipe), recipe, range(20))[0] for recipe in (MIXED, other))
    assert not np.array_equal(one.pictures, two.pictures)


@pytest.mark.parametrize("dropped", list(DroppedMask))
def test_dropped_prompts_come_with_their_own_or_another_mask(dropped: DroppedMask) -> None:
    recipe = small(batch_size=20, steps=20, prompt_dropout=0.4, dropped_mask=dropped)
    plain = recipe.model_copy(update={"prompt_dropout": 0.0})
    dropped_count = 0
    foreign: Counter[int] = Counter()
    pairs = zip(
        batches(steps_of(PAIRS, recipe), recipe, range(20)),
        batches(steps_of(PAIRS, plain), plain, range(20)),
        strict=True,
    )
    for found, whole in pairs:
        assert np.array_equal(found.pictures, whole.pictures)
        assert np.array_equal(found.masks, whole.masks), "the loss looks at the picture's own mask"
        for place in range(20):
            is_own = np.array_equal(found.controls[place], whole.masks[place])
            if found.texts[place]:
                assert found.texts[place] == whole.texts[place]
                assert is_own
                continue
            dropped_count += 1
            group = range(16) if place < 16 else range(16, 20)
            others = [k for k in group if np.array_equal(found.controls[place], whole.masks[k])]
            if dropped is DroppedMask.OWN:
                assert is_own
            else:
                assert set(others) - {place}, "it is another sample's of the same group"
                foreign.update(set(others) - {place})
    assert 110 < dropped_count < 210  # 160, give or take five deviations
    if dropped is DroppedMask.OTHER:
        assert foreign.keys() == set(range(20)), "any other sample's mask may come"


def test_all_prompts_or_none_are_dropped() -> None:
    for share, wanted in ((0.0, 0), (1.0, 60)):
        recipe = small(batch_size=20, steps=3, prompt_dropout=share)
        found = batches(steps_of(PAIRS, recipe), recipe, range(20))
        assert sum(text == "" for batch in found for text in batch.texts) == wanted


def test_a_batch_of_one_keeps_its_own_mask() -> None:
    recipe = small(batch_size=1, steps=4, prompt_dropout=1, dropped_mask="other")
    for found in batches(steps_of(PAIRS, recipe), recipe, range(1)):
        assert np.array_equal(found.controls, found.masks)


def test_the_preview_shows_what_the_steps_train_on() -> None:
    recipe = small(batch_size=20, steps=4, prompt_dropout=0)
    samples = TrainingSet(PAIRS, recipe.crops, seed=recipe.seed)
    shown = first_pairs(
        samples.epochs(),
        recipe.cf_comp,
        PAIRS.frequencies,
        seed=recipe.seed,
        count=1000,
        batch_size=20,
        max_batches=recipe.steps,
    )
    assert len({one.step for one in shown}) > 1
    trained = batches(steps_of(PAIRS, recipe), recipe, range(20))
    assert 2 * len(shown) == sum(batch.composed for batch in trained)
    for one in shown:
        for place, sample in zip((one.pair.first, one.pair.second), one.samples[2:], strict=True):
            assert np.array_equal(trained[one.step].pictures[place], sample.picture)
            assert np.array_equal(trained[one.step].masks[place], sample.mask)
            assert trained[one.step].texts[place] == sample.text


def test_groups_by_hand() -> None:
    assert MATCH_WITHIN == 16
    assert groups_of(range(16), 16) == range(1)
    assert groups_of(range(8, 20), 64) == range(2)
    assert groups_of(range(16, 33), 64) == range(1, 3)
    for wrong in (range(0), range(60, 65)):
        with pytest.raises(ValueError, match="no share"):
            groups_of(wrong, 64)


def test_a_reader_that_stops_early_leaves_no_threads_behind() -> None:
    before = threading.active_count()
    steps = steps_of(PAIRS, MIXED).steps(0, 1000, range(20))
    assert len(list(islice(steps, 2))) == 2
    steps.close()
    assert threading.active_count() == before


def test_a_pair_that_cannot_be_read_ends_the_steps() -> None:
    class Vanishing(MadePairs):
        def read(self, number: int) -> Triple:
            if number == 3:
                raise FileNotFoundError("3.png")
            return super().read(number)

    source = PairSteps(Vanishing(11), MIXED)
    with pytest.raises(FileNotFoundError):
        batches(source, MIXED, range(20))


def shards(count: int, each: int) -> list[Shard]:
    """Tar files of pairs in WebDataset's layout."""
    made = MadePairs(count * each)
    found = []
    for number in range(count):
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as tar:
            for index in range(number * each, (number + 1) * each):
                pair = made.read(index)
                for suffix, pixels in (("png", pair.picture), ("mask.png", pair.mask)):
                    body = io.BytesIO()
                    Image.fromarray(pixels).save(body, "PNG")
                    member = tarfile.TarInfo(f"{index}.{suffix}")
                    member.size = body.tell()
                    tar.addfile(member, io.BytesIO(body.getvalue()))
        found.append(Shard(f"{number}.tar", partial(io.BytesIO, buffer.getvalue())))
    return found


def test_shards_give_the_same_steps_again_and_a_resumed_run_goes_on() -> None:
    recipe = small(batch_size=4, steps=6, prompt_dropout=0.3)
    source = ShardSteps(shards(2, 5), recipe, PAIRS.frequencies)
    whole = batches(source, recipe, range(4))
    assert len(whole) == 6
    rest = batches(ShardSteps(shards(2, 5), recipe, PAIRS.frequencies), recipe, range(4), 4)
    for one, other in zip(rest, whole[4:], strict=True):
        assert_same(one, other)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_processes_read_different_samples_of_shards(count: int) -> None:
    """Whole pictures, neither turned nor exchanged, so that each can be found again in the set."""
    plain = {"prompt_dropout": 0, "single_category": 0, "orientations": False, "cf_comp": {"probability": 0}}
    recipe = small(batch_size=4, steps=2, resolution=96, **plain)
    found = []
    for share in (range(2), range(2, 4)):
        source = ShardSteps(shards(count, 8), recipe, PAIRS.frequencies)
        for batch in source.steps(0, 2, share):
            found += [picture.tobytes() for picture in batch.pictures]
            assert batch.places == share
    assert len(set(found)) == 8

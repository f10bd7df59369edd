"""Training samples out of WebDataset shards, read from beginning to end: a set may outgrow disk and memory.

A shard is a tar file whose members share a key: the picture (`7.png`, `7.jpg`, …), its mask (`7.mask.png`,
`7.mask.tif` or `7.mask.npy`) and, if wanted, a text (`7.txt`, or "prompt" or "text" in `7.json`). This project's own
WebDataset exports are such shards.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import count
from typing import BinaryIO

import numpy as np

from models.archives.names import shown_name
from models.cfcomp.dataset import CropOptions, draw_sample
from models.cfcomp.pair_files import MASK_SUFFIXES, BadPair
from models.cfcomp.pairs import MAX_BAD_SHARE, MaskReading, decode_pair, refusal
from models.cfcomp.pictures import PICTURE_SUFFIXES
from models.cfcomp.tar_samples import TarSample, read_tar
from models.cfcomp.triple import Triple, caption_of
from models.errors import EarthSynthError, InvalidInput

_JUDGED_FROM = 100  # samples, before which the share of bad ones says little
_PICTURES = {suffix[1:] for suffix in PICTURE_SUFFIXES}
_MASKS = {f"mask{suffix}" for suffix in MASK_SUFFIXES}
_WANTED = frozenset({*_PICTURES, *_MASKS, "txt", "json"})
_WINDOW_BYTES = 256 << 20  # of pictures and masks that wait for their turn


@dataclass(frozen=True, slots=True)
class Shard:
    """A tar file by name, and how to open it: a local file, a response of S3, anything that is read once."""

    name: str
    open: Callable[[], BinaryIO]


@dataclass(slots=True)
class ShardReport:
    """What a stream has met so far; filled while it is read."""

    good: int = 0
    refused: list[BadPair] = field(default_factory=list)


def read_shards(
    shards: Sequence[Shard],
    report: ShardReport,
    *,
    reading: MaskReading | None = None,
    max_bad_share: float = MAX_BAD_SHARE,
) -> Iterator[Triple]:
    """Yield the pairs of the shards in their order, bad ones left out and named in `report`.

    A shard whose name ends in ".tar" is a plain tar; others may be compressed. The members of a sample are held in
    memory whole.

    Raises:
        InvalidInput: damaged_file: a shard that is no tar or ends early; duplicate_name: two members of one name;
            too_many_bad_pairs: more than `max_bad_share` of at least 100 samples, or of all at the end; no_pairs:
            not one good pair.
    """
    reading = reading or MaskReading()
    for shard in shards:
        with closing(shard.open()) as stream:
            for sample in read_tar(stream, shard.name, _WANTED):
                pair = _read(sample, shown_name(f"{shard.name}#{sample.key}"), reading)
                if isinstance(pair, Triple):
                    report.good += 1
                    yield pair
                    continue
                report.refused.append(pair)
                _judge(report, max_bad_share, at_end=False)
    _judge(report, max_bad_share, at_end=True)


def stream_samples(
    shards: Sequence[Shard],
    options: CropOptions,
    report: ShardReport,
    *,
    seed: int,
    epoch: int,
    part: tuple[int, int] = (0, 1),
    shuffle_samples: int = 256,
    reading: MaskReading | None = None,
    max_bad_share: float = MAX_BAD_SHARE,
) -> Iterator[Triple]:
    """Yield one sample of each pair of an epoch: shards in random order, then shuffled among `shuffle_samples`.

    Large samples are shuffled among as many as 256 MiB hold. `part` (k, n) reads every n-th shard from the k-th on,
    for process k of n; the parts of an epoch are disjoint. What comes is a function of the shards, the seed, the
    epoch and the part. Raises as `read_shards` does.
    """
    order = np.random.default_rng([seed, 0, epoch]).permutation(len(shards))[part[0] :: part[1]]
    pairs = read_shards(
        [shards[number] for number in order], report, reading=reading, max_bad_share=max_bad_share
    )
    samples = (
        draw_sample(pair, options, np.random.default_rng([seed, 2, epoch, part[0], index]))
        for index, pair in enumerate(pairs)
    )
    window = min(shuffle_samples, _WINDOW_BYTES // (4 * options.size**2))
    draw = random.Random(f"{seed} {epoch} {part[0]}")  # noqa: S311  (it must repeat, not surprise)
    yield from _shuffled(samples, max(1, window), draw)


def stream_epochs(
    shards: Sequence[Shard],
    options: CropOptions,
    *,
    seed: int,
    part: tuple[int, int] = (0, 1),
    reading: MaskReading | None = None,
    max_bad_share: float = MAX_BAD_SHARE,
) -> Iterator[Triple]:
    """Yield the samples of one epoch after the other, without end. Arguments as of `stream_samples`."""
    for epoch in count():
        yield from stream_samples(
            shards,
            options,
            ShardReport(),
            seed=seed,
            epoch=epoch,
            part=part,
            reading=reading,
            max_bad_share=max_bad_share,
        )


def _shuffled(samples: Iterable[Triple], window: int, draw: random.Random) -> Iterator[Triple]:
    """Yield the samples, each drawn from the `window` oldest that have not come yet."""
    waiting: list[Triple] = []
    for sample in samples:
        waiting.append(sample)
        if len(waiting) == window:
            yield _taken(waiting, draw)
    while waiting:
        yield _taken(waiting, draw)


def _taken(waiting: list[Triple], draw: random.Random) -> Triple:
    place = draw.randrange(len(waiting))
    waiting[place], waiting[-1] = waiting[-1], waiting[place]
    return waiting.pop()


def _read(sample: TarSample, name: str, reading: MaskReading) -> Triple | BadPair:
    members = sample.members
    if sample.too_large:
        return BadPair(
            name,
            code="entry_too_large",
            message=f"The sample has {sample.total_bytes} bytes; cut it into tiles.",
        )
    pictures, masks = sorted(_PICTURES & members.keys()), sorted(_MASKS & members.keys())
    if len(pictures) > 1 or len(masks) > 1:
        return BadPair(
            name, code="duplicate_name", message=f"Which belong together? {', '.join((*pictures, *masks))}"
        )
    if not pictures:
        return BadPair(
            name, code="missing_picture", message="The sample has no picture (.png, .jpg, .tif or .webp)."
        )
    if not masks:
        return BadPair(
            name, code="missing_mask", message="The sample has no mask (.mask.png, .mask.tif or .mask.npy)."
        )
    try:
        picture, mask = decode_pair(members[pictures[0]], members[masks[0]], reading)
        return Triple(name, picture, mask, _text(members) or caption_of(mask))
    except EarthSynthError as error:
        return BadPair(name, error.code, error.message)


def _text(members: Mapping[str, bytes]) -> str | None:
    if "txt" in members:
        return str(members["txt"], "utf-8", "replace").strip()
    try:
        described = json.loads(members.get("json", b"{}"))
    except ValueError as error:
        raise InvalidInput("The sample's JSON cannot be read.", code="malformed_row") from error
    text = (described.get("prompt") or described.get("text")) if isinstance(described, dict) else None
    return text if isinstance(text, str) else None


def _judge(report: ShardReport, max_bad_share: float, *, at_end: bool) -> None:
    total = report.good + len(report.refused)
    is_judged = at_end or total >= _JUDGED_FROM
    if (is_judged and len(report.refused) > max_bad_share * total) or (at_end and not report.good):
        raise refusal(report.good, report.refused, max_bad_share)

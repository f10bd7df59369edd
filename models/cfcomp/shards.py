"""Training samples out of WebDataset shards, read from beginning to end: a set may outgrow disk and memory.

A shard is a tar file whose members share a key: the picture (`7.png`, `7.jpg`, …), its mask (`7.mask.png`,
`7.mask.tif` or `7.mask.npy`) and, if wanted, a text (`7.txt`, or "prompt" or "text" in `7.json`). This project's own
WebDataset exports are such shards.
"""

from __future__ import annotations

import json
import random
import tarfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any, BinaryIO, NoReturn

import numpy as np
from webdataset.filters import shuffle
from webdataset.tariterators import group_by_keys, tar_file_expander

from models.archives.names import shown_name
from models.cfcomp.dataset import CropOptions, draw_sample
from models.cfcomp.pair_files import MASK_SUFFIXES, BadPair
from models.cfcomp.pairs import MAX_BAD_SHARE, MaskReading, decode_pair, refusal
from models.cfcomp.pictures import PICTURE_SUFFIXES
from models.cfcomp.triple import Triple, caption_of
from models.errors import EarthSynthError, InvalidInput

_JUDGED_FROM = 100  # samples, before which the share of bad ones says little
_PICTURES = {suffix[1:] for suffix in PICTURE_SUFFIXES}
_MASKS = {f"mask{suffix}" for suffix in MASK_SUFFIXES}


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

    The members of a sample are held in memory whole.

    Raises:
        InvalidInput: damaged_file: a shard that is no tar or ends early; duplicate_name: two members of one name;
            too_many_bad_pairs: more than `max_bad_share` of at least 100 samples, or of all at the end; no_pairs:
            not one good pair.
    """
    reading = reading or MaskReading()
    for shard in shards:
        with closing(shard.open()) as stream:
            source = [{"url": shard.name, "stream": stream}]
            try:
                for members in group_by_keys(tar_file_expander(source), handler=_refuse):
                    pair = _read(members, reading)
                    if isinstance(pair, Triple):
                        report.good += 1
                        yield pair
                        continue
                    report.refused.append(pair)
                    _judge(report, max_bad_share, at_end=False)
            except (tarfile.TarError, EOFError, zlib.error) as error:
                raise InvalidInput(
                    f"The shard {shown_name(shard.name)} is no tar file or ends early; send it again.",
                    code="damaged_file",
                ) from error
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
) -> Iterator[Triple]:
    """Yield one sample of each pair of an epoch: shards in random order, then shuffled among `shuffle_samples` pairs.

    `part` (k, n) reads every n-th shard from the k-th on, for process k of n; the parts of an epoch are disjoint.
    What comes is a function of the shards, the seed, the epoch and the part.
    """
    order = np.random.default_rng([seed, 0, epoch]).permutation(len(shards))[part[0] :: part[1]]
    pairs = read_shards([shards[number] for number in order], report, reading=reading)
    draw = random.Random(f"{seed} {epoch} {part[0]}")  # noqa: S311  (it must repeat, not surprise)
    mixed = shuffle(shuffle_samples, initial=shuffle_samples, rng=draw)
    for index, pair in enumerate(mixed(pairs)):
        rng = np.random.default_rng([seed, 2, epoch, part[0], index])
        yield draw_sample(pair, options, rng)


def _refuse(error: Exception) -> NoReturn:
    """Tell WebDataset's one refusal, of a name that it has seen in the same sample, from what went wrong below."""
    if type(error) is not ValueError:
        raise error
    name = shown_name(str(error.args[0]).split(":")[0])
    raise InvalidInput(f"A shard holds {name} twice; pack it again.", code="duplicate_name") from error


def _read(members: dict[str, Any], reading: MaskReading) -> Triple | BadPair:
    name = shown_name(f"{members['__url__']}#{members['__key__']}")
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


def _text(members: dict[str, Any]) -> str | None:
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

"""The second pass: every picture goes into the format, the manifest and perhaps the contact sheet."""

from __future__ import annotations

import hashlib
import io
import random
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from models.export.formats import FORMATS
from models.export.manifest import manifest_line
from models.export.parts import find_parts
from models.export.reader import ExportUnreadable
from models.export.sample import ExportSample
from models.export.sheet import MOST, Sheet
from models.export.spool import LabelSpool
from models.export.writer import Item, Layout, place
from models.masks import encode_png


@dataclass(frozen=True, slots=True)
class Written:
    """`annotations` by sample index, by split; `instances` by category id."""

    annotations: dict[str, dict[int, int]]
    instances: Counter[int]
    sheet: Sheet


def write_samples(
    samples: Iterator[ExportSample],
    layout: Layout,
    spool: LabelSpool,
    pictures: int,
    on_sample: Callable[[int], None],
) -> Written:
    """Write all samples and manifest.jsonl; `pictures` is how many there are, for a fair choice of 48 to show.

    Raises:
        ExportUnreadable: a picture is not the one that was stored.
    """
    written = Written({split: {} for split in layout.splits}, Counter(), Sheet())
    shown = set(random.Random(layout.info.seed).sample(range(pictures), min(pictures, MOST)))  # noqa: S311
    manifest_path = layout.folder / "manifest.jsonl"
    with (
        closing(FORMATS[layout.options.format].open(layout)) as writer,
        manifest_path.open("w", encoding="utf-8", newline="\n") as manifest,
    ):
        for position, sample in enumerate(samples):
            item = _item(sample, spool, layout)
            manifest.write(manifest_line(item, writer.add(item)))
            written.annotations[sample.split][sample.index] = len(item.parts)
            written.instances.update(part.category_id for part in item.parts)
            if position in shown:
                written.sheet.add(item.picture, item.label)
            on_sample(position + 1)
    return written


def _item(sample: ExportSample, spool: LabelSpool, layout: Layout) -> Item:
    picture = sample.read_image()
    size = (sample.width, sample.height)
    if hashlib.sha256(picture).hexdigest() != sample.image_sha256 or _png_size(picture) != size:
        raise ExportUnreadable(f"The stored picture of sample {sample.index} is damaged; make it again.")
    ids = spool.ids(sample.index)
    options = layout.options
    instances = sample.read_instances()
    if instances is not None and instances.shape != ids.shape:
        raise ExportUnreadable(
            f"The instances of sample {sample.index} are not its label's size; make it again."
        )
    parts = find_parts(
        ids, min_area=options.min_area, include_stuff=options.include_stuff, instances=instances
    )
    return Item(sample, picture, ids, spool.png(sample.index), parts)


def _png_size(picture: bytes) -> tuple[int, int] | None:
    try:
        with Image.open(io.BytesIO(picture), formats=["PNG"]) as image:
            return image.size
    except UnidentifiedImageError:
        return None


def write_unfiltered(
    samples: Iterator[ExportSample], folder: Path, on_sample: Callable[[int], None], pictures: int
) -> Sheet:
    """Write 48 samples at most, that no filter has seen, as `unfiltered/{number}.png` and `.mask.png`."""
    sheet = Sheet()
    for number, sample in enumerate(islice(samples, MOST)):
        picture, ids = sample.read_image(), sample.read_label()
        place(folder, f"unfiltered/{number:06d}.png", picture)
        place(folder, f"unfiltered/{number:06d}.mask.png", encode_png(ids))
        sheet.add(picture, ids)
        on_sample(pictures)
    return sheet

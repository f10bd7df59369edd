"""WebDataset: `{split}-000000.tar`, each sample as `.png`, `.mask.png` (ids as grey levels) and `.json`.

Shards are plain tar files without times or owners. Fidelity compares all ids, 0 and 255 included.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from models.categories import CATEGORIES
from models.export.reader import Regained, id_regions
from models.export.writer import Item, Layout, Placed


class ShardWriter:
    def __init__(self, layout: Layout) -> None:
        self._folder = layout.folder
        self._most = layout.options.shard_samples
        self._open: dict[str, tarfile.TarFile] = {}
        self._written = dict.fromkeys(layout.splits, 0)

    def add(self, item: Item) -> Placed:
        split, stem = item.sample.split, item.sample.stem
        number, place = divmod(self._written[split], self._most)
        name = f"{split}-{number:06d}.tar"
        if place == 0:
            self._finish(split)
            self._open[split] = _Shard.open(self._folder / name, "w", format=tarfile.USTAR_FORMAT)
        self._written[split] += 1
        for suffix, content in (
            ("png", item.picture),
            ("mask.png", item.label_png),
            ("json", json.dumps(_described(item), separators=(",", ":")).encode()),
        ):
            member = tarfile.TarInfo(f"{stem}.{suffix}")  # time 0, no owner
            member.size = len(content)
            self._open[split].addfile(member, io.BytesIO(content))
        return Placed(f"{name}#{stem}.png", f"{name}#{stem}.mask.png")

    def _finish(self, split: str) -> None:
        if split in self._open:
            self._open.pop(split).close()

    def close(self) -> None:
        for split in list(self._open):
            self._finish(split)


class _Shard(tarfile.TarFile):
    """A tar that forgets its members once written: TarFile keeps a record of each."""

    def addfile(self, tarinfo: tarfile.TarInfo, fileobj: object = None) -> None:
        super().addfile(tarinfo, fileobj)  # type: ignore[arg-type]
        self.members.clear()  # type: ignore[attr-defined]


def _described(item: Item) -> dict[str, object]:
    sample = item.sample
    return {
        **sample.provenance,
        "index": sample.index,
        "split": sample.split,
        "group": sample.group,
        "mask_id": sample.mask_id,
        "prompt": sample.prompt,
        "seed": sample.seed,
        "annotations": [
            {
                "category_id": part.category_id,
                "category": CATEGORIES[part.category_id].name,
                "bbox": [
                    part.component.left,
                    part.component.top,
                    part.component.width,
                    part.component.height,
                ],
                "area": part.component.area,
            }
            for part in item.parts
        ],
    }


def read_with_webdataset(folder: Path) -> Iterator[Regained]:
    """Yield every sample with the regions of its mask and the number of its annotations."""
    from webdataset.tariterators import group_by_keys, tar_file_expander

    for path in sorted(folder.glob("*.tar")):
        with path.open("rb") as stream:  # opened here: WebDataset leaves closing to the garbage collector
            for sample in group_by_keys(tar_file_expander([{"url": str(path), "stream": stream}])):
                described = json.loads(sample["json"])
                with Image.open(io.BytesIO(sample["png"])) as picture:
                    picture.load()
                with Image.open(io.BytesIO(sample["mask.png"])) as mask:
                    ids = np.asarray(mask)
                if ids.shape != picture.size[::-1] or f"{described['index']:06d}" != sample["__key__"]:
                    raise ValueError(f"{sample['__key__']} in {path.name} does not fit together")
                yield Regained(
                    path.stem.rpartition("-")[0],
                    sample["__key__"],
                    len(described["annotations"]),
                    id_regions(ids),
                )

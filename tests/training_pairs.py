"""Training pairs for tests: crops of real masks under pictures made of them, in EarthSynth's layout."""

from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import Path

import httpx
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tests.models.zips import packed
from tests.pictures import png

TILES = ("dubai_tile1_008", "dubai_tile2_006", "dubai_tile3_006")


def tile_of(number: int, side: int = 96) -> NDArray[np.uint8]:
    """Another crop of the real masks for every number up to 50."""
    path = Path(__file__).parent / "assets" / f"{TILES[number % 3]}.png"
    whole = np.asarray(Image.open(path))
    top, left = 9 * (number // 3), 150 - 9 * (number // 3)
    return np.ascontiguousarray(whole[top : top + side, left : left + side])


def picture_of(ids: NDArray[np.uint8], seed: int = 0) -> NDArray[np.uint8]:
    """A picture in which every category has a colour of its own, and grain."""
    colours = np.random.default_rng(1).integers(40, 200, (256, 3))
    grain = np.random.default_rng(seed).integers(-30, 30, (*ids.shape, 1))
    return (colours[ids] + grain).astype(np.uint8)


def jpeg(picture: NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def pair_files(count: int = 6, side: int = 96) -> dict[str, bytes]:
    """`images/` (every second one a JPEG) and `masks/` of `count` pairs, by name."""
    files: dict[str, bytes] = {}
    for number in range(count):
        ids = tile_of(number, side)
        picture = picture_of(ids, number)
        name, content = (f"{number}.jpg", jpeg(picture)) if number % 2 else (f"{number}.png", png(picture))
        files[f"images/{name}"] = content
        files[f"masks/{number}.png"] = png(ids)
    return files


def kept_pairs(client: httpx.Client, count: int = 4) -> str:
    """The id of a training set that the service has made of so many of them."""
    answer = client.post("/v1/training-sets", files={"file": ("pairs.zip", packed(pair_files(count)))})
    assert answer.status_code in {200, 201}, answer.text  # the same pairs again are the set that is known
    return str(answer.json()["id"])


def tar_of(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def shard_files(shards: int = 2, samples: int = 4, side: int = 96) -> dict[str, bytes]:
    """WebDataset shards of the same pairs as `pair_files`."""
    files = {}
    for shard in range(shards):
        members: dict[str, bytes] = {}
        for number in range(shard * samples, (shard + 1) * samples):
            ids = tile_of(number, side)
            members[f"{number:03d}.png"] = png(picture_of(ids, number))
            members[f"{number:03d}.mask.png"] = png(ids)
        files[f"train-{shard:06d}.tar"] = tar_of(members)
    return files


def unpacked(data: bytes, folder: Path) -> Path:
    """The folder with a zip's files in it."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        archive.extractall(folder)  # noqa: S202  (the test's own)
    return folder

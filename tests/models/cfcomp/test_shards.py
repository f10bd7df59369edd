from __future__ import annotations

import gzip
import io
import tarfile
import tracemalloc
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pytest
import webdataset
from PIL import Image
from webdataset.tariterators import group_by_keys, tar_file_expander

from models.cfcomp import tar_samples
from models.cfcomp.dataset import CropOptions
from models.cfcomp.shards import Shard, ShardReport, read_shards, stream_samples
from models.cfcomp.tar_samples import read_tar
from models.errors import InvalidInput
from tests.models.cfcomp.samples import with_boxes
from tests.pictures import png
from tests.training_pairs import tar_of

PLAIN = CropOptions(size=32, orientations=False, single_category=0)


def picture_of(number: int) -> np.ndarray:
    return np.full((32, 32, 3), number, np.uint8)


def mask_of(number: int) -> np.ndarray:
    return with_boxes((8, number % 20, 0, 8, 8))


def write_shards(folder: Path, *, count: int = 3, samples: int = 4) -> list[Shard]:
    """Shards by the WebDataset library itself; sample n's picture is all n."""
    shards = []
    for shard in range(count):
        path = folder / f"train-{shard:06d}.tar"
        with webdataset.TarWriter(str(path)) as tar:
            for number in range(shard * samples, (shard + 1) * samples):
                tar.write(
                    {
                        "__key__": f"{number:06d}",
                        "png": png(picture_of(number)),
                        "mask.png": png(mask_of(number)),
                        "json": b'{"prompt": "house %d"}' % number,
                    }
                )
        shards.append(local(path))
    return shards


def local(path: Path) -> Shard:
    return Shard(path.name, lambda: path.open("rb"))


def made(**members: bytes) -> Shard:
    return Shard("made.tar", lambda: io.BytesIO(tar_of(members)))


def test_every_pair_in_order(tmp_path: Path) -> None:
    report = ShardReport()
    pairs = list(read_shards(write_shards(tmp_path), report))
    assert [int(pair.picture[0, 0, 0]) for pair in pairs] == list(range(12))
    for number, pair in enumerate(pairs):
        assert np.array_equal(pair.mask, mask_of(number))
        assert pair.text == f"house {number}"
    assert pairs[5].name == "train-000001.tar#000005"
    assert (report.good, report.refused) == (12, [])


def test_a_shard_is_read_once_and_never_sought(tmp_path: Path) -> None:
    """A response of S3 has no seek."""

    class Stream(io.RawIOBase):
        def __init__(self, data: bytes) -> None:
            self._data = io.BytesIO(data)

        def readable(self) -> bool:
            return True

        def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
            return self._data.readinto(buffer)

    write_shards(tmp_path, count=1)
    opened: list[Stream] = []

    def open_stream() -> io.RawIOBase:
        opened.append(Stream((tmp_path / "train-000000.tar").read_bytes()))
        return opened[-1]

    assert len(list(read_shards([Shard("s3", open_stream)], ShardReport()))) == 4  # type: ignore[arg-type]
    assert [stream.closed for stream in opened] == [True]


def test_an_epoch_has_each_pair_once_in_repeatable_order(tmp_path: Path) -> None:
    shards = write_shards(tmp_path)

    def order(seed: int, epoch: int) -> list[int]:
        stream = stream_samples(shards, PLAIN, ShardReport(), seed=seed, epoch=epoch, shuffle_samples=5)
        return [int(sample.picture[0, 0, 0]) for sample in stream]

    assert sorted(order(1, 0)) == list(range(12))
    assert order(1, 0) == order(1, 0)
    assert len({tuple(order(*key)) for key in ((1, 0), (1, 1), (2, 0))}) == 3
    assert [number // 4 for number in order(1, 0)] != sorted(number // 4 for number in order(1, 0))


def test_parts_share_an_epoch(tmp_path: Path) -> None:
    shards = write_shards(tmp_path)
    parts = [
        [
            int(sample.picture[0, 0, 0])
            for sample in stream_samples(shards, PLAIN, ShardReport(), seed=1, epoch=3, part=(k, 2))
        ]
        for k in range(2)
    ]
    assert sorted(map(len, parts)) == [4, 8]
    assert sorted([*parts[0], *parts[1]]) == list(range(12))


def test_crops_of_a_stream_repeat(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    shard = made(**{"1.png": png(noise), "1.mask.png": png(with_boxes((8, 0, 0, 60, 60), side=64))})
    one, two, other = (
        next(stream_samples([shard], CropOptions(size=16), ShardReport(), seed=5, epoch=epoch))
        for epoch in (0, 0, 1)
    )
    assert np.array_equal(one.picture, two.picture)
    assert not np.array_equal(one.picture, other.picture)


def test_bad_samples_are_named_and_left_out() -> None:
    good, mask = png(picture_of(1)), png(mask_of(1))
    jpeg = io.BytesIO()
    Image.fromarray(mask_of(1)).save(jpeg, "JPEG")
    shard = made(
        **{
            "a.png": good,
            "a.mask.png": mask,
            "b.png": good,
            "c.mask.png": mask,
            "d.png": good,
            "d.jpg": good,
            "d.mask.png": mask,
            "e.png": png(picture_of(1)[:20]),
            "e.mask.png": mask,
            "f.png": good,
            "f.mask.png": jpeg.getvalue(),
            "g.png": good,
            "g.mask.png": mask,
            "g.json": b"{",
            "h.jpg": good,
            "h.mask.png": mask,
            "h.txt": b" one house\n",
        }
    )
    report = ShardReport()
    pairs = list(read_shards([shard], report, max_bad_share=1.0))
    # h: called jpg and a PNG inside; content counts, not the name.
    assert [pair.text for pair in pairs] == ["A satellite image of building", "one house"]
    assert {one.name: one.code for one in report.refused} == {
        "made.tar#b": "missing_mask",
        "made.tar#c": "missing_picture",
        "made.tar#d": "duplicate_name",
        "made.tar#e": "sizes_differ",
        "made.tar#f": "unsupported_format",
        "made.tar#g": "malformed_row",
    }


def test_too_many_bad_samples_stop_the_stream() -> None:
    members = {}
    for number in range(150):
        members[f"{number:03d}.png"] = png(picture_of(1))
        if number >= 10:
            members[f"{number:03d}.mask.png"] = png(mask_of(1))
    stream = read_shards([made(**members)], ShardReport())
    with pytest.raises(InvalidInput) as refused:
        list(stream)
    assert refused.value.code == "too_many_bad_pairs"  # at the end: 10 of 150
    report = ShardReport()
    swapped = dict(reversed(members.items()))
    with pytest.raises(InvalidInput):
        list(read_shards([made(**swapped)], report))
    assert report.good == 140


@pytest.mark.parametrize("content", [b"", b"no tar at all" * 100])
def test_what_is_no_tar(content: bytes) -> None:
    with pytest.raises(InvalidInput) as refused:
        list(read_shards([Shard("x.tar", lambda: io.BytesIO(content))], ShardReport()))
    assert refused.value.code == "damaged_file"


def test_a_shard_that_ends_early(tmp_path: Path) -> None:
    (shard,) = write_shards(tmp_path, count=1)
    whole = (tmp_path / shard.name).read_bytes()
    with tarfile.open(tmp_path / shard.name) as tar:
        last = tar.getmembers()[-1]
    cut = Shard("cut.tar", lambda: io.BytesIO(whole[: last.offset_data + 3]))
    with pytest.raises(InvalidInput, match=r"cut\.tar") as refused:
        list(read_shards([cut], ShardReport()))
    assert refused.value.code == "damaged_file"


def test_a_compressed_shard_that_ends_early(tmp_path: Path) -> None:
    (shard,) = write_shards(tmp_path, count=1)
    packed = gzip.compress((tmp_path / shard.name).read_bytes())
    assert len(list(read_shards([Shard("x.tar.gz", lambda: io.BytesIO(packed))], ShardReport()))) == 4
    for broken in (packed[:-200], packed[:100] + b"broken" + packed[106:]):
        with pytest.raises(InvalidInput) as refused:
            list(read_shards([Shard("x.tar.gz", lambda broken=broken: io.BytesIO(broken))], ShardReport()))
        assert refused.value.code == "damaged_file"


def test_a_name_twice_in_a_shard() -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for _ in range(2):
            info = tarfile.TarInfo("7.png")
            tar.addfile(info, io.BytesIO())
    with pytest.raises(InvalidInput, match=r"7\.png twice") as refused:
        list(read_shards([Shard("x.tar", lambda: io.BytesIO(buffer.getvalue()))], ShardReport()))
    assert refused.value.code == "duplicate_name"


def test_what_fails_in_the_source_is_not_called_a_damaged_shard(tmp_path: Path) -> None:
    def fail() -> BinaryIO:
        raise ConnectionError("S3 is away")

    with pytest.raises(ConnectionError):
        list(read_shards([Shard("x.tar", fail)], ShardReport()))


def test_no_pairs_at_all() -> None:
    with pytest.raises(InvalidInput) as refused:
        list(read_shards([made(readme=b"hello")], ShardReport()))
    assert refused.value.code == "no_pairs"


def grouped(data: bytes, name: str = "x.tar") -> list[tuple[str, dict[str, bytes]]]:
    wanted = {"png", "mask.png", "txt"}
    return [(one.key, one.members) for one in read_tar(io.BytesIO(data), name, wanted)]


def packed(*members: tuple[str, bytes], form: int = tarfile.PAX_FORMAT) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def test_members_are_grouped_as_the_webdataset_library_groups_them() -> None:
    """All but suffixes that nobody wants, and names of its own."""
    names = [
        "a.png",
        "a.mask.png",
        "A.TXT",
        "a.txt",
        "b/c.png",
        "b/c.mask.PNG",
        "b.c/d.png",
        "nodot",
        ".hidden",
    ]
    names += [
        "e.png",
        "__meta__.png",
        "f/__x__/g.png",
        "f/g.h.png",
        "ä ö.png",
        f"{'long/' * 60}z.png",
        "a.png",
    ]
    data = packed(*((name, name.encode()) for name in names))
    expected = group_by_keys(tar_file_expander([{"url": "x", "stream": io.BytesIO(data)}]))
    theirs = [
        (one["__key__"], {suffix: one[suffix] for suffix in ("png", "mask.png", "txt") if suffix in one})
        for one in expected
    ]
    assert grouped(data) == theirs
    assert len(theirs) > 8


def test_compressed_shards_must_be_called_so() -> None:
    """A megabyte may unpack to a gigabyte; a plain tar is what it is."""
    data = packed(("1.png", b"x"))
    assert grouped(gzip.compress(data), "x.tar.gz") == grouped(data) == [("1", {"png": b"x"})]
    with pytest.raises(InvalidInput):
        grouped(gzip.compress(data), "x.tar")


def test_a_sample_of_any_size_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tar_samples, "MAX_SAMPLE_BYTES", 100_000)
    good = {"2.png": png(picture_of(1)), "2.mask.png": png(mask_of(1))}
    shard = made(**{"1.png": bytes(60_000), "1.txt": bytes(60_000), "1.video": bytes(900_000)}, **good)
    report = ShardReport()
    assert len(list(read_shards([shard], report, max_bad_share=1.0))) == 1
    assert [(one.name, one.code) for one in report.refused] == [("made.tar#1", "entry_too_large")]


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME, b"S"])
def test_hostile_headers(kind: bytes) -> None:
    """A list of attributes of 8 GB is not read into memory; nor is a sparse file spread out."""
    head = tarfile.TarInfo("x")
    head.type, head.size = kind, (8 << 30) - 1
    data = head.tobuf(tarfile.USTAR_FORMAT) + bytes(8 << 20)
    tracemalloc.start()
    with pytest.raises(InvalidInput) as refused:
        grouped(data)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert refused.value.code == "damaged_file"
    assert most < 2 << 20


def test_a_chain_of_headers() -> None:
    head = tarfile.TarInfo("x")
    head.type, head.size = tarfile.GNUTYPE_LONGNAME, 1
    with pytest.raises(InvalidInput) as refused:
        grouped((head.tobuf(tarfile.USTAR_FORMAT) + b"x".ljust(512, b"\0")) * 3000)
    assert refused.value.code == "damaged_file"

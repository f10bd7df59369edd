"""Samples as files in a folder."""

# Made by make_sync.py from _async/saving.py; change it there.

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from earthsynth._sync.downloads import read
from earthsynth._sync.pauses import in_thread
from earthsynth.types.samples import Sample

if TYPE_CHECKING:
    from earthsynth._sync.transport import Transport

# what is written down must not run out
_RUNS_OUT: dict[str, bool | dict[str, bool]] = {
    "image": {"url": True, "expires_at": True, "link": True},
    "mask": True,
    "label": True,
    "files": True,
}
_BESIDE = {
    "geotiff": ".tif",
    "mask_geotiff": ".mask.tif",
    "label_geotiff": ".label.tif",
    "world_file": ".pgw",
    "projection": ".prj",
    "auxiliary": ".png.aux.xml",
    "instances": ".instances.tif",
}


def save_sample(transport: Transport, sample: Sample, folder: Path) -> Path | None:
    """Writes `{index}.png`, `.mask.png`, `.label.png` where it differs, and `.json`; None: there is no picture.

    Where the mask says where it lies, GeoTIFFs and world files too; where it has instances, `.instances.tif`.
    """
    if sample.image is None:
        return None
    files = {".png": read(transport, sample.image.url, sample.image.sha256)}
    if sample.mask is not None:
        files[".mask.png"] = read(transport, sample.mask.url, sample.mask_sha256)
    if sample.label is not None and (
        sample.mask is None or not same_object(sample.label.url, sample.mask.url)
    ):
        files[".label.png"] = read(transport, sample.label.url, sample.label.sha256)
    for name, suffix in _BESIDE.items():
        if name in sample.files:
            files[suffix] = read(transport, sample.files[name].url, sample.files[name].sha256)
    files[".json"] = sample.model_dump_json(exclude=_RUNS_OUT, indent=2).encode()
    in_thread(_write, folder, f"{sample.index:06d}", files)
    return folder / f"{sample.index:06d}.png"


def same_object(first: str, second: str) -> bool:
    """Whether two presigned URLs lead to the same object."""
    return first.partition("?")[0] == second.partition("?")[0]


def _write(folder: Path, stem: str, files: dict[str, bytes]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for suffix, content in files.items():
        (folder / f"{stem}{suffix}").write_bytes(content)

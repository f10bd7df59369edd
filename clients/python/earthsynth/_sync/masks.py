"""Masks and sets of masks, stored under the sha256 of their content."""

# Made by make_sync.py from _async/masks.py; change it there.

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Unpack

from earthsynth._answers import parse
from earthsynth._parts import Progress
from earthsynth._pictures import Picture, base64_text
from earthsynth._requests import delete, get, post, segment
from earthsynth._sync.handles import Handle
from earthsynth._sync.pauses import in_thread
from earthsynth._sync.sets import send_set
from earthsynth.archives import ZipSource
from earthsynth.errors import RequestError
from earthsynth.types.masks import MaskData, MaskSet
from earthsynth.types.requests import Reading

if TYPE_CHECKING:
    from earthsynth._sync.client import EarthSynth


class Mask(MaskData, Handle):
    """A stored mask."""

    @property
    def _path(self) -> str:
        return f"/v1/masks/{segment(self.id, 'the mask id')}"

    def preview(self) -> bytes:
        """The mask in its categories' colours, as PNG."""
        return (self._client._transport.send(get(f"{self._path}/preview"))).content

    def delete(self) -> None:
        """Deletes the mask; what was made of it stays."""
        self._client._transport.send(delete(self._path))


class Masks:
    """`client.masks`"""

    def __init__(self, client: EarthSynth) -> None:
        self._client = client

    def create(
        self,
        file: Picture | None = None,
        *,
        polygons: Sequence[Mapping[str, Any]] | Mapping[str, Any] | None = None,
        width: int | None = None,
        height: int | None = None,
        transform: Sequence[float] | None = None,
        crs: str | int | None = None,
        coordinates: Literal["pixel", "world"] | None = None,
        instances: Mapping[int, str | int] | Sequence[Mapping[str, Any]] | None = None,
        extra_body: Mapping[str, Any] | None = None,
        **reading: Unpack[Reading],
    ) -> Mask:
        """Stores a mask, read bit for bit or refused with the pixel that is wrong; equal masks are one.

        `file`: a path, a file's bytes, an open file, a Pillow image or an array; or `polygons` (COCO, LabelMe or
        GeoJSON) drawn on `width` by `height`. Encodings but class ids: say how they are to be read.

        Polygons are in pixels, or with `transform` (a, b, c, d, e, f) and `crs` (EPSG) in the world, unless
        `coordinates` says otherwise. With encoding="instance", `instances` says what each object is: its number →
        category, or COCO's segments_info.
        """
        if (file is None) == (polygons is None):
            raise RequestError("give exactly one of file and polygons")
        if polygons is not None and (width is None or height is None):
            raise RequestError("polygons are drawn on a mask of a width and a height: give both, in pixels")
        body: dict[str, Any] = {
            **reading,
            "polygons": polygons,
            "width": width,
            "height": height,
            "transform": None if transform is None else list(transform),
            "crs": crs,
            "coordinates": coordinates,
            "instances": instances,
        }
        if file is not None:
            body["file"] = in_thread(base64_text, file)
        found = self._client._json(post("/v1/masks", body | {"extra_body": extra_body}))
        return Mask.of(self._client, found)

    def get(self, mask_id: str) -> Mask:
        """What is known of the mask."""
        return Mask.of(self._client, self._client._json(get(f"/v1/masks/{segment(mask_id, 'the mask id')}")))

    def preview(self, mask_id: str) -> bytes:
        """The mask in its categories' colours, as PNG."""
        path = f"/v1/masks/{segment(mask_id, 'the mask id')}/preview"
        return (self._client._transport.send(get(path))).content

    def delete(self, mask_id: str) -> None:
        """Deletes the mask; what was made of it stays."""
        self._client._transport.send(delete(f"/v1/masks/{segment(mask_id, 'the mask id')}"))


class MaskSets:
    """`client.mask_sets`"""

    def __init__(self, client: EarthSynth) -> None:
        self._client = client

    def create(
        self,
        source: ZipSource | None = None,
        *,
        prefix: str | None = None,
        tile_size: int | None = None,
        partial: bool | None = None,
        progress: Progress | None = None,
        extra_body: Mapping[str, Any] | None = None,
        **reading: Unpack[Reading],
    ) -> MaskSet:
        """Keeps many masks as one set: a zip's path, bytes or open file, a folder, or an import `prefix`.

        A zip is streamed from the disk, a folder packed first. `tile_size`: cut larger masks into tiles of that
        side. `partial`: make the set of what can be used; `refused` names the rest.
        """
        body: dict[str, Any] = {
            **reading,
            "tile_size": tile_size,
            "partial": partial,
            "extra_body": extra_body,
        }
        answer = send_set(self._client._transport, "/v1/mask-sets", source, prefix, body, progress)
        return parse(MaskSet, answer)

    def get(self, set_id: str) -> MaskSet:
        """What is known of the set."""
        path = f"/v1/mask-sets/{segment(set_id, 'the set id')}"
        return parse(MaskSet, self._client._transport.send(get(path)))

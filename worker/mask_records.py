"""Stored masks: their ids, and what is known of each, beside its pixels.

A mask's id is the sha256 of its PNG: equal ids, equal masks. Where a mask says more than its pixels (where it lies,
or which objects are apart) that belongs to what it is, so the id is the sha256 over both. Each id has objects of its
own, all of which begin with its key.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from models.errors import NotFound
from models.georeference import Georeference
from models.geotiff import write_tiff
from models.instances import instance_ids, read_instances
from models.masks import DecodedMask, Encoding, category_shares, decode_mask, encode_png
from worker.jobs import Frozen
from worker.layout import MASK_ID, mask_instances_key, mask_key, mask_record_key
from worker.storage import Storage

_ANY_SIDE = 65_536  # the limit was applied when the mask came in


class MaskCategory(Frozen):
    """`share` of all pixels, 0 to 1; `components` counts 8-connected areas."""

    id: int
    name: str
    pixels: int
    share: float
    components: int


class MaskRecord(Frozen):
    """What is known of a stored mask.

    `mask_sha256` is of its PNG where that is not the id's own, `instances_sha256` of the raster that tells its
    `instances` objects apart.
    """

    id: str
    width: int
    height: int
    encoding: str
    ontology: str
    categories: tuple[MaskCategory, ...]
    warnings: tuple[str, ...] = ()
    mask_sha256: str | None = None
    georeference: Georeference | None = None
    instances: int | None = None
    instances_sha256: str | None = None


@dataclass(frozen=True, slots=True)
class MaskFiles:
    """A mask in its stored form, and its id."""

    png: bytes
    png_sha256: str
    instances: bytes | None
    instances_sha256: str | None
    id: str


@dataclass(frozen=True, slots=True)
class StoredMask:
    """A stored mask: `ids` (H, W) uint8, and `instances` (H, W) uint32 where it tells objects apart."""

    ids: NDArray[np.uint8]
    georeference: Georeference | None = None
    instances: NDArray[np.uint32] | None = None


def mask_files(decoded: DecodedMask) -> MaskFiles:
    """The stored form: equal masks give equal bytes, and so one id."""
    png = encode_png(decoded.ids)
    sha256 = whole = hashlib.sha256(png).hexdigest()
    instances = None if decoded.instances is None else write_tiff(decoded.instances)
    instances_sha256 = None if instances is None else hashlib.sha256(instances).hexdigest()
    if decoded.georeference is not None or instances is not None:
        place = decoded.georeference and asdict(decoded.georeference)
        said = {"png": sha256, "georeference": place, "instances": instances_sha256}
        whole = hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()
    return MaskFiles(png, sha256, instances, instances_sha256, f"msk_{whole}")


def record_of(decoded: DecodedMask) -> MaskRecord:
    """What is known of a mask that is not stored."""
    return _record(decoded, mask_files(decoded))


def _record(decoded: DecodedMask, files: MaskFiles) -> MaskRecord:
    height, width = decoded.ids.shape
    return MaskRecord(
        id=files.id,
        width=width,
        height=height,
        encoding=decoded.encoding.value,
        ontology=decoded.ontology,
        categories=tuple(MaskCategory(**asdict(found)) for found in category_shares(decoded.ids)),
        warnings=decoded.warnings,
        mask_sha256=None if files.id.endswith(files.png_sha256) else files.png_sha256,
        georeference=decoded.georeference,
        instances=None if decoded.instances is None else len(instance_ids(decoded.instances)),
        instances_sha256=files.instances_sha256,
    )


def keep_mask(storage: Storage, tenant: str, decoded: DecodedMask) -> tuple[MaskRecord, bool]:
    """Stores the mask under its id; the flag says whether it is new. The record comes last: then all is there."""
    files = mask_files(decoded)
    record, sha256 = _record(decoded, files), files.id.removeprefix("msk_")
    if files.instances is not None:
        storage.create(mask_instances_key(tenant, sha256), files.instances, "image/tiff")
    created = storage.create(mask_key(tenant, sha256), files.png, "image/png")
    storage.create(mask_record_key(tenant, sha256), record.model_dump_json().encode(), "application/json")
    return record, created


def exists(storage: Storage, tenant: str, mask_id: str) -> bool:
    """Whether the mask of that record is stored: its record is written last and deleted first."""
    return storage.exists(mask_record_key(tenant, mask_id.removeprefix("msk_")))


def find_mask(storage: Storage, tenant: str, mask_id: str) -> MaskRecord:
    """Raises NotFound: absent, or not this tenant's."""
    absent = NotFound("There is no such mask.", code="mask_not_found")
    if not MASK_ID.fullmatch(mask_id):
        raise absent
    try:
        body = storage.read(mask_record_key(tenant, mask_id.removeprefix("msk_")))
    except NotFound:
        raise absent from None
    return MaskRecord.model_validate_json(body)


def read_mask(storage: Storage, tenant: str, mask_id: str) -> NDArray[np.uint8]:
    """The stored mask's ids, (H, W) uint8, checked against the recorded sha256."""
    return read_stored(storage, tenant, mask_id).ids


def read_stored(storage: Storage, tenant: str, mask_id: str) -> StoredMask:
    """The stored mask with all that it says. Raises NotFound, Unavailable (object_damaged)."""
    record = find_mask(storage, tenant, mask_id)
    sha256 = mask_id.removeprefix("msk_")
    png = storage.read_verified(mask_key(tenant, sha256), record.mask_sha256 or sha256)
    ids = decode_mask(png, encoding=Encoding.CLASS_ID, ignore=True, max_side=_ANY_SIDE).ids
    if record.instances_sha256 is None:
        return StoredMask(ids, record.georeference)
    body = storage.read_verified(mask_instances_key(tenant, sha256), record.instances_sha256)
    return StoredMask(ids, record.georeference, read_instances(body))

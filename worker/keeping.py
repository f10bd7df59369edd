"""What becomes of a picture: it is scored, judged, recorded, and stored where it is to be kept."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models import labels as label_mapping
from models.conditions import derive_seed
from models.export.notice import picture_png
from models.masks import encode_png
from models.pixel_values import unique_values
from models.rfilter.rules import accepted, judge
from models.sample import Sample
from worker.gpu import Filter
from worker.rendering import Rendering
from worker.run import Run
from worker.sample_files import store_georeferenced, store_instances
from worker.samples import (
    FileName,
    FileObject,
    FilterVerdict,
    ImageObject,
    LabelAnnotation,
    LabelObject,
    Labels,
    Rle,
    SampleRecord,
    SampleStatus,
    Segmentation,
)
from worker.selection import as_recorded
from worker.wanted import Wanted

UNFILTERED_SAMPLES = 32  # about so many of a data set are kept whatever the rules say


_UNFILTERED_SALT = 0x9E3779B9


def is_unfiltered(seed: int, index: int, samples: int) -> bool:
    """Whether the sample's first picture belongs to the random sample that is delivered beside a data set."""
    return derive_seed(seed ^ _UNFILTERED_SALT, index) * samples < UNFILTERED_SAMPLES * 2**32


class Keeper:
    """Judges pictures and stores what is to be kept of them, from several threads."""

    def __init__(self, run: Run, how: Rendering, rules: Filter | None, unfiltered_of: int) -> None:
        self._run, self._how, self._rules, self._unfiltered_of = run, how, rules, unfiltered_of
        self._masks: dict[bytes, tuple[str, str]] = {}

    def keep(self, one: Wanted, number: int, sample: Sample) -> SampleStatus:
        """Scores, judges and stores one picture; returns what has become of the try."""
        verdicts, scores, ignore = FilterVerdict(accepted=True), {}, None
        if self._rules is not None:
            scored = self._rules.scorers.score(
                sample.image,
                one.mask,
                one.prompt,
                calibration=self._rules.calibration,
                region=None if one.background is None else one.background.region,
            )
            asked = self._how.filter
            found = judge(scored.scores, self._rules.calibration, asked.policy, asked.limits)
            verdicts = FilterVerdict(accepted=accepted(found), rules=as_recorded(found))
            scores, ignore = scored.scores, scored.ignore
        status = self._status(number, good=verdicts.accepted)
        unfiltered = number == 0 and self._in_random_sample(one.index)
        image = label = None
        delivered = (
            one.mask if ignore is None else label_mapping.with_ignored(one.mask, ignore, one.instances)
        )
        if verdicts.accepted or unfiltered or self._how.filter.keep_rejected:
            image = self._store_picture(one, number, sample)
            if not np.array_equal(delivered, one.mask):
                key, sha256 = self._run.put(
                    f"{one.index:06d}-{number}-label.png", encode_png(delivered), "image/png"
                )
                label = LabelObject(key=key, sha256=sha256)
        files = self._files_beside(one, number, sample, delivered) if image else {}
        record = self._record(one, number, status, verdicts)
        self._run.add(
            record.model_copy(
                update={
                    "image": image,
                    "label": label,
                    "labels": labels_of(delivered, one.instances),
                    "files": files,
                    "scores": scores,
                    "ignored": _ignored(one.mask, delivered),
                    "unfiltered": unfiltered,
                }
            )
        )
        return status

    def reject_broken(self, one: Wanted, number: int) -> SampleStatus:
        """Records a picture that came out as NaN or infinity, with an fp32 decoder too."""
        scores: dict[str, Any] = {"finite": False, "entropy": 0.0, "clipped": 0.0}
        scores |= {"size_matches": True, "constant": False, "categories": {}}
        asked = self._how.filter
        verdicts = FilterVerdict(
            accepted=False, rules=as_recorded(judge(scores, None, asked.policy, asked.limits))
        )
        status = self._status(number, good=False)
        self._run.add(
            self._record(one, number, status, verdicts).model_copy(
                update={"scores": scores, "labels": labels_of(one.mask, one.instances)}
            )
        )
        return status

    def _status(self, number: int, *, good: bool) -> SampleStatus:
        if good:
            return SampleStatus.ACCEPTED
        last = number + 1 >= self._how.first_try + self._how.filter.max_tries
        return SampleStatus.EXHAUSTED if last else SampleStatus.REJECTED

    def _in_random_sample(self, index: int) -> bool:
        return self._unfiltered_of > 0 and is_unfiltered(self._how.seed, index, self._unfiltered_of)

    def _record(
        self, one: Wanted, number: int, status: SampleStatus, verdicts: FilterVerdict
    ) -> SampleRecord:
        mask_key, mask_sha256 = self._mask_object(one.mask)
        return SampleRecord(
            index=one.index,
            try_number=number,
            status=status,
            seed=derive_seed(self._how.seed, one.index, number),
            prompt=one.prompt,
            mask_id=one.mask_id,
            mask_sha256=mask_sha256,
            mask_key=mask_key,
            image=None,
            labels=Labels(categories=(), annotations=()),
            attempt=self._run.attempt,
            group=one.group,
            mask_number=one.mask_number,
            name=one.name,
            transform=one.transform,
            init_image_sha256=one.init_image_sha256,
            filter=verdicts,
            pixels=_histogram(one.mask),
            georeference=one.georeference,
        )

    def _store_picture(self, one: Wanted, number: int, sample: Sample) -> ImageObject:
        origin = one.origin
        png = picture_png(sample.image, origin.notice, source_type=origin.source_type)
        key, sha256 = self._run.put(f"{one.index:06d}-{number}.png", png, "image/png")
        height, width, _ = sample.image.shape
        return ImageObject(key=key, sha256=sha256, width=width, height=height)

    def _files_beside(
        self, one: Wanted, number: int, sample: Sample, label: NDArray[np.uint8]
    ) -> dict[FileName, FileObject]:
        put, stem = self._run.put, f"{one.index:06d}-{number}"
        files = {} if one.instances is None else store_instances(put, one.instances)
        if one.georeference is None:
            return files
        return files | store_georeferenced(
            put, stem, sample.image, one.mask, label, one.georeference, one.origin
        )

    def _mask_object(self, mask: NDArray[np.uint8]) -> tuple[str, str]:
        """The stored mask's key and sha256; equal masks of one attempt are one object."""
        pixels = hashlib.sha256(mask.tobytes()).digest()
        found = self._masks.get(pixels)
        if found is None:
            png = encode_png(mask)
            name = f"masks/{hashlib.sha256(png).hexdigest()[:32]}.png"
            found = self._masks[pixels] = self._run.put(name, png, "image/png")
        return found


def labels_of(label: NDArray[np.uint8], instances: NDArray[np.uint32] | None = None) -> Labels:
    """The labels of a picture: a pure function of its label mask, (H, W) uint8, 255: ignore, and its instances."""
    return Labels(
        categories=tuple(category.name for category in label_mapping.image_categories(label)),
        annotations=tuple(
            LabelAnnotation(
                category=found.category,
                category_id=found.category_id,
                box_xywh=found.box_xywh,
                area=found.area,
                segmentation=Segmentation(rle=Rle.model_validate(found.rle), polygons=found.polygons),
                instance_id=found.instance_id,
            )
            for found in label_mapping.annotations(label, instances=instances)
        ),
    )


def _histogram(mask: NDArray[np.uint8]) -> dict[int, int]:
    return {number: int(np.count_nonzero(mask == number)) for number in unique_values(mask)}


def _ignored(mask: NDArray[np.uint8], label: NDArray[np.uint8]) -> dict[int, int]:
    """Pixels of each id that the label ignores and the mask does not."""
    return _histogram(mask[mask != label])

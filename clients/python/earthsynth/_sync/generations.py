"""Generations: one mask, a few pictures, now."""

# Made by make_sync.py from _async/generations.py; change it there.

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Unpack

from pydantic import PrivateAttr

from earthsynth._answers import record
from earthsynth._bodies import generation_body, server_wait
from earthsynth._pictures import Picture
from earthsynth._requests import get, post, segment
from earthsynth._sync.jobs import Job
from earthsynth.errors import EarthSynthError, WaitTimeout
from earthsynth.types.jobs import DryRun
from earthsynth.types.requests import Rendering
from earthsynth.types.samples import Sample

if TYPE_CHECKING:
    from earthsynth._sync.client import EarthSynth

_PATH = "/v1/generations"


class Generation(Job):
    """A generation, and its samples once it has been waited for."""

    _samples: list[Sample] | None = PrivateAttr(default=None)

    @property
    def samples(self) -> list[Sample]:
        """The samples by index, exhausted ones too. Raises EarthSynthError before the generation was waited for."""
        if self._samples is None:
            raise EarthSynthError(f"{self.id} has not been waited for: call wait() first")
        return self._samples

    def _loaded(self) -> None:
        if self._samples is None:
            self._samples = self.results().to_list()


class Generations:
    """`client.generations`"""

    def __init__(self, client: EarthSynth) -> None:
        self._client = client

    def create(
        self,
        mask: Picture | None = None,
        *,
        mask_id: str | None = None,
        polygons: Sequence[Mapping[str, Any]] | Mapping[str, Any] | None = None,
        prompt: str | None = None,
        categories: Sequence[str] | None = None,
        on_mismatch: Literal["error", "warn"] | None = None,
        num_images: int | None = None,
        init_image: Picture | None = None,
        strength: float | None = None,
        feather_pixels: int | None = None,
        wait: bool | float = False,
        **rendering: Unpack[Rendering],
    ) -> Generation:
        """Makes pictures of one mask: exactly one of `mask`, `mask_id` and `polygons`.

        `mask`: a path, a file's bytes, an open file, a Pillow image or an array, whose values are EarthSynth class
        ids; other encodings go through `client.masks.create`. `polygons` (COCO or GeoJSON, in pixels) are drawn on
        `width` by `height`. `prompt` or `categories`, else the mask's own categories. `init_image`: a picture of the
        mask's size that stays outside the mask's pixels of these categories; `strength` and `feather_pixels` are its.

        `wait`: True: return when the generation has ended; seconds: return after so many at the latest, ended or
        not. Raises JobFailed and JobCanceled where it ended so while it was waited for.
        """
        body = generation_body(
            mask,
            mask_id,
            polygons,
            init_image,
            prompt=prompt,
            categories=categories,
            on_mismatch=on_mismatch,
            num_images=num_images,
            strength=strength,
            feather_pixels=feather_pixels,
            **rendering,
        )
        if polygons is not None:
            width, height = rendering.get("width"), rendering.get("height")
            drawn = self._client.masks.create(polygons=polygons, width=width, height=height)
            body["mask_id"] = drawn.id
        seconds = server_wait(wait)
        found = self._client._json(post(_PATH, body, wait_seconds=seconds, read_seconds=seconds + 30.0))
        samples = found.pop("samples", None)
        generation = Generation.of(self._client, found)
        if samples is not None:
            generation._samples = [record(Sample, sample) for sample in samples]
        if wait is False:
            return generation
        if generation.ended:
            generation._loaded()
            return generation._checked()
        try:
            return generation.wait(None if wait is True else max(0.0, wait - seconds))
        except WaitTimeout:
            return generation

    def validate(
        self,
        mask: Picture | None = None,
        *,
        mask_id: str | None = None,
        prompt: str | None = None,
        categories: Sequence[str] | None = None,
        on_mismatch: Literal["error", "warn"] | None = None,
        num_images: int | None = None,
        **rendering: Unpack[Rendering],
    ) -> DryRun:
        """What the generation would become and take; nothing is created. Raises as `create`."""
        body = generation_body(
            mask,
            mask_id,
            None,
            None,
            prompt=prompt,
            categories=categories,
            on_mismatch=on_mismatch,
            num_images=num_images,
            **rendering,
        )
        return record(DryRun, self._client._json(post(_PATH, body | {"validate_only": True})))

    def get(self, job_id: str) -> Generation:
        """The generation as it is now, with its samples where it has ended."""
        path = f"/v1/jobs/{segment(job_id, 'the job id')}"
        generation = Generation.of(self._client, self._client._json(get(path)))
        if generation.ended:
            generation._loaded()
        return generation

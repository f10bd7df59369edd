"""Training sets: pictures with their masks, to train on."""

# Made by make_sync.py from _async/training_sets.py; change it there.

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Unpack

from earthsynth._answers import parse
from earthsynth._parts import Progress
from earthsynth._requests import get, segment
from earthsynth._sync.sets import send_set
from earthsynth.archives import Wanted, ZipSource, everything
from earthsynth.types.requests import Reading
from earthsynth.types.trainings import TrainingSet

if TYPE_CHECKING:
    from earthsynth._sync.client import EarthSynth


class TrainingSets:
    """`client.training_sets`"""

    def __init__(self, client: EarthSynth) -> None:
        self._client = client

    def create(
        self,
        source: ZipSource | None = None,
        *,
        prefix: str | None = None,
        max_bad_share: float | None = None,
        progress: Progress | None = None,
        wanted: Wanted = everything,
        extra_body: Mapping[str, Any] | None = None,
        **reading: Unpack[Reading],
    ) -> TrainingSet:
        """Keeps pairs as one set: a zip's path, bytes or open file, a folder, or objects under an import `prefix`.

        The layout is `images/` and `masks/` with files of the same names, and `train.jsonl` where there is one. Every
        pair is checked; over `max_bad_share` bad ones (0.05) there is no set. `wanted`: which files of a folder.
        """
        body: dict[str, Any] = {**reading, "max_bad_share": max_bad_share, "extra_body": extra_body}
        answer = send_set(
            self._client._transport, "/v1/training-sets", source, prefix, body, progress, wanted
        )
        return parse(TrainingSet, answer)

    def get(self, set_id: str) -> TrainingSet:
        """What is known of the set."""
        path = f"/v1/training-sets/{segment(set_id, 'the set id')}"
        return parse(TrainingSet, self._client._transport.send(get(path)))

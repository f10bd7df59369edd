"""What is said about a data set in its card, its Croissant file and its report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class CategoryAcceptance:
    """How one category fared in the filter.

    `tried` counts the tries that held the category, `accepted` those of them that passed; `rejected_by` maps a
    rule's name to the tries that it rejected. `requested` is None where the job had no goal for it.
    """

    category: str
    tried: int
    accepted: int
    requested: int | None = None
    rejected_by: Mapping[str, int] = field(default_factory=dict)

    @property
    def rate(self) -> float | None:
        """Accepted of tried, 0 to 1; None where nothing was tried."""
        return self.accepted / self.tried if self.tried else None


@dataclass(frozen=True, slots=True)
class DatasetInfo:
    """The data set as a whole. Texts may be a user's: they are escaped where they are shown.

    `licence` is an SPDX identifier or a URL. `created_at` is RFC 3339, the only time in an export. `counts`
    are the job's own ("requested", "accepted", "rejected" …), `versions` those of the software, `parameters`
    whatever else was asked for. `version` is the data set's own; `url` is where it, or what made it, is described,
    `creator` who is named as its author. All JSON-able.
    """

    name: str
    description: str
    licence: str
    created_at: str
    seed: int
    model_name: str
    model_version: str
    model_sha256: str
    filter_policy: str
    acceptance: Sequence[CategoryAcceptance] = ()
    counts: Mapping[str, int] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    parameters: Mapping[str, Any] = field(default_factory=dict)
    dataset_id: str = ""
    version: str = "1.0.0"
    url: str = "https://github.com/jaychempan/EarthSynth"
    creator: str = "EarthSynth"

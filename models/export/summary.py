"""An export in numbers, as its documents tell it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from models.categories import CATEGORIES
from models.export.formats import FORMATS, Format
from models.export.info import DatasetInfo
from models.export.options import ExportFormat, ExportOptions
from models.export.survey import Survey

FEW_ACCEPTED = 0.2  # below this share, filters are likely to throw away what is hard rather than what is bad


@dataclass(frozen=True, slots=True)
class Summary:
    """`instances` are connected components by category name, `classes` the class names in the format's order."""

    options: ExportOptions
    info: DatasetInfo
    survey: Survey
    classes: Sequence[str]
    instances: Mapping[str, int]
    unfiltered: int

    @property
    def format(self) -> Format:
        return FORMATS[self.options.format]

    @property
    def annotations(self) -> int:
        return sum(self.instances.values())

    def warnings(self) -> list[str]:
        """Return sentences about what a user should know before training."""
        said = [
            f"Of the tries with {row.category} only {row.rate:.0%} were accepted; look at the unfiltered sample "
            "before trusting this category."
            for row in self.info.acceptance
            if row.rate is not None and row.rate < FEW_ACCEPTED
        ]
        said += [
            f"{row.category}: {row.accepted} accepted of {row.requested} requested."
            for row in self.info.acceptance
            if row.requested is not None and row.accepted < row.requested
        ]
        annotated = self.format.keeps(self.options)
        left_out = [CATEGORIES[n].name for n in self.survey.present if n not in annotated]
        if left_out:
            said.append(
                f"No annotations for {', '.join(left_out)}: land cover has none unless include_stuff is asked for."
            )
        if self.options.format.startswith("yolo") and not {"train", "val"} <= self.survey.splits.keys():
            said.append("YOLO trainers expect splits called train and val.")
        if self.survey.pixels[255] and self.options.format not in _KEEP_IGNORE:
            said.append("Ignored pixels (255) look like background in this format.")
        return said


_KEEP_IGNORE = {ExportFormat.SEMANTIC, ExportFormat.WEBDATASET, ExportFormat.HF}

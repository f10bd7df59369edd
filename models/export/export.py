"""A data set in a public format, in a folder: written as a stream, read back by public readers, and described."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from models.categories import CATEGORIES
from models.export.card import write_card
from models.export.check import ReaderFound, check_export
from models.export.croissant import read_with_mlcroissant, write_croissant
from models.export.formats import FORMATS
from models.export.info import DatasetInfo
from models.export.options import ExportOptions
from models.export.reader import Reader
from models.export.report import write_report
from models.export.sample import ExportSample
from models.export.spool import LabelSpool
from models.export.summary import Summary
from models.export.survey import survey
from models.export.write import write_samples, write_unfiltered
from models.export.writer import Layout


@dataclass(frozen=True, slots=True)
class ExportReport:
    """What an export holds.

    `annotations` are connected components by the options, the same number in every format, also where a format has
    no place for them. `class_histogram` counts pixels, "background" and "ignore" among them. `fidelity` is the IoU
    of label → format → label by category, as the first of `readers` regains it.
    """

    pictures: int
    annotations: int
    splits: dict[str, int]
    class_histogram: dict[str, int]
    instances: dict[str, int]
    fidelity: dict[str, float]
    readers: list[ReaderFound]
    warnings: list[str]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def _no_samples() -> Iterator[ExportSample]:
    return iter(())


def _ignore(_: int) -> None:
    """Take notice of nothing."""


def export_dataset(
    samples: Callable[[], Iterator[ExportSample]],
    folder: Path,
    options: ExportOptions,
    info: DatasetInfo,
    *,
    unfiltered: Callable[[], Iterator[ExportSample]] = _no_samples,
    on_sample: Callable[[int], None] = _ignore,
) -> ExportReport:
    """Write the samples to `folder`, which must be empty or absent, and return what public readers found in it.

    `samples` is called twice and gives the same each time; one sample is in memory at a time. Labels are read in
    the first pass, pictures in the second. Of `unfiltered`, a random sample of tries that no filter has seen, 48
    at most are shown. `on_sample` gets the number of pictures written so far, often, also between them and while
    readers run, and may raise to end the export. Equal input gives equal bytes. After an error the
    folder holds what was written by then, for the caller to remove.

    Raises:
        Conflict: nothing_to_export, there is no sample.
        InvalidInput: invalid_split, a split cannot be called so.
        ExportUnreadable: a sample is damaged, or a public reader finds something else than was written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise ValueError(f"{folder} is not empty")
    format_ = FORMATS[options.format]
    with tempfile.TemporaryDirectory(prefix=".labels-", dir=folder.parent) as scratch:
        spool = LabelSpool(Path(scratch))
        found = survey(samples(), spool, on_sample)
        classes = format_.classes(found, options)
        layout = Layout(folder, options, info, list(found.splits), classes)
        written = write_samples(samples(), layout, spool, found.pictures, on_sample)
        shown = write_unfiltered(unfiltered(), folder, on_sample, found.pictures)
        summary = Summary(
            options=options,
            info=info,
            survey=found,
            classes=[CATEGORIES[number].name for number in classes],
            instances={CATEGORIES[n].name: written.instances[n] for n in sorted(written.instances)},
            unfiltered=len(shown),
        )
        _write_text(folder / "classes.txt", "".join(f"{name}\n" for name in summary.classes))
        written.sheet.save(folder / "contact_sheet.png")
        if len(shown):
            shown.save(folder / "contact_sheet_unfiltered.png")
        write_card(folder, summary)
        write_croissant(folder, summary)
        readers, fidelity = check_export(
            folder,
            (*format_.readers, Reader("mlcroissant", read_with_mlcroissant)),
            format_.keeps(options),
            written.annotations,
            spool,
            lambda: on_sample(found.pictures),
        )
    told = {"format": options.format, "iou_between": format_.measure, "iou": fidelity}
    _write_text(folder / "fidelity.json", json.dumps(told, indent=1) + "\n")
    write_report(folder, summary, fidelity, readers, written.sheet, shown)
    return ExportReport(
        pictures=found.pictures,
        annotations=summary.annotations,
        splits=found.splits,
        class_histogram=found.histogram(),
        instances=dict(summary.instances),
        fidelity=fidelity,
        readers=readers,
        warnings=summary.warnings(),
    )


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", newline="\n")

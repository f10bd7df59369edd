"""An export is opened with public readers, and compared with what was written, before anyone calls it ready."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from models.errors import EarthSynthError
from models.export.fidelity import Fidelity
from models.export.reader import ExportUnreadable, Reader
from models.export.spool import LabelSpool


@dataclass(frozen=True, slots=True)
class ReaderFound:
    """What one reader found; `annotations` is None where it sees none."""

    reader: str
    version: str
    pictures: int
    annotations: int | None


def check_export(
    folder: Path,
    readers: Sequence[Reader],
    measured: frozenset[int],
    written: Mapping[str, Mapping[int, int]],
    spool: LabelSpool,
    on_picture: Callable[[], None],
) -> tuple[list[ReaderFound], dict[str, float]]:
    """Return what every reader found, and the fidelity by category, of the ids `measured`, by the first reader.

    `written` is how many annotations each sample index of each split has.

    Raises:
        ExportUnreadable: a reader fails, or finds other pictures or annotations than were written.
    """
    fidelity = Fidelity(measured)
    found = []
    for position, reader in enumerate(readers):
        try:
            found.append(
                _read(folder, reader, written, spool, fidelity if position == 0 else None, on_picture)
            )
        except EarthSynthError:  # ours, or the callback's
            raise
        except Exception as error:  # whatever a foreign reader raises, the export is not readable
            raise ExportUnreadable(
                f"{reader.package} {reader.version} cannot read the export ({type(error).__name__})."
            ) from error
    return found, fidelity.by_category()


def _read(
    folder: Path,
    reader: Reader,
    written: Mapping[str, Mapping[int, int]],
    spool: LabelSpool,
    fidelity: Fidelity | None,
    on_picture: Callable[[], None],
) -> ReaderFound:
    seen: dict[str, set[int]] = {split: set() for split in written}
    annotations: int | None = None
    for picture in reader.read(folder):
        index = int(picture.stem)
        if index in seen.get(picture.split, ()) or index not in written.get(picture.split, {}):
            raise ExportUnreadable(f"{reader.package} finds picture {index} where it was not written.")
        seen[picture.split].add(index)
        if picture.annotations is not None:
            if picture.annotations != written[picture.split][index]:
                raise ExportUnreadable(
                    f"{reader.package} finds {picture.annotations} annotations in picture {index}, and "
                    f"{written[picture.split][index]} were written."
                )
            annotations = (annotations or 0) + picture.annotations
        if fidelity and picture.regions is not None:
            fidelity.add(spool.ids(index), picture.regions)
        on_picture()
    pictures = sum(map(len, seen.values()))
    if pictures != sum(map(len, written.values())):
        raise ExportUnreadable(
            f"{reader.package} finds {pictures} pictures, and {sum(map(len, written.values()))} were written."
        )
    return ReaderFound(reader.package, reader.version, pictures, annotations)

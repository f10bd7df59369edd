"""croissant.json: the data set for machines (MLCommons Croissant 1.0), its samples readable as records."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from models.export.reader import ExportUnreadable, Regained
from models.export.summary import Summary

_COLUMNS = {  # columns of manifest.jsonl that are records' fields
    "index": ("INTEGER", "Number of the sample; names its files."),
    "split": ("TEXT", "Split of the sample; all samples of one mask are in one."),
    "group": ("TEXT", "The source mask that the sample was made from."),
    "prompt": ("TEXT", "The text that the picture was made from."),
    "seed": ("INTEGER", "The seed that makes the picture again."),
    "file": ("TEXT", "Path of the picture; after # its name in that archive."),
    "sha256": ("TEXT", "SHA-256 of the picture."),
    "label_file": ("TEXT", "Path of the label; empty where the format has none."),
    "label_sha256": ("TEXT", "SHA-256 of the label as id PNG."),
    "annotations": ("INTEGER", "How many annotations the sample has."),
}


def write_croissant(folder: Path, summary: Summary) -> None:
    """Write croissant.json for the finished data files of `folder`, manifest.jsonl among them.

    Raises:
        ExportUnreadable: mlcroissant finds the description invalid.
    """
    import mlcroissant as mlc

    info = summary.info
    manifest = mlc.FileObject(
        id="manifest.jsonl",
        name="manifest.jsonl",
        description="One line for each sample: files, hashes, provenance.",
        content_url="manifest.jsonl",
        encoding_formats=["application/jsonlines"],
        sha256=_sha256(folder / "manifest.jsonl"),
    )
    pictures = mlc.FileSet(
        id="pictures",
        name="pictures",
        description=f"The pictures, as {summary.format.title}.",
        includes=[summary.format.glob],
        encoding_formats=[summary.format.media],
    )
    fields = [
        mlc.Field(
            id=f"samples/{column}",
            name=column,
            description=description,
            data_types=[getattr(mlc.DataType, kind)],
            source=mlc.Source(file_object="manifest.jsonl", extract=mlc.Extract(column=column)),
        )
        for column, (kind, description) in _COLUMNS.items()
    ]
    try:
        metadata = mlc.Metadata(
            id="dataset",
            name=info.name,
            description=info.description,
            conforms_to="http://mlcommons.org/croissant/1.0",
            license=[info.licence],
            url=info.url,
            version=info.version,
            date_published=datetime.fromisoformat(info.created_at),
            creators=[mlc.Organization(name=info.creator, url=info.url)],
            cite_as=f"{info.name} ({info.created_at[:4]}), synthetic pictures by {info.model_name}.",
            distribution=[manifest, pictures],
            record_sets=[mlc.RecordSet(id="samples", name="samples", fields=fields, key="samples/index")],
        )
        described = metadata.to_json()
    except mlc.ValidationError as error:
        raise ExportUnreadable("mlcroissant refuses the description of the data set.") from error
    text = json.dumps(described, indent=1, ensure_ascii=False, default=str)
    (folder / "croissant.json").write_text(text + "\n", encoding="utf-8")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_with_mlcroissant(folder: Path) -> Iterator[Regained]:
    """Yield a picture for each record of croissant.json, which mlcroissant validates on opening."""
    import mlcroissant as mlc

    for record in mlc.Dataset(jsonld=str(folder / "croissant.json")).records("samples"):
        index, split = record["samples/index"], record["samples/split"].decode()
        yield Regained(split, f"{index:06d}", int(record["samples/annotations"]), None)

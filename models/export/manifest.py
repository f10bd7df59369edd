"""manifest.jsonl: one line for each sample, where it is in the export and where it came from."""

from __future__ import annotations

import hashlib
import json

import numpy as np

from models.categories import CATEGORIES
from models.export.writer import Item, Placed


def manifest_line(item: Item, placed: Placed) -> str:
    """Return the line, newline included.

    `label_sha256` is of the id PNG, the label's identity in every format; `categories` are pixels by name,
    background and ignore left out. A sample's own provenance stands beside these and cannot replace them.
    """
    sample = item.sample
    pixels = np.bincount(item.label.ravel(), minlength=256)
    line = {
        **sample.provenance,
        "index": sample.index,
        "split": sample.split,
        "group": sample.group,
        "mask_id": sample.mask_id,
        "prompt": sample.prompt,
        "seed": sample.seed,
        "width": sample.width,
        "height": sample.height,
        "file": placed.picture,
        "sha256": sample.image_sha256,
        "label_file": placed.label,
        "label_sha256": hashlib.sha256(item.label_png).hexdigest(),
        "annotations": len(item.parts),
        "categories": {c.name: int(pixels[c.id]) for c in CATEGORIES[1:] if pixels[c.id]},
    }
    return json.dumps(line, separators=(",", ":")) + "\n"

"""Opening an export with Hugging Face `datasets`, without the network and without the user's cache."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def load_rows(folder: Path) -> Iterator[tuple[str, dict[str, Any], Any]]:
    """Yield (split, row, features) of a folder whose README.md names its files; pictures come decoded."""
    import datasets

    datasets.disable_progress_bars()
    with tempfile.TemporaryDirectory() as cache:
        found = datasets.load_dataset(str(folder), cache_dir=cache)
        for split, rows in found.items():
            for row in rows:
                yield str(split), row, rows.features

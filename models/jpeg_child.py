"""Reads one JPEG from stdin and writes its pixels to stdout; a program of its own, run by `models.init_image`.

A small progressive JPEG can keep a decoder busy for minutes, and decoders are large: so it runs with limits on time
and memory, in a process that can be killed.
"""

from __future__ import annotations

import io
import json
import resource
import struct
import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_MEMORY_BYTES = 1 << 30


def read(data: bytes, max_side: int) -> tuple[dict[str, Any], NDArray[np.uint8] | None]:
    """Return (description, pixels (H, W, 3) uint8 RGB), or a description of the refusal and None."""
    try:
        with Image.open(io.BytesIO(data), formats=["JPEG"]) as image:
            description = {
                "size": image.size,
                "mode": image.mode,
                "orientation": image.getexif().get(0x0112, 1),
            }
            if max(image.size) > max_side or image.mode != "RGB":
                return description, None
            return description, np.asarray(image)
    except (
        OSError,
        SyntaxError,
        ValueError,
        TypeError,
        KeyError,
        struct.error,
        Image.DecompressionBombError,
    ):
        return {"damaged": True}, None


def main() -> None:
    """Answer one line of JSON, and the pixels where the file was accepted."""
    max_side, seconds = int(sys.argv[1]), float(sys.argv[2])
    data = sys.stdin.buffer.read()
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (int(seconds) + 1, int(seconds) + 1))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    Image.MAX_IMAGE_PIXELS = None  # the sides are checked before a pixel is read
    description, pixels = read(data, max_side)
    sys.stdout.buffer.write(json.dumps(description).encode() + b"\n")
    if pixels is not None:
        sys.stdout.buffer.write(pixels.tobytes())


if __name__ == "__main__":
    main()

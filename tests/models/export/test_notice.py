"""The notice is in the file, where the PNG and XMP specifications put it, and nowhere in the pixels."""

from __future__ import annotations

import io
import struct
import zlib
from xml.etree import ElementTree as ET

import numpy as np
from PIL import Image

from models.export.notice import NOTICE, picture_png

RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
IPTC = "{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}"
PIXELS = np.arange(12 * 20 * 3, dtype=np.uint8).reshape(12, 20, 3)


def chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    """The chunks of a PNG, by the specification alone, checksums verified."""
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    found, at = [], 8
    while at < len(data):
        length, kind = struct.unpack(">I4s", data[at : at + 8])
        content = data[at + 8 : at + 8 + length]
        assert struct.unpack(">I", data[at + 8 + length : at + 12 + length]) == (zlib.crc32(kind + content),)
        found.append((kind, content))
        at += 12 + length
    return found


def test_the_packet_says_trained_algorithmic_media() -> None:
    texts = [content for kind, content in chunks(picture_png(PIXELS)) if kind == b"iTXt"]
    described, packet = sorted(texts)
    assert described == b"Description\x00\x00\x00\x00\x00" + NOTICE.encode()
    keyword, flags, xml = packet[:17], packet[17:22], packet[22:]
    assert (keyword, flags) == (b"XML:com.adobe.xmp", b"\x00\x00\x00\x00\x00")  # not packed, no language
    about = ET.fromstring(xml.decode()).find(f"{RDF}RDF/{RDF}Description")  # noqa: S314, our own
    assert about is not None
    assert (
        about.get(f"{IPTC}DigitalSourceType")
        == "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
    )
    assert [li.text for li in about.iter(f"{RDF}li")] == [NOTICE]


def test_pillow_finds_the_same_pixels_and_the_notice() -> None:
    with Image.open(io.BytesIO(picture_png(PIXELS))) as image:
        image.load()
        assert np.array_equal(np.asarray(image), PIXELS)
        assert image.info["Description"] == NOTICE
        assert "trainedAlgorithmicMedia" in image.info["xmp"].decode()


def test_same_pixels_same_bytes_and_no_time() -> None:
    data = picture_png(PIXELS)
    assert data == picture_png(PIXELS.copy())
    assert {kind for kind, _ in chunks(data)} == {b"IHDR", b"iTXt", b"IDAT", b"IEND"}


def test_any_notice_is_text() -> None:
    odd = 'a < b & "c" → é'
    with Image.open(io.BytesIO(picture_png(PIXELS, odd))) as image:
        image.load()
        assert image.info["Description"] == odd
        about = ET.fromstring(image.info["xmp"].decode())  # noqa: S314, our own
    assert [li.text for li in about.iter(f"{RDF}li")] == [odd]

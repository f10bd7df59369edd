"""Pictures that say they are synthetic: IPTC's digital source type in XMP, and a sentence for people."""

from __future__ import annotations

import io
from dataclasses import dataclass
from xml.sax.saxutils import escape

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

_SOURCE_TYPES = "http://cv.iptc.org/newscodes/digitalsourcetype/"
SOURCE_TYPE = f"{_SOURCE_TYPES}trainedAlgorithmicMedia"
NOTICE = (
    "Synthetic picture, made by a generative model (EarthSynth) from a semantic mask and a text. "
    "It shows no real place."
)


@dataclass(frozen=True, slots=True)
class Origin:
    """How a picture came about: a sentence for people, IPTC's digital source type, and GDAL's item SYNTHETIC."""

    notice: str
    source_type: str
    synthetic: str

    @property
    def metadata(self) -> dict[str, str]:
        """How files that hold no XMP of their own say it: GDAL's items, by name."""
        return {"SYNTHETIC": self.synthetic, "DIGITAL_SOURCE_TYPE": self.source_type}


MADE = Origin(NOTICE, SOURCE_TYPE, "YES")
COMPOSITE = Origin(
    "Composite: a given picture, of which a part was painted anew by a generative model (EarthSynth) from a semantic "
    "mask and a text. What that part shows is at no real place.",
    f"{_SOURCE_TYPES}compositeWithTrainedAlgorithmicMedia",
    "PARTLY",
)

# The packet's id is fixed by the XMP specification (ISO 16684-1, 7.3.2).
_XMP = """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
  <rdf:Description rdf:about=""
    xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
    xmlns:dc="http://purl.org/dc/elements/1.1/"
    Iptc4xmpExt:DigitalSourceType="{source_type}">
   <dc:description><rdf:Alt><rdf:li xml:lang="x-default">{notice}</rdf:li></rdf:Alt></dc:description>
  </rdf:Description>
 </rdf:RDF>
</x:xmpmeta>
<?xpacket end="r"?>"""


def xmp_packet(notice: str = NOTICE, *, source_type: str = SOURCE_TYPE) -> str:
    """Return the XMP packet that a picture of that source carries."""
    return _XMP.format(source_type=source_type, notice=escape(notice))


def picture_png(image: NDArray[np.uint8], notice: str = NOTICE, *, source_type: str = SOURCE_TYPE) -> bytes:
    """Return (H, W, 3) uint8 RGB as a PNG with the notice in it: same pixels and notice, same bytes.

    The XMP packet is where the PNG and XMP specifications put it, in an iTXt chunk `XML:com.adobe.xmp`; the notice
    alone is in `Description` too. There is neither a time nor a machine in the file.
    """
    about = PngInfo()
    about.add_itxt("Description", notice)
    about.add_itxt("XML:com.adobe.xmp", xmp_packet(notice, source_type=source_type))
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG", compress_level=6, pnginfo=about)
    return buffer.getvalue()

"""What a mask's values mean: every encoding, ontology and label map, and every refusal of a value."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import png
import pytest
from numpy.typing import NDArray
from PIL import Image

from models.categories import IGNORE, IGNORE_COLOR, find_category
from models.errors import MaskRefused, UnknownCategory
from models.masks import (
    Encoding,
    decode_mask,
    preview_png,
)
from models.png import write_png

ASSETS = Path(__file__).parents[1] / "assets"
DUBAI = sorted(ASSETS.glob("dubai_*.png"))
FLAIR = ASSETS / "flair_076201.png"


def png_of(pixels: NDArray[Any]) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


def two_values(first: int, second: int) -> NDArray[np.uint8]:
    ids = np.full((20, 24), first, np.uint8)
    ids[8:, 5:15] = second
    return ids


def colored(*colors: tuple[int, int, int]) -> NDArray[np.uint8]:
    """A column of each colour, at least 20 pixels high and wide."""
    return np.tile(np.repeat(np.array([colors], np.uint8), max(1, -(-20 // len(colors))), axis=1), (20, 1, 1))


def refusal(data: bytes, **options: Any) -> MaskRefused:
    with pytest.raises(MaskRefused) as refused:
        decode_mask(data, **options)
    return refused.value


def names(warnings: tuple[str, ...]) -> list[str]:
    return [warning.split(":")[0] for warning in warnings]


@pytest.mark.parametrize("path", DUBAI, ids=lambda path: path.stem)
def test_real_masks_come_as_pypng_reads_them(path: Path) -> None:
    _, _, rows, _ = png.Reader(bytes=path.read_bytes()).read()
    decoded = decode_mask(path.read_bytes())
    assert np.array_equal(decoded.ids, np.array([list(row) for row in rows]))
    assert (decoded.encoding, decoded.ontology, decoded.warnings) == (Encoding.CLASS_ID, "earthsynth", ())


def test_equal_channel_rgb_is_earthsynths_own_encoding() -> None:
    ids = two_values(0, 25)
    decoded = decode_mask(png_of(np.repeat(ids[:, :, None], 3, axis=2)))
    assert np.array_equal(decoded.ids, ids)
    assert decoded.encoding is Encoding.CLASS_ID


def test_a_palette_is_read_by_index_and_its_encoding_named() -> None:
    ids = two_values(3, 66)
    decoded = decode_mask(preview_png(ids))
    assert np.array_equal(decoded.ids, ids)
    assert decoded.encoding is Encoding.PALETTE


def test_m10_16_bit_within_the_list_is_kept_and_beyond_it_refused() -> None:
    assert np.array_equal(decode_mask(png_of(two_values(0, 40).astype(np.uint16))).ids, two_values(0, 40))
    wide = two_values(0, 1).astype(np.uint16)
    wide[9, 7] = 65535
    refused = refusal(png_of(wide))
    assert refused.code == "label_out_of_range"
    assert "Pixel (7, 9) is 65535" in refused.message


def test_m12_a_colour_mask_with_a_map_by_exact_colour() -> None:
    pixels = colored((255, 0, 0), (0, 0, 255), (0, 0, 0))
    label_map = {"#FF0000": "buildings", "0, 0, 255": 6, "#000000": "0"}
    decoded = decode_mask(png_of(pixels), label_map=label_map)
    assert np.array_equal(decoded.ids, np.select([pixels[:, :, 0] == 255, pixels[:, :, 2] == 255], [8, 6], 0))
    assert (decoded.encoding, decoded.ontology) == (Encoding.COLOR, "label_map")


def test_m12_unknown_colours_are_listed_with_their_pixels() -> None:
    pixels = colored((255, 0, 0), (0, 0, 255))
    pixels[4, 2] = (254, 1, 0)
    refused = refusal(png_of(pixels), label_map={"#ff0000": "building", "#0000ff": "water"})
    assert refused.code == "unknown_colours"
    assert "1 of the file's 3 colours" in refused.message
    assert "#fe0100 at pixel (2, 4)" in refused.message


def test_m13_a_colour_mask_without_a_map_gets_a_hint() -> None:
    refused = refusal(png_of(colored((1, 2, 3), (200, 100, 50))))
    assert refused.code == "not_a_label_mask"
    assert "label_map" in refused.message


@pytest.mark.parametrize("options", [{}, {"ontology": "flair"}, {"encoding": Encoding.COLOR}], ids=str)
def test_m14_smoothed_edges_are_counted_and_exemplified(options: dict[str, Any]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (100, 100, 3), dtype=np.uint8)
    refused = refusal(png_of(pixels), **options)
    count = len(np.unique(pixels.reshape(-1, 3), axis=0))
    assert refused.code == "unknown_colours"
    assert f"{count} colours" in refused.message
    assert refused.message.count("#") >= 5


def test_noise_of_millions_of_colours_is_refused_quickly_and_counted_so_far() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (700, 700, 3), dtype=np.uint8)
    assert "or more" in refusal(png_of(pixels)).message


def test_m23_one_class_is_accepted_with_a_warning() -> None:
    decoded = decode_mask(png_of(np.zeros((20, 20), np.uint8)))
    assert not decoded.ids.any()
    assert decoded.warnings == ("single_class: every pixel is 0",)


def test_m24_unknown_ids_are_listed_with_the_first_pixel() -> None:
    ids = two_values(4, 8)
    ids[3, 5], ids[2, 9] = 80, 200
    refused = refusal(png_of(ids))
    assert refused.code == "unknown_label"
    assert "Pixel (9, 2) is 200" in refused.message
    assert "80, 200" in refused.message


def test_255_is_refused_with_its_pixel_unless_ignore_is_asked_for() -> None:
    ids = two_values(4, 8)
    ids[6, 3] = IGNORE
    refused = refusal(png_of(ids))
    assert refused.code == "ignore_not_allowed"
    assert "Pixel (3, 6) is 255" in refused.message
    assert "ignore=true" in refused.message
    assert np.array_equal(decode_mask(png_of(ids), ignore=True).ids, ids)


@pytest.mark.parametrize("wrap", ["grey", "rgb", "palette"])
def test_0_and_255_alone_are_ambiguous(wrap: str) -> None:
    ids = two_values(0, 255)
    data = {
        "grey": png_of(ids),
        "rgb": png_of(np.repeat(ids[:, :, None], 3, axis=2)),
        "palette": preview_png(ids),
    }[wrap]
    refused = refusal(data)
    assert refused.code == "ambiguous_encoding"
    assert "encoding=binary" in refused.message
    assert np.array_equal(decode_mask(data, ignore=True).ids, ids)
    assert np.array_equal(decode_mask(data, category="ship").ids, two_values(0, 17))
    assert refusal(data, encoding=Encoding.CLASS_ID).code == "ignore_not_allowed"


@pytest.mark.parametrize("marked", [1, 7, 128, 255])
def test_binary_takes_any_one_value_beside_0(marked: int) -> None:
    decoded = decode_mask(png_of(two_values(0, marked)), encoding=Encoding.BINARY, category="Storage Tanks")
    assert np.array_equal(decoded.ids, two_values(0, 25))
    assert decoded.encoding is Encoding.BINARY


def test_binary_of_one_bit_and_of_colour() -> None:
    one_bit = io.BytesIO()
    Image.fromarray(two_values(0, 255)).convert("1").save(one_bit, "PNG")
    assert np.array_equal(decode_mask(one_bit.getvalue(), category="plane").ids, two_values(0, 16))
    red = two_values(0, 255)[:, :, None] * np.array([1, 0, 0], np.uint8)
    assert np.array_equal(decode_mask(png_of(red), category="plane").ids, two_values(0, 16))


def test_binary_needs_its_category_and_two_values() -> None:
    data = png_of(two_values(0, 255))
    assert refusal(data, encoding=Encoding.BINARY).code == "category_required"
    assert refusal(data, encoding=Encoding.BINARY, category="background").code == "category_required"
    three = two_values(0, 9)
    three[0, 2] = 5
    refused = refusal(png_of(three), encoding=Encoding.BINARY, category="plane")
    assert refused.code == "not_binary"
    assert "0, 5, 9" in refused.message
    assert refusal(png_of(two_values(3, 9)), encoding=Encoding.BINARY, category="plane").code == "not_binary"


def test_0_and_1_alone_are_taken_as_ids_with_a_warning() -> None:
    decoded = decode_mask(png_of(two_values(0, 1)))
    assert np.array_equal(decoded.ids, two_values(0, 1))
    assert names(decoded.warnings) == ["maybe_binary"]


def test_a_category_contradicts_another_encoding() -> None:
    assert (
        refusal(png_of(two_values(0, 4)), encoding=Encoding.CLASS_ID, category="road").code
        == "ambiguous_encoding"
    )


def test_flair_is_refused_helpfully_without_its_ontology_and_exact_with_it() -> None:
    data = FLAIR.read_bytes()
    refused = refusal(data)
    assert refused.code == "not_a_label_mask"
    assert "send ontology=flair" in refused.message
    decoded = decode_mask(data, ontology="flair")
    pixels = np.asarray(Image.open(FLAIR))
    swimming_pool = (pixels == (0x3D, 0xE6, 0xEB)).all(axis=2)
    assert swimming_pool.any()
    assert np.array_equal(decoded.ids == find_category("swimming pool").id, swimming_pool)
    grass = (pixels == (0x55, 0xFF, 0x00)).all(axis=2) | (pixels == (0xF3, 0xA6, 0x0D)).all(axis=2)
    assert np.array_equal(decoded.ids == find_category("grass").id, grass)
    assert (decoded.encoding, decoded.ontology) == (Encoding.COLOR, "flair")


def test_foreign_ids_are_mapped_by_name() -> None:
    ids = np.repeat(np.arange(8, dtype=np.uint8), 40).reshape(16, 20)
    decoded = decode_mask(png_of(ids), ontology="loveda")
    assert np.array_equal(decoded.ids, np.array([0, 0, 8, 4, 6, 10, 9, 7])[ids])
    refused = refusal(png_of(ids + 2), ontology="loveda")
    assert refused.code == "unknown_label"
    assert "knows 0, 1, 2, 3, 4, 5, 6, 7" in refused.message


def test_deepglobe_is_read_by_colour_even_where_only_black_and_white_are_left() -> None:
    pixels = colored((0, 0, 0), (255, 255, 255))
    decoded = decode_mask(png_of(pixels), ontology="deepglobe")
    assert np.array_equal(decoded.ids, np.where(pixels[:, :, 0] == 255, 10, 0))
    assert decoded.encoding is Encoding.COLOR
    assert np.array_equal(decode_mask(png_of(pixels[:, :, 0]), ontology="deepglobe").ids, decoded.ids)
    assert (
        refusal(png_of(two_values(0, 3)), ontology="deepglobe", encoding=Encoding.CLASS_ID).code
        == "unknown_label"
    )


def test_classes_without_an_equivalent_become_background_and_say_so() -> None:
    ids = np.repeat(np.array([1, 14, 19, 5], np.uint8), 100).reshape(20, 20)
    decoded = decode_mask(png_of(ids), ontology="flair")
    assert np.array_equal(decoded.ids, np.select([ids == 1, ids == 5], [8, 6], 0))
    assert names(decoded.warnings) == ["mapped_to_background"]  # snow; "other" loses nothing
    assert "14 of IGN FLAIR" in decoded.warnings[0]


def test_grey_rgb_with_a_foreign_ontology_is_told_by_which_reading_fits() -> None:
    grays = colored((148, 148, 148), (255, 255, 255))  # OpenEarthMap's pavement and road
    assert set(np.unique(decode_mask(png_of(grays), ontology="openearthmap").ids)) == {3, 4}
    ids = np.repeat(two_values(1, 8)[:, :, None], 3, axis=2)
    assert np.array_equal(decode_mask(png_of(ids), ontology="openearthmap").ids, two_values(1, 8))


def test_our_own_preview_reads_back_by_colour() -> None:
    ids = np.arange(20 * 67, dtype=np.uint16).reshape(20, 67).astype(np.uint8) % 67
    ids[0, 0] = IGNORE
    rgb = np.asarray(Image.open(io.BytesIO(preview_png(ids))).convert("RGB"))
    assert tuple(rgb[0, 0]) == IGNORE_COLOR
    assert "send encoding=color" in refusal(png_of(rgb)).message
    assert np.array_equal(decode_mask(png_of(rgb), encoding=Encoding.COLOR, ignore=True).ids, ids)
    assert refusal(png_of(rgb), encoding=Encoding.COLOR).code == "ignore_not_allowed"


def test_a_label_map_of_values_and_its_other_direction() -> None:
    data = png_of(two_values(12, 200))
    for label_map in (
        {"12": "road", "200": "ignore"},
        {"road": 12, "ignore": "200"},
        {"12": 4, "200": 255, "99": "water"},
    ):
        assert np.array_equal(decode_mask(data, label_map=label_map).ids, two_values(4, 255))
    wide = png_of(two_values(0, 1).astype(np.uint16) * 1000)
    assert np.array_equal(decode_mask(wide, label_map={"0": 0, "1000": "plane"}).ids, two_values(0, 16))
    assert refusal(data, label_map={"12": "road"}).code == "unknown_label"
    in_palette = write_png(two_values(0, 1), np.array([[9, 9, 9], [255, 0, 0]], np.uint8))
    by_color = decode_mask(in_palette, label_map={"#090909": 0, "#ff0000": "building"})
    assert np.array_equal(by_color.ids, two_values(0, 8))


@pytest.mark.parametrize(
    "label_map",
    [{}, {"#ff0000": "road", "1": "water"}, {"#f00": "road"}, {"300,0,0": "road"}, {"road": "water"}, {"70000": 1},
     {"#ff0000": "road", "255,0,0": "water"}, {"1": "water", "01": "road"}],
    ids=json.dumps,
)  # fmt: skip
def test_a_label_map_that_cannot_be_used(label_map: dict[str, int | str]) -> None:
    with pytest.raises((MaskRefused, UnknownCategory)) as refused:
        decode_mask(png_of(two_values(0, 1)), label_map=label_map)
    assert refused.value.code in {"invalid_label_map", "unknown_category"}


def test_label_maps_categories_and_ontologies_nobody_knows() -> None:
    data = png_of(two_values(0, 1))
    for options in ({"label_map": {"1": "starship"}}, {"label_map": {"1": 67}}, {"category": "starship"}):
        with pytest.raises(UnknownCategory):
            decode_mask(data, **options)  # type: ignore[arg-type]
    with pytest.raises(UnknownCategory) as refused:
        decode_mask(data, ontology="mars")
    assert refused.value.code == "unknown_ontology"
    assert refusal(data, ontology="flair", label_map={"1": 1}).code == "invalid_label_map"


def test_explicit_encodings_that_the_file_cannot_have() -> None:
    assert refusal(png_of(two_values(0, 4)), encoding=Encoding.PALETTE).code == "not_a_label_mask"
    pixels = np.repeat(two_values(0, 4)[:, :, None], 3, axis=2)
    pixels[5, 7, 1] = 9
    refused = refusal(png_of(pixels), encoding=Encoding.CLASS_ID)
    assert refused.code == "not_a_label_mask"
    assert "Pixel (7, 5) is the colour #000900" in refused.message

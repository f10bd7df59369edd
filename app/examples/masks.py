"""Examples: masks, sets of masks, and what masks may hold."""

from __future__ import annotations

from collections.abc import Mapping

from app.examples.example import MASK_FILE, MASK_ID, MASK_SET_ID, Codes, Example
from app.examples.problems import DRAWING, FIELDS, FORM, MASK_FILE_CODES

_MASK = {
    "id": MASK_ID,
    "width": 256,
    "height": 256,
    "encoding": "class_id",
    "ontology": "earthsynth",
    "categories": [
        {"id": 1, "name": "bare land", "pixels": 57344, "share": 0.875, "components": 2},
        {"id": 4, "name": "road", "pixels": 2048, "share": 0.03125, "components": 1},
        {"id": 8, "name": "building", "pixels": 6144, "share": 0.09375, "components": 2},
    ],
    "warnings": [],
    "georeference": None,
    "instances": None,
    "preview_url": f"/v1/masks/{MASK_ID}/preview",
}
_SET = {
    "id": MASK_SET_ID,
    "masks": 2,
    "files": 2,
    "width": None,
    "height": None,
    "categories": [
        {"id": 4, "name": "road", "masks": 2, "labelled_masks": 2, "pixels": 1536, "share": 0.075},
        {"id": 8, "name": "building", "masks": 2, "labelled_masks": 2, "pixels": 1920, "share": 0.09375},
    ],
    "warnings": [],
}
_CREATED = _SET | {
    "refused": [
        {
            "name": "broken.png",
            "code": "damaged_file",
            "message": "The file is damaged: its PNG signature is incomplete or was altered by a text-mode transfer. "
            "Export the mask again.",
        }
    ],
    "ignored": [".DS_Store"],
}
_LOVEDA = {
    "name": "loveda",
    "title": "LoveDA, 7 land covers",
    "source": "https://github.com/Junjue-Wang/LoveDA",
    "ids": {"2": 8, "3": 4, "4": 6, "6": 9, "7": 7},
    "names": {"building": 8, "road": 4, "water": 6, "forest": 9, "agriculture": 7},
    "colors": {"#ff0000": 8, "#ffff00": 4, "#0000ff": 6, "#00ff00": 9, "#ffc380": 7},
}
_UPLOAD: Codes = {400: ("malformed_json", "malformed_request", "too_many_parts")}
_FOUND: Codes = {404: ("mask_not_found",)}

EXAMPLES: Mapping[str, Example] = {
    "create_mask": Example(
        {201: _MASK, 200: _MASK},
        bodies={
            "class ids in base64": {"file": MASK_FILE, "encoding": "class_id"},
            "polygons, in pixels": {
                "polygons": [{"category": "road", "segmentation": [[0, 100, 255, 100, 255, 120, 0, 120]]}],
                "width": 256,
                "height": 256,
            },
            "a mask in colours of one's own": {
                "file": MASK_FILE,
                "encoding": "color",
                "label_map": {"#010101": "bare land", "#040404": "road", "#080808": "building"},
            },
        },
        form={"file": "@mask.png", "encoding": "color", "ontology": "loveda"},
        codes=_UPLOAD
        | {
            415: ("unsupported_media_type", "unsupported_content_encoding", "unsupported_format"),
            422: (
                *("mask_missing", "file_and_polygons", "invalid_instances", "unknown_instance"),
                *(*DRAWING, *MASK_FILE_CODES, *FIELDS, "invalid_base64", *FORM),
            ),
        },
    ),
    "get_mask": Example({200: _MASK}, codes=_FOUND),
    "get_mask_preview": Example({200: None}, codes=_FOUND | {503: ("storage_unavailable", "object_damaged")}),
    "delete_mask": Example({204: None}, codes=_FOUND | {409: ("mask_in_use",)}),
    "create_mask_set": Example(
        {201: _CREATED, 200: _CREATED},
        bodies={"masks under the import prefix": {"prefix": "imports/tiles/2026/", "tile_size": 512}},
        form={"file": "@masks.zip", "partial": True},
        codes=_UPLOAD
        | {
            422: (
                *("mask_missing", "masks_refused", "empty_archive", "overlapping_entries", "unsafe_name"),
                *("archive_too_large", *FIELDS, *FORM),
            )
        },
    ),
    "get_mask_set": Example({200: _SET}, path={"set_id": MASK_SET_ID}, codes={404: ("mask_set_not_found",)}),
    "list_categories": Example(
        {
            200: {
                "items": [
                    {
                        "id": 4,
                        "name": "road",
                        "aliases": ["street", "roadway"],
                        "color": "#786e82",
                        "is_thing": False,
                    }
                ],
                "next_cursor": None,
            }
        }
    ),
    "list_ontologies": Example({200: {"items": [_LOVEDA], "next_cursor": None}}),
}

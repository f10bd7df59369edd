"""How callers name a category in JSON: by EarthSynth's names, by an ontology's, or by a number."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from models.categories import IGNORE, find_category, get_ontology, normal_name
from models.errors import MaskRefused, UnknownCategory
from models.label_map import meaning_of, read_label_map


def category_numbers(
    ontology: str, label_map: Mapping[str, int | str] | None, *, ignore: bool
) -> Callable[[str | int], int]:
    """Return what gives EarthSynth's id of a category's name, or of its number in the ontology or the label_map.

    It raises MaskRefused: unknown_category, unknown_label, ignore_not_allowed. Its sentences have no full stop.

    Raises:
        MaskRefused, UnknownCategory: of the ontology or the label_map itself.
    """
    if label_map is not None and ontology != "earthsynth":
        raise MaskRefused("Send either an ontology or a label_map, not both.", code="invalid_label_map")
    source = get_ontology(ontology)
    meaning = meaning_of(source) if label_map is None else read_label_map(label_map)
    names = {} if ontology == "earthsynth" else {normal_name(n): to for n, to in source.name_map.items()}

    def number_of(name: str | int) -> int:
        if isinstance(name, int):
            found = IGNORE if name == IGNORE and ignore else meaning.ids.get(name)
            if found is None:
                shown = name if abs(name) < 1 << 32 else "so large a number"
                raise MaskRefused(f"{shown} is no class of {meaning.title}", code="unknown_label")
        elif normal_name(name) == "ignore":
            found = IGNORE
        elif normal_name(name) in names:
            found = names[normal_name(name)]
        else:
            try:
                found = find_category(name).id
            except UnknownCategory as error:
                raise MaskRefused(error.message.rstrip("."), code="unknown_category") from error
        if found == IGNORE and not ignore:
            raise MaskRefused("it means ignore: send ignore=true to keep it so", code="ignore_not_allowed")
        return found

    return number_of

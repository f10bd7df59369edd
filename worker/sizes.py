"""Pictures whose size is their mask's: what may be asked for, and in how many tiles they are made."""

from __future__ import annotations

from models.errors import FieldError, InvalidInput
from models.model_card import ModelCard, check_size
from models.tiling import count_tiles, plan_canvas

MAX_TILES = 256


def own_size(
    asked: tuple[int | None, int | None], width: int, height: int, *, because: str
) -> tuple[int, int]:
    """The mask's (width, height). Raises InvalidInput (wrong_size) where another size is asked for.

    `because`: the field that makes the picture as large as its mask.
    """
    wrong = [
        FieldError(f"/{name}", f"leave it out, or send {own}")
        for name, wanted, own in (("width", asked[0], width), ("height", asked[1], height))
        if wanted not in (None, own)
    ]
    if wrong:
        raise InvalidInput(
            f"With {because} the picture has its mask's size, {width} x {height}: leave width and height out.",
            code="wrong_size",
            errors=wrong,
        )
    return width, height


def check_whole(card: ModelCard, width: int, height: int) -> None:
    """Raises InvalidInput (unsupported_size) for a picture that the model cannot make in one piece."""
    canvas = plan_canvas(card, width, height, tiled=False)
    try:
        check_size(card, canvas.width, canvas.height)
    except InvalidInput as error:
        raise InvalidInput(
            f"Model {card.name} cannot make {width} x {height} pixels in one piece, at most {card.max_side} x "
            f"{card.max_side}. Send size_policy=tile, or cut the pictures.",
            code=error.code,
            errors=[FieldError("/size_policy", "tile makes pictures of any size")],
        ) from error


def check_tiles(card: ModelCard, width: int, height: int, *, pictures: int, most: int) -> None:
    """Raises InvalidInput (too_many_tiles) where pictures of that size would have more than `most` tiles together."""
    tiles = count_tiles(card, width, height)
    if pictures * tiles > most:
        pointer = "/num_images" if tiles <= most else "/size_policy"
        raise InvalidInput(
            f"{width} x {height} pixels are {tiles} tiles of model {card.name}, times {pictures} picture(s); at most "
            f"{most} are made. Ask for fewer pictures, or cut the mask.",
            code="too_many_tiles",
            errors=[FieldError(pointer, f"{pictures * tiles} tiles of at most {most}")],
        )

"""Keep-background: what a request says of the picture it gives, checked."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from models.errors import FieldError, InvalidInput

MAX_FEATHER = 64
WHOLE_STRENGTH = 1.0  # the region is painted from noise alone


@dataclass(frozen=True, slots=True)
class InitImageFacts:
    """What is known of a given picture when a request is checked: its stored form's sha256, its size in pixels."""

    sha256: str
    width: int
    height: int


def painting_of(
    given: InitImageFacts | None,
    *,
    strength: float | None,
    feather_pixels: int | None,
    mask_size: tuple[int, int],
    asked: Collection[int],
    present: Collection[int],
) -> dict[str, Any]:
    """The fields of a spec that say what is painted into which picture; none where none is given.

    `asked` and `present`: the ids of the categories asked for, and of those in the mask, background and ignore left
    out. Raises InvalidInput: init_image_missing, sizes_differ, nothing_to_paint.
    """
    if given is None:
        for name, value in (("strength", strength), ("feather_pixels", feather_pixels)):
            if value is not None:
                raise InvalidInput(
                    f"{name} says how init_image is painted over; send an init_image too, or leave it out.",
                    code="init_image_missing",
                    errors=[FieldError(f"/{name}", "only together with init_image")],
                )
        return {}
    if (given.width, given.height) != mask_size:
        sizes = (
            f"The init_image is {given.width} x {given.height} and the mask {mask_size[0]} x {mask_size[1]}"
        )
        raise InvalidInput(
            f"{sizes}: export both in one size, pixel on pixel.",
            code="sizes_differ",
            errors=[FieldError("/init_image", sizes)],
        )
    if not set(asked) & set(present):
        raise InvalidInput(
            "The mask has no pixel of the categories asked for, so nothing of the init_image would be painted: label "
            "the region that is to change.",
            code="nothing_to_paint",
            errors=[FieldError("/mask", "labels nothing that is asked for")],
        )
    return {
        "init_image_sha256": given.sha256,
        "strength": WHOLE_STRENGTH if strength is None else strength,
        "feather_pixels": feather_pixels or 0,
    }


def steps_made(num_inference_steps: int, strength: float) -> int:
    """Denoising steps that are made, as diffusers counts."""
    return int(num_inference_steps * strength)


def check_steps(num_inference_steps: int, strength: float) -> None:
    """Raises InvalidInput (strength_too_small) where no denoising step would be made."""
    if steps_made(num_inference_steps, strength) < 1:
        raise InvalidInput(
            f"strength={strength:g} of {num_inference_steps} steps is less than one step: send a larger strength, or "
            "more num_inference_steps.",
            code="strength_too_small",
            errors=[FieldError("/strength", f"at least {1 / num_inference_steps:.2g}")],
        )

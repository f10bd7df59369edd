"""What a model is: its name, what it can make, its own settings, and which files it has."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from models.categories import CATEGORIES
from models.errors import CategoryMismatch, FieldError, InvalidInput

RARE_BELOW = 500  # training pictures under which a category is said to come out badly


class Scheduler(StrEnum):
    """Samplers that draw no noise after the start, so that a picture depends on its own seed alone."""

    UNIPC = "unipc"  # UniPCMultistepScheduler: EarthSynth's own, good from 8 steps on
    DDIM = "ddim"  # DDIMScheduler with eta 0
    DPMPP = "dpmpp"  # DPMSolverMultistepScheduler, DPM-Solver++(2M)
    EULER = "euler"  # EulerDiscreteScheduler, not the ancestral one
    PNDM = "pndm"  # PNDMScheduler without Runge-Kutta steps, Stable Diffusion's first; one model call more


@dataclass(frozen=True, slots=True)
class Defaults:
    """Settings of one model where a request says nothing; names and units are those of diffusers."""

    num_inference_steps: int
    guidance_scale: float
    controlnet_conditioning_scale: float
    scheduler: Scheduler
    negative_prompt: str = ""


@dataclass(frozen=True, slots=True)
class ModelCard:
    """One version of one model.

    `base` and `controlnet` are hub ids ("owner/name") or local folders. `sha256` pins files by their place in
    the pipeline ("unet/diffusion_pytorch_model.safetensors"); `digest` is one hash for the model
    (`model_digest` over all its files) and, where it is given, `sha256` pins every file. It is None for
    weights that this release does not pin as a whole: the loader reports the digest it found.
    `filter_of` names the shipped model whose R-Filter judges these pictures too; empty: none does.
    Both `base` and `controlnet` are empty for a model whose files lie in the registry.
    """

    name: str
    version: str
    title: str
    licence: str
    category_ids: tuple[int, ...]
    native_width: int
    native_height: int
    max_side: int
    size_multiple: int
    defaults: Defaults
    batch_size_cpu: int
    batch_size_cuda: int
    base: str
    controlnet: str
    controlnet_subfolder: str = "controlnet"
    sha256: Mapping[str, str] = field(default_factory=dict)
    digest: str | None = None
    training_counts: Mapping[int, int] = field(default_factory=dict)
    filter_of: str = ""

    @property
    def family(self) -> str:
        """The shipped model that it is, or was trained from: what suits that one suits it too."""
        return self.filter_of or self.name

    @property
    def category_names(self) -> tuple[str, ...]:
        """What this model was trained on, in the order of ids."""
        return tuple(CATEGORIES[category_id].name for category_id in self.category_ids)


def model_digest(files: Mapping[str, str]) -> str:
    """One hex SHA-256 for many files: over the lines "<path> <sha256>\\n", sorted by path."""
    lines = "".join(f"{path} {files[path]}\n" for path in sorted(files))
    return hashlib.sha256(lines.encode()).hexdigest()


def check_categories(card: ModelCard, category_ids: Iterable[int]) -> None:
    """Refuse categories the model was not trained on (0 and 255, "anything" and "ignore", always pass).

    Raises CategoryMismatch (code category_not_in_model) that names them and lists what the model knows.
    """
    foreign = sorted(set(category_ids) - set(card.category_ids) - {0, 255})
    if foreign:
        names = ", ".join(CATEGORIES[category_id].name for category_id in foreign)
        raise CategoryMismatch(
            f"Model {card.name} was not trained on {names}. It knows: {', '.join(card.category_names)}.",
            code="category_not_in_model",
        )


def check_size(card: ModelCard, width: int, height: int) -> None:
    """Refuse picture sizes (pixels) the model cannot make. Raises InvalidInput (code unsupported_size)."""
    wrong = [
        FieldError(
            f"/{side}",
            f"must be a multiple of {card.size_multiple} from {card.size_multiple} to {card.max_side}",
        )
        for side, pixels in (("width", width), ("height", height))
        if pixels % card.size_multiple or not card.size_multiple <= pixels <= card.max_side
    ]
    if wrong:
        raise InvalidInput(
            f"Model {card.name} cannot make {width} x {height} pictures: each side must be a multiple of "
            f"{card.size_multiple} and at most {card.max_side}; its native size is "
            f"{card.native_width} x {card.native_height}.",
            code="unsupported_size",
            errors=wrong,
        )


def rarity_warnings(card: ModelCard, category_ids: Iterable[int]) -> tuple[str, ...]:
    """One sentence for each category that the model hardly saw in training."""
    rare = [c for c in sorted(set(category_ids)) if card.training_counts.get(c, RARE_BELOW) < RARE_BELOW]
    return tuple(
        f"{CATEGORIES[c].name}: only about {card.training_counts[c]} of {card.name}'s training pictures "
        "show it, so it often comes out badly."
        for c in rare
    )

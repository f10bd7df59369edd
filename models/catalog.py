"""What every model is: categories, sizes, default settings, where its weights lie and their hashes.

Reads one small JSON file and loads no weights: the API answers from here without torch.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from models.categories import CATEGORIES
from models.errors import CategoryMismatch, FieldError, InvalidInput, ModelUnavailable, UnknownModel

EARTHSYNTH_BASE = "stable-diffusion-v1-5/stable-diffusion-v1-5"
EARTHSYNTH_CONTROLNET = "jaychempan/EarthSynth"
NANO_CHECKPOINT = Path(__file__).parent / "nano" / "checkpoint"
CARD_FILE = "earthsynth.json"
RELEASED = ("nano", "earthsynth")  # the models that this release has cards for, offered or not
MODEL_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,59}")
RARE_BELOW = 500  # training pictures under which a category is said to come out badly

# Pictures per category in EarthSynth's training set, as far as its authors give numbers (EarthSynth-180K).
_EARTHSYNTH_COUNTS = {2: 13_500, 14: 200, 17: 13_900, 21: 10_700, 27: 50, 29: 20}


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


def earthsynth_card(base: str = EARTHSYNTH_BASE, controlnet: str = EARTHSYNTH_CONTROLNET) -> ModelCard:
    """EarthSynth's published ControlNet on Stable Diffusion 1.5, with its authors' settings.

    arXiv 2505.12108. The ControlNet's file is pinned; the base is not, so that Stable Diffusion 1.5 may come
    from any mirror.
    """
    return ModelCard(
        name="earthsynth",
        version="1",
        title="EarthSynth: Stable Diffusion 1.5 with a ControlNet for 66 remote-sensing categories",
        licence="base: CreativeML Open RAIL-M; ControlNet: see huggingface.co/jaychempan/EarthSynth",
        category_ids=tuple(range(1, 67)),
        native_width=512,
        native_height=512,
        max_side=1024,
        size_multiple=8,
        defaults=Defaults(20, 7.5, 1.0, Scheduler.UNIPC),
        batch_size_cpu=1,
        batch_size_cuda=4,  # most of batching's gain is there at 4, and a single picture pays for the padding
        base=base,
        controlnet=controlnet,
        sha256={
            "controlnet/diffusion_pytorch_model.safetensors": (
                "72192a2fa75a7c607fa4a4153164808fab1d7e64392cafb3370015d094d4ee79"
            )
        },
        training_counts=_EARTHSYNTH_COUNTS,
    )


def nano_card(checkpoint: Path = NANO_CHECKPOINT) -> ModelCard:
    """The checkpoint that ships with this package, as its training recipe described it in earthsynth.json.

    Raises ModelUnavailable: no such file, or one that says something else than a card must say.
    """
    if not (checkpoint / CARD_FILE).is_file():
        raise ModelUnavailable(
            f"The nano checkpoint has no {CARD_FILE}: install the package with its data, or run the recipe "
            "in models/nano."
        )
    return replace(read_card(checkpoint), filter_of="nano")


def read_card(folder: Path) -> ModelCard:
    """The card of a checkpoint's folder, as its earthsynth.json has it, with every other file pinned.

    Raises ModelUnavailable: no such file, or one that says something else than a card must say.
    """
    try:
        found = _CardFile.model_validate_json((folder / CARD_FILE).read_bytes())
    except FileNotFoundError as error:
        raise ModelUnavailable(f"The checkpoint {folder.name} has no {CARD_FILE}.") from error
    except ValidationError as error:
        raise ModelUnavailable(
            f"The {CARD_FILE} of checkpoint {folder.name} is not a model card: {faults_of(error)}."
        ) from error
    return found.card(base=str(folder), files=found.files, digest=model_digest(found.files))


def faults_of(error: ValidationError) -> str:
    """What is wrong with a document, place by place, without the values themselves."""
    return "; ".join(
        f"{'.'.join(map(str, fault['loc'])) or 'the file'}: {fault['msg']}" for fault in error.errors()
    )


def catalog(
    names: Iterable[str], base: str = EARTHSYNTH_BASE, controlnet: str = EARTHSYNTH_CONTROLNET
) -> dict[str, ModelCard]:
    """The cards of the models a process offers, by name, in the order given.

    Raises UnknownModel: a name that this release has no model for.
    """
    cards: dict[str, ModelCard] = {}
    for name in names:
        if name == "nano":
            cards[name] = nano_card()
        elif name == "earthsynth":
            cards[name] = earthsynth_card(base, controlnet)
        else:
            raise UnknownModel(f"There is no model {name[:60]!r}. This release has: nano, earthsynth.")
    return cards


def find_model(cards: Mapping[str, ModelCard], wanted: str) -> ModelCard:
    """The card called `wanted`, "name" or "name@version", exactly as written.

    Raises UnknownModel that lists what is offered.
    """
    for card in cards.values():
        if wanted in (card.name, f"{card.name}@{card.version}"):
            return card
    offered = ", ".join(f"{card.name}@{card.version}" for card in cards.values())
    message = f"There is no model {wanted[:60]!r} here. Offered: {offered}."
    raise UnknownModel(message, errors=[FieldError("/model", message)])


Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
# Relative, forward slashes, no component that starts with a dot: "unet/config.json".
FilePath = Annotated[
    str, StringConstraints(pattern=r"^[A-Za-z0-9_-][\w.-]*(/[A-Za-z0-9_-][\w.-]*)*$", max_length=200)
]
_Text = Annotated[str, StringConstraints(min_length=1, max_length=400)]
_Side = Annotated[int, Field(ge=8, le=4096)]
_CategoryId = Annotated[int, Field(ge=1, le=66)]


class _DefaultsFile(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    num_inference_steps: Annotated[int, Field(ge=1, le=100)]
    guidance_scale: Annotated[float, Field(ge=1, le=20)]
    controlnet_conditioning_scale: Annotated[float, Field(ge=0, le=2)]
    scheduler: Scheduler
    negative_prompt: Annotated[str, StringConstraints(max_length=500)] = ""


class CardFacts(BaseModel):
    """What a card says of its model, as JSON documents hold it; where its files lie is said by each of them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, StringConstraints(pattern=f"^{MODEL_NAME.pattern}$")]
    version: Annotated[str, StringConstraints(pattern=r"^[0-9A-Za-z.]{1,20}$")]
    title: _Text
    licence: _Text
    category_ids: Annotated[list[_CategoryId], Field(min_length=1)]
    native_width: _Side
    native_height: _Side
    max_side: _Side
    size_multiple: Annotated[int, Field(ge=8, le=64)]
    defaults: _DefaultsFile
    batch_size_cpu: Annotated[int, Field(ge=1, le=64)]
    batch_size_cuda: Annotated[int, Field(ge=1, le=64)]
    training_counts: dict[_CategoryId, Annotated[int, Field(ge=0)]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _sizes_agree(self) -> Self:
        if self.native_width % self.size_multiple or self.native_height % self.size_multiple:
            raise ValueError("native_width and native_height must be multiples of size_multiple")
        if max(self.native_width, self.native_height) > self.max_side:
            raise ValueError("native_width and native_height must not exceed max_side")
        return self

    def card(self, *, base: str, files: Mapping[str, str], digest: str, filter_of: str = "") -> ModelCard:
        """The card of a model whose files, the ControlNet's too, lie in the folder `base`."""
        return ModelCard(
            name=self.name,
            version=self.version,
            title=self.title,
            licence=self.licence,
            category_ids=tuple(sorted(set(self.category_ids))),
            native_width=self.native_width,
            native_height=self.native_height,
            max_side=self.max_side,
            size_multiple=self.size_multiple,
            defaults=Defaults(**self.defaults.model_dump()),
            batch_size_cpu=self.batch_size_cpu,
            batch_size_cuda=self.batch_size_cuda,
            base=base,
            controlnet=base,
            sha256=files,
            digest=digest,
            training_counts=self.training_counts,
            filter_of=filter_of,
        )


def card_facts(card: ModelCard) -> dict[str, Any]:
    """What `card` says of its model, as the fields of CardFacts, in JSON's own types."""
    facts: dict[str, Any] = {name: getattr(card, name) for name in CardFacts.model_fields}
    defaults = {name: getattr(card.defaults, name) for name in _DefaultsFile.model_fields}
    return facts | {
        "category_ids": list(card.category_ids),
        "defaults": defaults | {"scheduler": card.defaults.scheduler.value},
        "training_counts": dict(card.training_counts),
    }


class _CardFile(CardFacts):
    """earthsynth.json, which a training writes beside a checkpoint's folders."""

    files: Annotated[dict[FilePath, Sha256], Field(min_length=1)]

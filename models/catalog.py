"""The models of this release: where their weights lie, and their hashes.

Reads one small JSON file and loads no weights: the API answers from here without torch.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from models.card_file import CARD_FILE, read_card
from models.errors import FieldError, ModelUnavailable, UnknownModel
from models.model_card import Defaults, ModelCard, Scheduler

EARTHSYNTH_BASE = "stable-diffusion-v1-5/stable-diffusion-v1-5"
EARTHSYNTH_CONTROLNET = "jaychempan/EarthSynth"
NANO_CHECKPOINT = Path(__file__).parent / "nano" / "checkpoint"
RELEASED = ("nano", "earthsynth")  # the models that this release has cards for, offered or not

# Pictures per category in EarthSynth's training set, as far as its authors give numbers (EarthSynth-180K).
_EARTHSYNTH_COUNTS = {2: 13_500, 14: 200, 17: 13_900, 21: 10_700, 27: 50, 29: 20}


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

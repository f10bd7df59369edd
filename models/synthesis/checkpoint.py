"""The files of a model: found in a folder or fetched from the hub, checked and hashed before loading."""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from models.card_file import CARD_FILE
from models.errors import ModelUnavailable
from models.model_card import ModelCard, model_digest

logger = logging.getLogger(__name__)

_DIFFUSERS_WEIGHTS = "diffusion_pytorch_model.safetensors"
WEIGHTS = {
    "unet": _DIFFUSERS_WEIGHTS,
    "vae": _DIFFUSERS_WEIGHTS,
    "controlnet": _DIFFUSERS_WEIGHTS,
    "text_encoder": "model.safetensors",
}
_CONFIGS = {"scheduler": "scheduler_config.json", "tokenizer": "tokenizer_config.json"}
_TOKENIZER_FILES = (
    "vocab.json",
    "merges.txt",
    "tokenizer.json",
    "special_tokens_map.json",
    "added_tokens.json",
)
_PICKLES = (".bin", ".ckpt", ".pt", ".pth", ".pkl")
_SETTING = {"base": "EARTHSYNTH_EARTHSYNTH_BASE", "controlnet": "EARTHSYNTH_EARTHSYNTH_CONTROLNET"}

# What model_index.json may name: (library, class) by component. Everything else is refused, because a library
# or class of another name is how a checkpoint brings its own code.
_SCHEDULERS = (
    "DDIMScheduler",
    "DDPMScheduler",
    "DPMSolverMultistepScheduler",
    "EulerDiscreteScheduler",
    "PNDMScheduler",
    "UniPCMultistepScheduler",
)
_UNUSED = (None, None)
ALLOWED: Mapping[str, frozenset[tuple[str | None, str | None]]] = MappingProxyType(
    {
        "unet": frozenset({("diffusers", "UNet2DConditionModel")}),
        "vae": frozenset({("diffusers", "AutoencoderKL"), ("diffusers", "AutoencoderTiny")}),
        "controlnet": frozenset({("diffusers", "ControlNetModel")}),
        "scheduler": frozenset(("diffusers", name) for name in _SCHEDULERS),
        "text_encoder": frozenset({("transformers", "CLIPTextModel")}),
        "tokenizer": frozenset({("transformers", "CLIPTokenizer"), ("transformers", "CLIPTokenizerFast")}),
        # Named by Stable Diffusion 1.5, never loaded here:
        "safety_checker": frozenset({_UNUSED, ("stable_diffusion", "StableDiffusionSafetyChecker")}),
        "feature_extractor": frozenset(
            {_UNUSED, ("transformers", "CLIPImageProcessor"), ("transformers", "CLIPFeatureExtractor")}
        ),
        "image_encoder": frozenset({_UNUSED}),
    }
)
_PIPELINES = ("StableDiffusionPipeline", "StableDiffusionControlNetPipeline")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Folders whose files have passed every check. `files`: place in the pipeline → hex SHA-256."""

    base: Path
    controlnet: Path
    vae_class: str
    files: Mapping[str, str]
    digest: str


def open_checkpoint(card: ModelCard) -> Checkpoint:
    """The files of `card`, fetched if it names a hub id, every one checked and hashed; nothing is loaded.

    Raises ModelUnavailable: absent or not fetchable (model_unavailable), weights only as pickles
    (weights_pickled), classes or settings that would bring their own code (remote_code_refused), bytes that
    are not the pinned ones (model_hash_mismatch).
    """
    base = _folder(card, card.base, "base", _base_patterns())
    controlnet = _folder(card, card.controlnet, "controlnet", _controlnet_patterns(card.controlnet_subfolder))
    if (controlnet / card.controlnet_subfolder).is_dir():
        controlnet /= card.controlnet_subfolder
    logger.info("model %s: base %s, controlnet %s", card.name, base, controlnet)

    vae_class = _check_model_index(card, base)
    folders = {part: base / part for part in ("unet", "vae", "text_encoder", "scheduler", "tokenizer")}
    folders["controlnet"] = controlnet
    for part, folder in folders.items():
        _check_folder(card, part, folder)

    loaded = [base / "model_index.json", *(path for folder in folders.values() for path in _loaded(folder))]
    if card.digest is not None:  # every file is pinned, so one that the card does not know is a fault too
        loaded = [path for path in base.rglob("*") if path.is_file() and path != base / CARD_FILE]
    places = {path: _place(path, base, controlnet) for path in loaded}
    files = {place: _sha256(path) for path, place in sorted(places.items())}
    _check_hashes(card, files)
    return Checkpoint(base, controlnet, vae_class, MappingProxyType(files), model_digest(files))


def _folder(card: ModelCard, source: str, role: str, patterns: list[str]) -> Path:
    """The local folder `source`, or the hub's repository of that id in the local cache."""
    folder = Path(source).expanduser()
    if source and folder.is_dir():
        return folder
    advice = f"Download it to a folder and set {_SETTING[role]} to that folder."
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}", source):
        raise ModelUnavailable(f"Model {card.name}: its {role} is no folder here and no hub id. {advice}")

    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(source, allow_patterns=patterns))
    except (OSError, ValueError) as error:  # huggingface_hub's errors are all one of these two
        raise ModelUnavailable(
            f"Model {card.name}: its {role}, {source}, could not be fetched from the hub "
            f"({type(error).__name__}). {advice}"
        ) from error


def _base_patterns() -> list[str]:
    weights = [f"{part}/{name}" for part, name in WEIGHTS.items() if part != "controlnet"]
    configs = [f"{part}/config.json" for part in ("unet", "vae", "text_encoder")]
    tokenizer = [f"tokenizer/{name}" for name in _TOKENIZER_FILES]
    return [
        "model_index.json",
        *weights,
        *configs,
        *tokenizer,
        *(f"{part}/{name}" for part, name in _CONFIGS.items()),
    ]


def _controlnet_patterns(subfolder: str) -> list[str]:
    names = ("config.json", WEIGHTS["controlnet"])
    return [f"{subfolder}/{name}" for name in names] + list(names)


def _check_model_index(card: ModelCard, base: Path) -> str:
    """The VAE's class, if model_index.json names nothing but the classes allowed above."""
    index = _read_json(card, base / "model_index.json", "model_index.json")
    if index.get("_class_name") not in _PIPELINES:
        raise _remote_code(card, "model_index.json names a pipeline that is not Stable Diffusion's")
    for part, value in index.items():
        if part in ("_class_name", "_diffusers_version", "_name_or_path", "requires_safety_checker"):
            continue
        named = tuple(value) if isinstance(value, list) else (value,)
        if part not in ALLOWED or named not in ALLOWED[part]:
            raise _remote_code(
                card, f"model_index.json names something else than Stable Diffusion's {part[:40]}"
            )
    missing = [
        part for part in ("unet", "vae", "text_encoder", "tokenizer", "scheduler") if part not in index
    ]
    if missing:
        raise ModelUnavailable(f"Model {card.name}: model_index.json names no {', '.join(missing)}.")
    return str(index["vae"][1])


def _check_folder(card: ModelCard, part: str, folder: Path) -> None:
    """One component's folder has a plain config and its weights as one safetensors file."""
    config = _CONFIGS.get(part, "config.json")
    settings = _read_json(card, folder / config, f"{part}/{config}")
    if "auto_map" in settings or "quantization_config" in settings:
        raise _remote_code(card, f"{part}/{config} names code of its own")
    weights = WEIGHTS.get(part)
    if weights is None or ((folder / weights).is_file() and not list(folder.glob("*.index.json"))):
        return
    if list(folder.glob("*.index.json")):
        raise ModelUnavailable(
            f"Model {card.name}: {part} is in several files; save it as one {weights} "
            "(save_pretrained with a large max_shard_size)."
        )
    if any(path.suffix in _PICKLES for path in folder.iterdir()):
        raise ModelUnavailable(
            f"Model {card.name}: {part} has its weights only as a pickle, which can run code when opened, "
            f"so it is not read. Convert it to {weights} (save_pretrained with safe_serialization=True).",
            code="weights_pickled",
        )
    raise ModelUnavailable(f"Model {card.name}: {part}/{weights} is missing.")


def _loaded(folder: Path) -> Iterable[Path]:
    """The files of one component's folder that a loader would read."""
    names = {*WEIGHTS.values(), *_CONFIGS.values(), *_TOKENIZER_FILES, "config.json"}
    return (path for path in folder.iterdir() if path.name in names and path.is_file())


def _place(path: Path, base: Path, controlnet: Path) -> str:
    """A file's name in hash tables: "<component>/<file>", wherever the folders lie."""
    if path.parent == controlnet:
        return f"controlnet/{path.name}"
    return path.relative_to(base).as_posix()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check_hashes(card: ModelCard, files: Mapping[str, str]) -> None:
    wrong = [place for place, pinned in card.sha256.items() if files.get(place) != pinned]
    if card.digest is not None:
        wrong += sorted(set(files) - set(card.sha256))
    if wrong:
        raise ModelUnavailable(
            f"Model {card.name}@{card.version}: {', '.join(wrong[:5])} is not the file this release pins by "
            "SHA-256. Download it again, or offer your own weights under another model name.",
            code="model_hash_mismatch",
        )


def _read_json(card: ModelCard, path: Path, shown: str) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ModelUnavailable(f"Model {card.name}: {shown} is missing.") from error
    except ValueError as error:
        raise ModelUnavailable(f"Model {card.name}: {shown} is not JSON.") from error
    if not isinstance(content, dict):
        raise ModelUnavailable(f"Model {card.name}: {shown} is not a JSON object.")
    return content


def _remote_code(card: ModelCard, fault: str) -> ModelUnavailable:
    return ModelUnavailable(f"Model {card.name}: {fault}, so it is not loaded.", code="remote_code_refused")

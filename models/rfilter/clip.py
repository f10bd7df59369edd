"""R2 and R3 in numbers: ranks and margins of a CLIP among the prompts of all categories.

Any checkpoint in CLIP's format does (RemoteCLIP and GeoRSCLIP know this field better). Only comparisons within one
picture count, because absolute cosines do not transfer from one CLIP to another.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError

from models.categories import CATEGORIES, IGNORE, caption
from models.components import Component, find_components
from models.errors import ModelUnavailable
from models.pixel_values import unique_values
from models.rfilter.segmenters import weights_digest

SMALLEST_REGION = 32  # pixels along the longer side of its box: below, CLIP sees a blur
LARGEST_SHARE = 0.5  # of the picture: above, a region is judged by R2 already
MOST_REGIONS = 16  # of a picture, the largest: bounds time and the size of the stored scores
_CROP = 1.3  # times the region's box


@dataclass(frozen=True, slots=True)
class Region:
    """A component of one category and how CLIP ranks that category on its crop. `margin` as in `rank_and_margin`."""

    category: int
    component: Component
    rank: int
    margin: float


class Clip:
    """A CLIP model with the embeddings of every category's prompt."""

    def __init__(self, source: Path | str, device: str) -> None:
        """Load it.

        Raises:
            ModelUnavailable: absent, damaged, pickled only, or no CLIP.
        """
        from transformers import CLIPModel, CLIPTokenizer
        from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

        try:
            model = CLIPModel.from_pretrained(source, use_safetensors=True, trust_remote_code=False)
            tokenizer = CLIPTokenizer.from_pretrained(source)
            # Pillow's processor: the other one wants torchvision.
            self._processor = CLIPImageProcessorPil.from_pretrained(source)
        except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
            raise ModelUnavailable(
                f"The filter's CLIP {Path(source).name} cannot be loaded: it must be a folder or hub id in CLIP's "
                "format with safetensors weights, tokenizer and preprocessor_config.json."
            ) from error
        self._model: Any = model.eval().requires_grad_(False).to(device)
        self._device = device
        self.digest = weights_digest(model.state_dict())
        self._ids = tuple(category.id for category in CATEGORIES if category.id)
        with torch.inference_mode():
            prompts = [caption([number]) for number in self._ids]
            tokens = tokenizer(prompts, padding=True, truncation=True, return_tensors="pt").to(device)
            texts = self._model.get_text_features(**tokens).pooler_output
        self._texts = torch.nn.functional.normalize(texts.float(), dim=-1)  # (66, D)

    @torch.inference_mode()
    def embed(self, images: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Return unit vectors (N, D) of pictures (H, W, 3)."""
        pixels = self._processor(list(images), return_tensors="pt")["pixel_values"].to(self._device)
        vectors = self._model.get_image_features(pixel_values=pixels).pooler_output.float()
        return np.asarray(torch.nn.functional.normalize(vectors, dim=-1).cpu().numpy())

    def similarities(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return cosines (N, 67) of unit vectors with each category's prompt, by category id; column 0 is -1."""
        cosines = np.full((len(vectors), len(CATEGORIES)), -1, np.float32)
        cosines[:, self._ids] = vectors @ self._texts.cpu().numpy().T
        return cosines

    def regions(self, image: NDArray[np.uint8], mask: NDArray[np.uint8]) -> list[Region]:
        """Return the regions of 32 px or more that do not fill half of the picture, largest first, at most 16."""
        found = [
            (number, component)
            for number in unique_values(mask)
            if number not in {0, IGNORE}
            for component in find_components(mask == number)
            if max(component.width, component.height) >= SMALLEST_REGION
            and component.area <= LARGEST_SHARE * mask.size
        ]
        found = sorted(found, key=lambda item: -item[1].area)[:MOST_REGIONS]
        if not found:
            return []
        cosines = self.similarities(self.embed([_crop(image, component) for _, component in found]))
        return [
            Region(number, component, *rank_and_margin(row, number, {number}))
            for (number, component), row in zip(found, cosines, strict=True)
        ]


def rank_and_margin(
    cosines: NDArray[np.float32], category: int, present: Collection[int]
) -> tuple[int, float]:
    """Return the category's rank (1 = best) among itself and the absent ones, and its lead over the best absent."""
    absent = np.delete(cosines, sorted({0, *present}))
    own = cosines[category]
    return 1 + int((absent > own).sum()), float(own - absent.max())


def _crop(image: NDArray[np.uint8], component: Component) -> NDArray[np.uint8]:
    """The square of 1.3 times the component's longer side around its middle, as far as the picture goes."""
    half = max(component.width, component.height) * _CROP / 2
    x, y = component.left + component.width / 2, component.top + component.height / 2
    rows = slice(max(0, round(y - half)), max(0, round(y + half)))
    columns = slice(max(0, round(x - half)), max(0, round(x + half)))
    return np.ascontiguousarray(image[rows, columns])

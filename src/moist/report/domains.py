"""What each domain looks like: thumbnails as data URIs, texts, or feature summaries."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from moist.report.details import DomainSample
from moist.report.figures import dead_specialists
from moist.report.wording import percent_text, shorten

__all__ = ["Bar", "DomainCard", "domain_cards", "thumbnail_uri"]

LARGEST_THUMBNAIL = 96
MOST_IMAGES, MOST_TEXTS, MOST_FEATURES, MOST_CLASSES = 16, 4, 6, 5
LONGEST_TEXT = 240


@dataclass(frozen=True)
class Bar:
    """A named value, and the length of its bar in percent of the room that it has."""

    name: str
    text: str
    length: float
    negative: bool = False


@dataclass(frozen=True)
class DomainCard:
    """One domain as the page shows it."""

    number: int
    load: str
    dead: bool
    images: Sequence[str]
    texts: Sequence[str]
    features: Sequence[Bar]
    classes: Sequence[Bar]


def domain_cards(domains: Sequence[DomainSample], load: np.ndarray) -> list[DomainCard]:
    """Turn samples into cards; feature bars share one scale over all domains, so that they can be compared."""
    dead = set(dead_specialists(load))
    strengths = [abs(value) for sample in domains for _, value in sample.features[:MOST_FEATURES]]
    scale = max([value for value in strengths if np.isfinite(value)], default=1.0) or 1.0
    return [
        DomainCard(
            number=domain,
            load=percent_text(float(load[domain])) if domain < len(load) else "",
            dead=domain in dead,
            images=[thumbnail_uri(image) for image in sample.images[:MOST_IMAGES]],
            texts=[shorten(text, LONGEST_TEXT) for text in sample.texts[:MOST_TEXTS]],
            features=[_feature_bar(name, value, scale) for name, value in sample.features[:MOST_FEATURES]],
            classes=[
                Bar(shorten(name, 40), percent_text(share, 0), round(100 * min(1.0, max(0.0, share)), 1))
                for name, share in sample.top_classes[:MOST_CLASSES]
            ],
        )
        for domain, sample in enumerate(domains)
    ]


def _feature_bar(name: str, value: float, scale: float) -> Bar:
    length = round(50 * min(1.0, abs(value) / scale), 1) if np.isfinite(value) else 0.0
    return Bar(shorten(name, 40), f"{value:+.1f}".replace("-", "−"), length, negative=value < 0)


def thumbnail_uri(image: np.ndarray) -> str:
    """Return a picture as a PNG data URI.

    Args:
        image: uint8 (H, W), (H, W, 1), (H, W, 3) or (H, W, 4); of other numbers of channels the first is shown.
    """
    pixels = np.ascontiguousarray(image, dtype=np.uint8)
    if pixels.ndim == 3 and pixels.shape[2] not in (3, 4):
        pixels = pixels[:, :, 0]
    picture = Image.fromarray(pixels)
    picture.thumbnail((LARGEST_THUMBNAIL, LARGEST_THUMBNAIL))
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")

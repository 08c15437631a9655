"""Images as normalised tensors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from moist.data.schema import ImageSchema
from moist.data.shape import InputShape

__all__ = ["ImageTransform", "fit_image_transform"]

CHUNK_IMAGES = 4096


@dataclass(frozen=True)
class ImageTransform:
    """Pixels from 0 to 1, less the channel's mean, over its standard deviation.

    Args:
        schema: of the raw images.
        mean: of each channel, pixels from 0 to 1.
        std: of each channel.
    """

    schema: ImageSchema
    mean: tuple[float, ...]
    std: tuple[float, ...]
    kind: Literal["vision"] = "vision"

    @property
    def input_shape(self) -> InputShape:
        """Return the shape of one image as a student reads it, (C, H, W)."""
        return InputShape("vision", (self.schema.channels, self.schema.height, self.schema.width))

    def encode(self, raw: np.ndarray) -> np.ndarray:
        """Return the images unchanged, uint8 (N, H, W, C)."""
        return raw

    def to_tensor(self, encoded: Tensor) -> Tensor:
        """Return uint8 (N, H, W, C) as normalised float32 (N, C, H, W), channels last in memory."""
        n, height, width, channels = encoded.shape
        scale = torch.tensor([1 / (255 * s) for s in self.std], device=encoded.device).repeat(width)
        shift = torch.tensor([m / s for m, s in zip(self.mean, self.std, strict=True)], device=encoded.device).repeat(
            width
        )
        # Computed on lines of bytes, so that the innermost axis is long: several times faster than on pixels.
        lines = encoded.reshape(n, height, width * channels).float().mul_(scale).sub_(shift)
        return lines.view(n, height, width, channels).permute(0, 3, 1, 2)

    def to_dict(self) -> dict[str, Any]:
        """Return the transform as JSON-like values."""
        return {"kind": self.kind, "schema": self.schema.to_dict(), "mean": list(self.mean), "std": list(self.std)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> ImageTransform:
        """Return the transform that ``to_dict`` wrote."""
        shape = values["schema"]
        schema = ImageSchema(shape["height"], shape["width"], shape["channels"])
        return cls(schema, tuple(values["mean"]), tuple(values["std"]))


def fit_image_transform(images: np.ndarray, schema: ImageSchema) -> ImageTransform:
    """Return the transform with the channels' statistics over ``images``, uint8 (N, H, W, C).

    They come from histograms of the 256 values: exact, and independent of the order of the images.
    """
    counts = np.zeros((schema.channels, 256), dtype=np.int64)
    for start in range(0, len(images), CHUNK_IMAGES):
        chunk = np.asarray(images[start : start + CHUNK_IMAGES])
        for channel in range(schema.channels):
            counts[channel] += np.bincount(chunk[..., channel].ravel(), minlength=256)
    values = np.arange(256) / 255
    mean = (counts * values).sum(axis=1) / counts.sum(axis=1)
    variance = (counts * (values - mean[:, None]) ** 2).sum(axis=1) / counts.sum(axis=1)
    std = np.where(variance > 0, np.sqrt(variance), 1.0)
    return ImageTransform(schema, tuple(mean.tolist()), tuple(std.tolist()))

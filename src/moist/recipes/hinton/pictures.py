"""What the studies of this folder share on CIFAR-10: a small residual network, and how it is trained."""

from __future__ import annotations

from pydantic import Field

from moist.config import Settings
from moist.data import AugmentSettings, DataSettings, InputShape
from moist.recipes.hinton.networks import NetworkSettings
from moist.students import StudentSettings
from moist.training import TrainingSettings

__all__ = ["PICTURE", "PicturesSettings", "picture_network"]

PICTURE = InputShape("vision", (3, 32, 32))


class PicturesSettings(Settings):
    """What all CIFAR-10 studies set.

    Args:
        limit: use this many training images only; None for all.
        width: channels of the networks' first group of blocks.
        stem_stride: step of their first convolution.
        batch_size: images in a step.
        learning_rate: its peak.
        crop: pixels that a training image is moved by, at most.
        flip: mirror half of the training images.
    """

    limit: int | None = Field(None, ge=100)
    width: int = Field(8, ge=1)
    stem_stride: int = Field(2, ge=1)
    batch_size: int = Field(128, ge=1)
    learning_rate: float = Field(0.02, gt=0)
    crop: int = Field(4, ge=0)
    flip: bool = True

    @property
    def data(self) -> DataSettings:
        """The data set."""
        return DataSettings(name="cifar10", limit=self.limit)

    @property
    def student(self) -> StudentSettings:
        """The residual network that all are: the ResNet-8 of MLPerf Tiny, at half the width and the resolution."""
        return StudentSettings(family="resnet", width=self.width, stem_stride=self.stem_stride)


def picture_network(settings: PicturesSettings, epochs: int, seed: int) -> NetworkSettings:
    """Return one network, trained on images cut and mirrored anew in every epoch.

    Args:
        settings: of the study.
        epochs: passes over its rows.
        seed: of everything random.
    """
    training = TrainingSettings(
        epochs=epochs,
        batch_size=settings.batch_size,
        learning_rate=settings.learning_rate,
        gradient_clip=None,
        precision="bfloat16",
    )
    return NetworkSettings(
        data=settings.data,
        student=settings.student,
        training=training,
        augment=AugmentSettings(crop=settings.crop, flip=settings.flip),
        seed=seed,
    )

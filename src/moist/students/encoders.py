"""Transformer students: of hashed words, and of image patches."""

from __future__ import annotations

from torch import nn

from moist.data import InputShape
from moist.students.settings import StudentSettings
from moist.students.sparse import SparseEncoderBlock
from moist.students.transformer import EncoderBlock, MeanClassifier, PatchInput, TokenInput
from moist.types import UserError

__all__ = ["DEFAULT_PATCH", "transformer_stages", "vit_stages"]

DEFAULT_PATCH = 4


def transformer_stages(settings: StudentSettings, shape: InputShape, num_classes: int) -> list[nn.Module]:
    """Return token input, encoder blocks (each a stage of its own) and head.

    Args:
        settings: ``width``, ``depth`` blocks, ``heads``, and ``sparse`` for experts.
        shape: ids (L,), 1 to ``num_buckets``, padded with 0.
        num_classes: C.
    """
    first = TokenInput(shape.num_buckets, shape.shape[0], settings.width)
    return [first, *_blocks(settings), MeanClassifier(settings.width, num_classes)]


def vit_stages(settings: StudentSettings, shape: InputShape, num_classes: int) -> list[nn.Module]:
    """Return patch input, encoder blocks (each a stage of its own) and head.

    Args:
        settings: as for a transformer; ``stem_stride`` is the side of a patch, 4 pixels where None.
        shape: images (channels, height, width).
        num_classes: C.

    Raises:
        UserError: the images cannot be cut into patches of that side.
    """
    channels, height, width = shape.shape
    patch = settings.stem_stride or DEFAULT_PATCH
    if height % patch or width % patch:
        raise UserError(
            f"height and width must be multiples of the patch, got {height} x {width} and stem_stride={patch}; "
            "change stem_stride or data.image_size"
        )
    first = PatchInput(channels, (height, width), patch, settings.width)
    return [first, *_blocks(settings), MeanClassifier(settings.width, num_classes)]


def _blocks(settings: StudentSettings) -> list[nn.Module]:
    sparse, num_blocks = settings.sparse, settings.blocks
    return [
        EncoderBlock(settings.width, settings.heads)
        if sparse is None or not sparse.is_sparse(block, num_blocks)
        else SparseEncoderBlock(settings.width, settings.heads, sparse)
        for block in range(num_blocks)
    ]

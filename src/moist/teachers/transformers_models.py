"""Models and tokenizers of ``transformers``: the one file that imports it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from moist.types import UserError

try:
    import transformers
except ImportError as error:
    raise UserError(
        'Hugging Face teachers need the package transformers, which is not installed; run: pip install "moist[hf]"'
    ) from error

__all__ = ["load_encoder", "load_image_classifier", "load_text_classifier"]


def load_image_classifier(source: str) -> tuple[Any, Any]:
    """Return the image classifier in a folder or on the hub, ready for inference, and its image processor."""
    return _load(source, transformers.AutoModelForImageClassification, transformers.AutoImageProcessor)


def load_text_classifier(source: str) -> tuple[Any, Any]:
    """Return the text classifier in a folder or on the hub, ready for inference, and its tokenizer."""
    return _load(source, transformers.AutoModelForSequenceClassification, transformers.AutoTokenizer)


def load_encoder(source: str) -> tuple[Any, Any]:
    """Return the text encoder in a folder or on the hub, ready for inference, and its tokenizer."""
    return _load(source, transformers.AutoModel, transformers.AutoTokenizer)


def _load(source: str, model_class: Any, processor_class: Any) -> tuple[Any, Any]:
    try:
        with _quiet():
            model = model_class.from_pretrained(source)
            processor = processor_class.from_pretrained(source)
    except (OSError, ValueError, KeyError, ImportError) as error:
        reason = " ".join(str(error).split())[:300]
        raise UserError(
            f"teacher.model must be a folder or a hub name of a suitable model; {source!r} cannot be loaded "
            f"({reason}); check the name, the connection, or give a local folder"
        ) from error
    return model.eval().requires_grad_(False), processor


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the library's own bars and notes off stderr, where ours are."""
    logging: Any = transformers.utils.logging
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()

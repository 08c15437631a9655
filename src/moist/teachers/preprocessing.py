"""What stands between raw inputs and a scikit-learn classifier."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.compose import ColumnTransformer
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from moist.data import Schema, TableSchema, TextSchema

__all__ = ["PixelScaler", "flatten", "preprocessor"]

MISSING_CODE = -1.0


class PixelScaler(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """One mean and one scale for all pixels: unlike a scale per pixel, it does not blow up pixels that hardly vary."""

    def fit(self, X: np.ndarray, y: Any = None) -> PixelScaler:  # noqa: ARG002 - a pipeline passes it
        """Learn mean and standard deviation of all values of ``X`` (N, F)."""
        self.mean_ = float(np.mean(X, dtype=np.float64))
        self.scale_ = float(np.std(X, dtype=np.float64)) or 1.0
        return self

    def transform(self, X: np.ndarray) -> np.ndarray:
        """Return ``X`` (N, F) standardised, float32."""
        return ((X - self.mean_) / self.scale_).astype(np.float32)


def preprocessor(schema: Schema) -> Any:
    """Return an unfitted transformer for inputs of this schema, as :func:`flatten` gives them."""
    if isinstance(schema, TextSchema):
        return TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, dtype=np.float32)
    if isinstance(schema, TableSchema):
        return _table(schema)
    return PixelScaler()


def flatten(raw: np.ndarray) -> np.ndarray:
    """Return raw inputs as scikit-learn reads them: images (N, H, W, C) as float32 (N, H·W·C), others unchanged."""
    if raw.dtype == np.uint8:
        return raw.reshape(len(raw), -1).astype(np.float32)
    return raw


def _table(schema: TableSchema) -> ColumnTransformer:
    numeric = [i for i, column in enumerate(schema.columns) if column.kind == "numeric"]
    categorical = [i for i, column in enumerate(schema.columns) if column.kind == "categorical"]
    # A column without any value in the training part stays, as zeros.
    numbers = make_pipeline(SimpleImputer(strategy="median", keep_empty_features=True), StandardScaler())
    codes = make_pipeline(
        SimpleImputer(strategy="constant", fill_value=MISSING_CODE),
        OneHotEncoder(handle_unknown="ignore", sparse_output=False, dtype=np.float32),
    )
    return ColumnTransformer([("numbers", numbers, numeric), ("codes", codes, categorical)], sparse_threshold=0)

"""From what a user has (texts, rows of a table) to the numbers that models start from; needs NumPy only."""

from moist.encoding.columns import MISSING, Column, TableColumns, listed_columns, missing_column
from moist.encoding.text import HashedText

__all__ = ["MISSING", "Column", "HashedText", "TableColumns", "listed_columns", "missing_column"]

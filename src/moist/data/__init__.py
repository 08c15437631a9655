"""Vision, text and tabular data: sources, splits, replayable views, and how students read inputs."""

from moist.data.augment import AugmentSettings, View, augment
from moist.data.catalog import FoundDataset, data_root, find_file, list_datasets
from moist.data.dataset import DataSplits, IndexedDataset
from moist.data.image_transform import ImageTransform
from moist.data.inputs import read_inputs
from moist.data.load import load_dataset, load_parts
from moist.data.loader import Loader
from moist.data.pictures import UnreadableImage, count_pixels, decode_image
from moist.data.schema import Column, ImageSchema, Schema, TableSchema, TextSchema, schema_from_dict
from moist.data.settings import DataSettings
from moist.data.shape import InputShape
from moist.data.table_transform import TableTransform
from moist.data.text_transform import TextTransform
from moist.data.transforms import Transform, TransformSettings, fit_transform, transform_from_dict

__all__ = [
    "AugmentSettings",
    "Column",
    "DataSettings",
    "DataSplits",
    "FoundDataset",
    "ImageSchema",
    "ImageTransform",
    "IndexedDataset",
    "InputShape",
    "Loader",
    "Schema",
    "TableSchema",
    "TableTransform",
    "TextSchema",
    "TextTransform",
    "Transform",
    "TransformSettings",
    "UnreadableImage",
    "View",
    "augment",
    "count_pixels",
    "data_root",
    "decode_image",
    "find_file",
    "fit_transform",
    "list_datasets",
    "load_dataset",
    "load_parts",
    "read_inputs",
    "schema_from_dict",
    "transform_from_dict",
]

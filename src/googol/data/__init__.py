"""Data sets: images with partly known conditions, and tables, by name or from the user's own files."""

from googol.data.arrays import load_arrays, packed
from googol.data.augmentation import augmented
from googol.data.batches import batches, permutation
from googol.data.catalogue import Available, available, get, load
from googol.data.dataset import Condition, Dataset
from googol.data.files import DataError, folders
from googol.data.folder import load_folder
from googol.data.given import Given, parse_given
from googol.data.images import load_image
from googol.data.names import unknown
from googol.data.splits import SPLITS
from googol.data.table import ALL, decoded, is_table, load_table, read_conditions

__all__ = [
    "ALL",
    "SPLITS",
    "Available",
    "Condition",
    "DataError",
    "Dataset",
    "Given",
    "augmented",
    "available",
    "batches",
    "decoded",
    "folders",
    "get",
    "is_table",
    "load",
    "load_arrays",
    "load_folder",
    "load_image",
    "load_table",
    "packed",
    "parse_given",
    "permutation",
    "read_conditions",
    "unknown",
]

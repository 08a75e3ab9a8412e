"""Data sets by name or by path."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from googol.data.arrays import load_arrays
from googol.data.binary_mnist import BINARY_MNIST, STATIC_MNIST
from googol.data.caltech101 import CALTECH101
from googol.data.celeba import CelebA
from googol.data.cifar10 import CIFAR10
from googol.data.dataset import Condition, Dataset
from googol.data.digits import Digits
from googol.data.files import DataError, folders
from googol.data.folder import load_folder
from googol.data.frey_faces import FREY_FACES
from googol.data.gaussian_grid import GaussianGrid
from googol.data.histopathology import HISTOPATHOLOGY
from googol.data.mnist import FASHION_MNIST, MNIST
from googol.data.names import unknown
from googol.data.omniglot import OMNIGLOT
from googol.data.splits import SPLITS
from googol.data.stacked_mnist import STACKED_MNIST
from googol.data.table import ALL, is_table, load_table

__all__ = ["Available", "available", "get", "load"]


OWN = "an .npz file, a folder of images, or a table (.csv or .parquet)"


class Source(Protocol):
    """A data set with a name. ``folders`` are those in which its files may be, see
    :func:`googol.data.folders`.
    """

    @property
    def name(self) -> str:
        """What it is asked for by."""

    @property
    def description(self) -> str:
        """What is in it, in a few words."""

    @property
    def default_conditions(self) -> tuple[str, ...] | None:
        """Which conditions :func:`load` gives when none are named; None for all."""

    def locate(self, folders: Sequence[Path]) -> Path | None:
        """Where its files are, None if they are nowhere."""

    def remark(self, folders: Sequence[Path]) -> str:
        """What sets the files that are there apart from the published ones, in a few words; else empty."""

    def get(self, folders: Sequence[Path]) -> Path:
        """Bring the files that are missing into the first folder, and say where they are."""

    def load(self, split: str, folders: Sequence[Path]) -> Dataset:
        """The images of one split with all their conditions."""


SOURCES: tuple[Source, ...] = (
    Digits(),
    MNIST,
    FASHION_MNIST,
    STATIC_MNIST,
    BINARY_MNIST,
    OMNIGLOT,
    CALTECH101,
    FREY_FACES,
    HISTOPATHOLOGY,
    CIFAR10,
    CelebA(),
    CelebA(32),
    STACKED_MNIST,
    GaussianGrid(),
)


class Available(NamedTuple):
    """A line of ``googol data list``.

    Attributes:
        name: What the data set is asked for by.
        description: What is in it, in a few words.
        path: Where its files are; None: :func:`get` brings them.
        remark: What sets these files apart from the published ones.
    """

    name: str
    description: str
    path: Path | None
    remark: str = ""


def available(*, data_dir: str | Path | None = None) -> list[Available]:
    """The data sets that have a name, and where their files are.

    Args:
        data_dir: As for :func:`load`.

    Example:
        >>> [entry.name for entry in available()][:3]
        ['digits', 'mnist', 'fashion-mnist']
    """
    places = folders(data_dir)
    return [
        Available(source.name, source.description, source.locate(places), source.remark(places)) for source in SOURCES
    ]


def get(name: str, *, data_dir: str | Path | None = None) -> Path:
    """Download a data set, unless its files are there already, and check it.

    Args:
        name: One of those that :func:`available` lists.
        data_dir: Where to look first, and where to download to. The default is the environment variable
            ``GOOGOL_DATA``, and if that is not set the platform's cache folder.

    Returns:
        The file or the folder.

    Raises:
        DataError: The name is unknown, a file is damaged, there is no network or no room, or the data set
            cannot be downloaded; then the message says what to put where.
    """
    source = _find(name)
    if source is None:
        raise DataError(_unknown(name))
    return source.get(folders(data_dir))


def load(
    name: str | Path,
    split: str,
    *,
    data_dir: str | Path | None = None,
    conditions: Iterable[str] | None = None,
    schema: Sequence[Condition] = (),
) -> Dataset:
    """Load one split of a data set.

    Args:
        name: The name of a data set, or the path of the user's own: an ``.npz`` file (see
            :func:`googol.data.load_arrays`), a folder of images (see :func:`googol.data.load_folder`), or a table
            without images, ``.csv`` or ``.parquet`` (see :func:`googol.data.load_table`).
        split: "train", "valid" or "test"; of a table also "all".
        data_dir: Where the files of a named data set are looked for before ``$GOOGOL_DATA`` and the cache.
        conditions: The names of the conditions to have. By default all, of ``celeba`` ten.
        schema: What some columns of the user's own CSV or Parquet file are known to stand for; by default it is seen
            from what is in them, or declared in a file beside.

    Raises:
        DataError: The data set or the split is unknown, or its files are missing or damaged.
        ValueError: A condition is unknown or given twice.

    Example:
        >>> data = load("digits", "train")
        >>> len(data), data.image_shape, data.names
        (1206, (1, 8, 8), ('digit',))
    """
    source = _find(str(name))
    path = Path(name).expanduser()
    splits = (*SPLITS, ALL) if source is None and is_table(path) else SPLITS
    if split not in splits:
        raise DataError(unknown("split", split, splits))
    if source is not None:
        if data_dir is not None and not Path(data_dir).expanduser().is_dir():
            raise DataError(f"the data folder {data_dir} does not exist")
        data = source.load(split, folders(data_dir))
        conditions = source.default_conditions if conditions is None else conditions
    elif path.is_dir():
        conditions = None if conditions is None else list(conditions)
        data = load_folder(path, split, conditions, schema=schema)
    elif path.is_file() and path.suffix == ".npz":
        data = load_arrays(path, split)
    elif path.is_file() and is_table(path):
        conditions = None if conditions is None else list(conditions)
        data = load_table(path, split, conditions, schema=schema)
    elif path.exists():
        raise DataError(f"{path} must be {OWN}")
    elif path.suffix or len(path.parts) > 1:
        raise DataError(f"{path} does not exist: expected {OWN}")
    else:
        raise DataError(f"{_unknown(str(name))}; nor is there a file or a folder of that name")
    return data if conditions is None else data.select(conditions)


def _find(name: str) -> Source | None:
    return next((source for source in SOURCES if source.name == name), None)


def _unknown(name: str) -> str:
    return unknown("data set", name, [source.name for source in SOURCES])

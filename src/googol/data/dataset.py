"""Images with partly known conditions, and tables, which are conditions alone."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from googol.data.batches import permutation
from googol.data.names import unknown

__all__ = ["Condition", "Dataset", "Noise"]

Noise = Literal["none", "binarize", "dequantize"]


@dataclass(frozen=True)
class Condition:
    """One property of an image, or of a row of a table: a column of the conditions.

    Args:
        name: What it is called, without ``=``.
        values: The names of its categories in the order of their indices, at least two; None for a
            continuous property.

    Raises:
        ValueError: The name is empty or has a ``=``, or the values are too few or not distinct.

    Example:
        >>> smiling = Condition("Smiling", ("no", "yes"))
        >>> smiling.encode("yes"), smiling.decode(0.0)
        (1.0, 'no')
        >>> Condition("age", None).encode("41.5")
        41.5
    """

    name: str
    values: tuple[str, ...] | None

    def __post_init__(self) -> None:
        if not self.name or "=" in self.name:
            raise ValueError(f"the name of a condition must not be empty or have a '=', got {self.name!r}")
        if self.values is not None and len(set(self.values)) != len(self.values):
            raise ValueError(f"the values of condition {self.name!r} must be distinct, got {self.values}")
        if self.values is not None and len(self.values) < 2:
            raise ValueError(f"condition {self.name!r} must have at least two values, got {self.values}")

    @property
    def is_categorical(self) -> bool:
        """Whether it is one of a few named values, rather than a number."""
        return self.values is not None

    def encode(self, text: str) -> float:
        """The number that stands for a value: the index of a category, or the number itself.

        Raises:
            ValueError: The condition cannot take this value.
        """
        if self.values is not None:
            if text not in self.values:
                raise ValueError(unknown(f"value of {self.name}", text, self.values))
            return float(self.values.index(text))
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if not torch.tensor(number, dtype=torch.float32).isfinite():
            what = "a number of single precision" if math.isfinite(number) else "a finite number"
            raise ValueError(f"{self.name} is continuous: expected {what}, got {text!r}")
        return number

    def decode(self, number: float) -> str:
        """The value that a number stands for, such that encoding it gives the number (in float32) back.

        NaN, a missing value, gives the empty text, as in a CSV file.

        Raises:
            ValueError: The number is not the index of a category, or is infinite.
        """
        if math.isnan(number):
            return ""
        if self.values is None and math.isfinite(number):
            single = np.float32(number)
            is_plain = 1e-4 <= abs(single) < 1e16  # others are full of zeros
            return np.format_float_positional(single, trim="-") if is_plain else str(single).removesuffix(".0")
        if self.values is None or number not in range(len(self.values)):
            raise ValueError(f"{number} does not stand for a value of {self.name}: {self.values or 'finite'}")
        return self.values[int(number)]


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images of one size, each with the conditions that are known of it; or the rows of a table, without images.

    Args:
        name: What :func:`load` found it by.
        images: (n, channels, height, width) uint8; of a table (n, 0, 0, 0).
        conditions: (n, c) float32: the index of the category or the number; NaN = missing.
        schema: What the ``c`` columns of ``conditions`` are.
        noise: What is drawn anew each time :meth:`pixels` reads an image. "binarize" makes each pixel white with a
            probability that is its grey value, as Burda, Grosse and Salakhutdinov train (`Importance weighted
            autoencoders <https://arxiv.org/abs/1509.00519>`_, 2016); "dequantize" spreads the 256 levels over the
            unit interval, see :meth:`dequantized`.
        exact: Whether these are the published images in the published split, if there is one.
        remark: What sets them apart from those of publications, in a few words.
        files: The names of the n images, if each is a file of its own; else empty.
        texts: The n entries of conditions as the file has them, by the names of these, if it is one of texts.

    Raises:
        ValueError: Shapes or types disagree, a condition has a value that it cannot take, or there is no such noise.

    Example:
        >>> data = Dataset(
        ...     "two",
        ...     torch.tensor([0, 255], dtype=torch.uint8).reshape(2, 1, 1, 1),
        ...     torch.tensor([[0.0], [torch.nan]]),
        ...     (Condition("bright", ("no", "yes")),),
        ... )
        >>> len(data), data.image_shape
        (2, (1, 1, 1))
        >>> data.pixels(torch.tensor([1, 0])).flatten()
        tensor([1., 0.])
    """

    name: str
    images: Tensor
    conditions: Tensor
    schema: tuple[Condition, ...]
    noise: Noise = "none"
    exact: bool = True
    remark: str = ""
    files: tuple[str, ...] = ()
    texts: Mapping[str, np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.noise not in get_args(Noise):
            raise ValueError(unknown("noise", self.noise, get_args(Noise)))
        if self.images.dtype != torch.uint8 or self.images.dim() != 4:
            raise ValueError(
                "images must be uint8 of shape (n, channels, height, width), "
                f"got {self.images.dtype} of shape {tuple(self.images.shape)}"
            )
        expected = (len(self.images), len(self.schema))
        if self.conditions.dtype != torch.float32 or self.conditions.shape != expected:
            raise ValueError(
                f"conditions must be float32 of shape {expected}, "
                f"got {self.conditions.dtype} of shape {tuple(self.conditions.shape)}"
            )
        if self.files and len(self.files) != len(self.images):
            raise ValueError(f"files must be the names of all {len(self.images)} images, got {len(self.files)}")
        if len(set(self.names)) != len(self.names):
            raise ValueError(f"the names of the conditions must be distinct, got {self.names}")
        for condition, column in zip(self.schema, self.conditions.unbind(1), strict=True):
            observed = column[~column.isnan()]
            wrong = ~observed.isfinite()
            if condition.values is not None:
                wrong |= (observed < 0) | (observed >= len(condition.values)) | (observed != observed.round())
            if wrong.any():
                limits = "finite" if condition.values is None else f"one of 0 … {len(condition.values) - 1}"
                raise ValueError(f"condition {condition.name!r} must be {limits} or NaN, got {observed[wrong][0]:g}")

    def __len__(self) -> int:
        return len(self.images)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(channels, height, width)."""
        channels, height, width = self.images.shape[1:]
        return channels, height, width

    @property
    def is_table(self) -> bool:
        """Whether there are no images, but conditions alone."""
        return self.images[:1].numel() == 0

    @property
    def is_binary(self) -> bool:
        """Whether every pixel that is read is black or white.

        Example:
            >>> images = torch.tensor([0, 255], dtype=torch.uint8).reshape(2, 1, 1, 1)
            >>> data = Dataset("two", images, torch.zeros(2, 0), ())
            >>> data.is_binary, data.dequantized().is_binary, replace(data, images=images // 2).is_binary
            (True, False, False)
        """
        if self.noise != "none":
            return self.noise == "binarize"
        return bool(((self.images == 0) | (self.images == 255)).all())

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the conditions."""
        return tuple(condition.name for condition in self.schema)

    def pixels(self, index: Tensor | slice = slice(None)) -> Tensor:
        """Some of the images, (…, channels, height, width) float32 in [0, 1].

        If there is ``noise``, it comes from PyTorch's global generator of the device where the images are.
        """
        levels = self.images[index].to(torch.float32)
        if self.noise == "dequantize":
            # Rounding can give 0 and 1, whose logits are infinite.
            return levels.add_(torch.rand_like(levels)).div_(256).clamp_(2**-33, 1 - 2**-24)
        grey = levels.div_(255)
        return torch.bernoulli(grey) if self.noise == "binarize" else grey

    def dequantized(self) -> "Dataset":
        r"""A copy whose pixels are continuous: level :math:`l \in \{0, \dots, 255\}` is spread over its own interval,

        .. math:: x = (l + u) / 256, \qquad u \sim \mathrm{Uniform}[0, 1),

        with a new :math:`u` at each reading, and always strictly inside (0, 1). The mean log-density of a continuous
        model under this noise, minus :math:`\log 256` a dimension, bounds the log-probability that it gives to the
        levels from below (L. Theis, A. van den Oord and M. Bethge, `A note on the evaluation of generative models
        <https://arxiv.org/abs/1511.01844>`_, ICLR 2016, section 3.1).

        Raises:
            ValueError: The images are binarised when they are read, so that there are no levels left.

        Example:
            >>> images = torch.tensor([0, 255], dtype=torch.uint8).reshape(2, 1, 1, 1)
            >>> x = Dataset("two", images, torch.zeros(2, 0), ()).dequantized().pixels().flatten()
            >>> 0 < x[0] < 1 / 256, 255 / 256 < x[1] < 1
            (tensor(True), tensor(True))
        """
        if self.noise == "binarize":
            raise ValueError(
                f"the images to dequantise must have levels of grey, but those of {self.name} are binarised"
            )
        return replace(self, noise="dequantize")

    def subset(self, index: Tensor | slice) -> "Dataset":
        """Some of the images with their conditions."""
        rows = torch.arange(len(self))[index].tolist() if self.files or self.texts else []
        files = tuple(self.files[row] for row in rows) if self.files else ()
        texts = {name: column[rows] for name, column in self.texts.items()}
        return replace(self, images=self.images[index], conditions=self.conditions[index], files=files, texts=texts)

    def select(self, names: Iterable[str]) -> "Dataset":
        """All images with some of the conditions, in the order given.

        Raises:
            ValueError: A name is unknown or given twice.
        """
        names = list(names)
        for name in names:
            if name not in self.names:
                raise ValueError(unknown(f"condition of {self.name}", name, self.names))
        columns = [self.names.index(name) for name in names]
        schema = tuple(self.schema[column] for column in columns)
        return replace(self, conditions=self.conditions[:, columns], schema=schema)

    def hide(self, fraction: float, *, seed: int) -> "Dataset":
        """A copy in which a share of the known entries of each condition is missing.

        Of each column, ``round(fraction * known)`` entries are hidden, chosen at random, independently of
        the other columns. With the same seed a larger fraction hides the same entries and more.

        Args:
            fraction: In [0, 1].
            seed: At least 0.

        Raises:
            ValueError: ``fraction`` or ``seed`` is out of its range.

        Example:
            >>> images = torch.zeros(4, 1, 1, 1, dtype=torch.uint8)
            >>> data = Dataset("four", images, torch.ones(4, 1), (Condition("a", None),))
            >>> data.hide(0.5, seed=1).conditions.flatten()
            tensor([nan, 1., nan, 1.])
        """
        if not 0 <= fraction <= 1:
            raise ValueError(f"the fraction of conditions to hide must be in [0, 1], got {fraction}")
        conditions = self.conditions.clone()
        for column in range(len(self.schema)):
            known = (~conditions[:, column].isnan()).nonzero().flatten()
            order = permutation(len(known), seed, column).to(known.device)
            conditions[known[order[: round(fraction * len(known))]], column] = torch.nan
        return replace(self, conditions=conditions)

    def keep(self, count: int, *, seed: int) -> "Dataset":
        """A copy in which so many entries of each condition are known, and the others missing.

        Of a categorical condition each value keeps as many, as far as it has them; which ones is chosen at random,
        independently for each column. With the same seed a larger count keeps the same entries and more.

        Args:
            count: At least 1, at most as many as are known.
            seed: At least 0.

        Raises:
            ValueError: ``count`` is out of its range for a condition.

        Example:
            >>> images = torch.zeros(6, 1, 1, 1, dtype=torch.uint8)
            >>> labels = torch.tensor([0.0, 0, 0, 0, 1, 1]).unsqueeze(1)
            >>> data = Dataset("six", images, labels, (Condition("a", ("x", "y")),))
            >>> data.keep(4, seed=0).conditions.flatten().nan_to_num(-1).sort().values
            tensor([-1., -1.,  0.,  0.,  1.,  1.])
        """
        conditions = torch.full_like(self.conditions, torch.nan)
        for column, condition in enumerate(self.schema):
            known = (~self.conditions[:, column].isnan()).nonzero().flatten()
            if not 1 <= count <= len(known):
                raise ValueError(f"{condition.name} has {len(known)} known entries to keep some of, got {count}")
            known = known[permutation(len(known), seed, column).to(known.device)]
            if condition.is_categorical:
                # The first entry of each value comes first, then the second of each, and so on.
                values = self.conditions[known, column]
                same = values.unsqueeze(1) == torch.arange(len(condition.values or ())).to(values)
                rank = same.cumsum(0)[same]
                known = known[rank.argsort(stable=True)]
            kept = known[:count]
            conditions[kept, column] = self.conditions[kept, column]
        return replace(self, conditions=conditions)

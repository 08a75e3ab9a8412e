"""Histopathology: patches of microscope slides of lymph nodes, grey."""

from pathlib import Path

import numpy as np

from googol.data.containers import read_archive, unpickle
from googol.data.files import DataError, read
from googol.data.published import File, Form, Published, Split
from googol.data.splits import SPLITS

__all__ = ["HISTOPATHOLOGY"]

SIDE = 28
SIZES = {"training": 6800, "validation": 2000, "test": 2000}


def _archive(place: Path, split: str) -> Split:
    path = place / "histopathology.pkl.tar.gz"
    return _of_split(read_archive(path, ["histopathology.pkl"])[0], str(path), split)


def _pickle(place: Path, split: str) -> Split:
    path = place / "histopathology.pkl"
    return _of_split(read(path), str(path), split)


def _of_split(content: bytes, what: str, split: str) -> Split:
    """A dictionary of images in [0, 1] by the names "training", "validation" and "test".

    The level of a pixel is the one of 256 equal intervals in which it is, as in the likelihood of the VampPrior's code.
    """
    arrays = unpickle(content, what)
    if not isinstance(arrays, dict) or not SIZES.keys() <= arrays.keys():
        raise DataError(f"{what} must hold a dictionary with {', '.join(SIZES)}")
    name = dict(zip(SPLITS, SIZES, strict=True))[split]
    try:
        values = np.asarray(arrays[name], np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"{what} must have numbers as {name} images of one size") from error
    expected = SIZES[name]
    if values.size != expected * SIDE**2 or len(values) != expected:
        raise DataError(f"{what} must have {expected} {name} images of {SIDE} x {SIDE}, got shape {values.shape}")
    if not np.isfinite(values).all():
        raise DataError(f"{what} must have {name} images of finite numbers")
    levels = np.clip(256 * values, 0, 255).astype(np.uint8)
    return Split(levels.reshape(-1, SIDE, SIDE))


#: J. M. Tomczak and M. Welling, Improving variational auto-encoders using Householder flow,
#: https://arxiv.org/abs/1611.09630, 2016. 6,800 / 2,000 / 2,000 images. The archive is known by its name in the Git
#: repository of the paper; of the pickle inside it, put there by hand, only numbers and sizes are checked.
HISTOPATHOLOGY = Published(
    name="histopathology",
    description="10,800 patches of microscope slides, 28 x 28 grey",
    shape=(1, SIDE, SIDE),
    forms=(
        Form(
            (
                File(
                    "histopathology.pkl.tar.gz",
                    "git:40e100f65969106cbcf3c0f6f29e70e8e7e14fe3",
                    "https://github.com/jmtomczak/vae_householder_flow/raw/master/datasets/histopathologyGray/"
                    "histopathology.pkl.tar.gz",
                ),
            ),
            _archive,
        ),
        Form((File("histopathology.pkl"),), _pickle),
    ),
)

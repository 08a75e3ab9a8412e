"""Omniglot: characters of 50 alphabets, drawn by hand."""

from pathlib import Path

import numpy as np

from googol.data.containers import read_matlab
from googol.data.files import DataError, read_arrays
from googol.data.published import BINARIZATION_SEED, File, Form, Published, Split, binarized
from googol.data.splits import SPLITS

__all__ = ["OMNIGLOT"]

SIDE, VALID = 28, 1345
REBUILT = "rebuilt from the original drawings, not chardata.mat: 8,115 test images instead of 8,070"


def _matlab(place: Path, split: str) -> Split:
    """Images as columns, first down and then to the right, in [0, 1]; they are rounded to 256 levels.

    The order of the training images, of which the last are for validation, is that of Burda et al.'s code.
    """
    path = place / "chardata.mat"
    arrays = read_matlab(path, ("data", "testdata"))
    for name, values in arrays.items():
        if values.ndim != 2 or len(values) != SIDE**2 or values.dtype.kind not in "fui":
            raise DataError(
                f"{path} must have {name} of shape ({SIDE**2}, n), got {values.dtype} of shape {values.shape}"
            )
        if not (values.min(initial=0) >= 0 and values.max(initial=1) <= 1):  # false for NaN, too
            raise DataError(f"{path} must have {name} in [0, 1], got {values.min()} to {values.max()}")
    train, test = (
        np.rint(255 * values.T).astype(np.uint8).reshape(-1, SIDE, SIDE).swapaxes(1, 2) for values in arrays.values()
    )
    if len(train) <= VALID:
        raise DataError(f"{path} must have over {VALID} training images, got {len(train)}")
    train = train[np.random.RandomState(123).permutation(len(train))]
    return _of_split({"train": train[:-VALID], "valid": train[-VALID:], "test": test}, split)


def _rebuilt(place: Path, split: str) -> Split:
    arrays = read_arrays(place / "omniglot_28.npz", [f"x_{name}" for name in SPLITS])
    parts = {name: arrays[f"x_{name}"] for name in SPLITS}
    if any(images.dtype != np.uint8 for images in parts.values()):
        raise DataError(f"{place / 'omniglot_28.npz'} must have uint8 images, got {parts[split].dtype}")
    return _of_split(parts, split)._replace(exact=False, remark=REBUILT)


def _of_split(parts: dict[str, np.ndarray], split: str) -> Split:
    if split == "train":
        return Split(parts[split], noise="binarize")
    random = np.random.RandomState(BINARIZATION_SEED)  # goes on from validation to testing
    return Split({name: binarized(parts[name], random) for name in ("valid", "test")}[split])


#: B. M. Lake, R. Salakhutdinov and J. B. Tenenbaum, Human-level concept learning through probabilistic program
#: induction, Science 350, 2015, reduced by Y. Burda, R. Grosse and R. Salakhutdinov, Importance weighted autoencoders,
#: https://arxiv.org/abs/1509.00519, 2016. 23,000 / 1,345 / 8,070 images. Each training image is binarised anew whenever
#: it is used, the others once. The file is known by its name in the Git repository of the paper.
OMNIGLOT = Published(
    name="omniglot",
    description="32,415 handwritten characters of 50 alphabets, 28 x 28 black and white",
    shape=(1, SIDE, SIDE),
    forms=(
        Form(
            (
                File(
                    "chardata.mat",
                    "git:016a3536ffe5e1d38e42563a18d7a78bfaf643ec",
                    "https://github.com/yburda/iwae/raw/master/datasets/OMNIGLOT/chardata.mat",
                ),
            ),
            _matlab,
        ),
        Form((File("omniglot_28.npz"),), _rebuilt, REBUILT),
    ),
)

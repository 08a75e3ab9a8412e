"""Frey Faces: one face in the order of filming."""

from hashlib import md5
from pathlib import Path

import numpy as np

from googol.data.containers import unpickle
from googol.data.files import DataError, read, read_arrays
from googol.data.published import File, Form, Published, Split

__all__ = ["FREY_FACES"]

HEIGHT, WIDTH, VALID, TEST = 28, 20, 200, 200
#: Of all pixels, film order. There are two pickles of them; this tells the pixels of either, and of other forms.
PIXELS_MD5 = "687b39ec28b56c183474c235686975cf"
NO_SPLIT = "no split is canonical: this one is that of the Sylvester flows' code, seed 123"


def _pickle(place: Path, split: str) -> Split:
    """A list of one array, (1965, 560) uint8."""
    path = place / "freyfaces.pkl"
    content = unpickle(read(path), str(path))
    if not (isinstance(content, list) and len(content) == 1 and isinstance(content[0], np.ndarray)):
        raise DataError(f"{path} must hold a list of one array, got {type(content).__name__}")
    return _divided(path, content[0], split)


def _arrays(place: Path, split: str) -> Split:
    path = place / "frey_faces.npz"
    return _divided(path, read_arrays(path, ["x"])["x"], split)


def _divided(path: Path, frames: np.ndarray, split: str) -> Split:
    """Neighbouring frames are nearly the same, so the split is a shuffle of all."""
    count = len(frames) if frames.ndim else 0
    if frames.dtype != np.uint8 or frames.size != count * HEIGHT * WIDTH or count <= VALID + TEST:
        raise DataError(
            f"{path} must have over {VALID + TEST} uint8 frames of {HEIGHT} x {WIDTH}, "
            f"got {frames.dtype} of shape {frames.shape}"
        )
    order = np.random.RandomState(123).permutation(count)
    train = count - VALID - TEST
    part = {"train": order[:train], "valid": order[train : train + VALID], "test": order[train + VALID :]}[split]
    exact = md5(np.ascontiguousarray(frames).data).hexdigest() == PIXELS_MD5
    remark = NO_SPLIT if exact else f"not the published frames; {NO_SPLIT}"
    return Split(frames.reshape(-1, HEIGHT, WIDTH)[part], exact=exact, remark=remark)


#: By B. Frey; the pickle is that of J. M. Tomczak and M. Welling, VAE with a VampPrior,
#: https://arxiv.org/abs/1705.07120, 2018. 1,565 / 200 / 200 images.
FREY_FACES = Published(
    name="frey-faces",
    description="1,965 pictures of one face, 28 x 20 grey",
    shape=(1, HEIGHT, WIDTH),
    forms=(
        Form(
            (
                File(
                    "freyfaces.pkl",
                    "8db27fd8d4be5ade7bdb05b488ae8aa2",
                    "https://github.com/jmtomczak/vae_vampprior/raw/master/datasets/Freyfaces/freyfaces.pkl",
                ),
            ),
            _pickle,
            NO_SPLIT,
        ),
        Form((File("frey_faces.npz"),), _arrays, NO_SPLIT),
    ),
)

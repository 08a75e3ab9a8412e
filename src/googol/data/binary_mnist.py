"""Black and white MNIST: binarised once and for all, or anew each time an image is used."""

from collections.abc import Sequence
from dataclasses import replace
from hashlib import md5
from pathlib import Path

import numpy as np
import torch

from googol.data.dataset import Dataset
from googol.data.files import DataError, read, read_arrays
from googol.data.mnist import MNIST, FromMnist, Mnist
from googol.data.published import BINARIZATION_SEED, File, Form, Published, Split, binarized, unpacked
from googol.data.splits import SPLITS

__all__ = ["BINARY_MNIST", "STATIC_MNIST", "BinaryMnist"]

SIDE = 28
ADDRESS = "http://www.cs.toronto.edu/~larocheh/public/datasets/binarized_mnist/"
MD5 = {
    "train": "db28b1a6ae0fe70cbd3da91acf46e477",
    "valid": "bf37822a04e94123630de6a7dfd9c9ef",
    "test": "14e41ae11040adba6ab8cb291eda0dd8",
}


def _text(place: Path, split: str) -> Split:
    """A line for each image, with 784 digits 0 or 1 and one space between them."""
    path = place / f"binarized_mnist_{split}.amat"
    content = np.frombuffer(read(path), np.uint8)
    if len(content) % (2 * SIDE**2) or not np.isin(content[::2], (48, 49)).all():
        raise DataError(f"{path} must have lines of {SIDE**2} digits 0 or 1 with a space between; left as it is")
    return Split((content[::2].reshape(-1, SIDE, SIDE) - 48) * 255)


def _packed(place: Path, split: str) -> Split:
    """Eight pixels a byte; they are the published ones if the text of them has the checksum."""
    path = place / "mnist_static_binarized.npz"
    packed = read_arrays(path, [f"{name}_packed" for name in SPLITS])[f"{split}_packed"]
    bits = unpacked(packed, (SIDE, SIDE), path)
    text = np.full((len(bits), 2 * SIDE**2), ord(" "), np.uint8)
    text[:, ::2] = bits.reshape(len(bits), -1) + ord("0")
    text[:, -1] = ord("\n")
    exact = md5(text.data).hexdigest() == MD5[split]
    return Split(bits * np.uint8(255), exact=exact, remark="" if exact else "not the published bits")


#: R. Salakhutdinov and I. Murray, On the quantitative analysis of deep belief networks, ICML 2008, as H. Larochelle
#: divided it: H. Larochelle and I. Murray, The neural autoregressive distribution estimator, AISTATS 2011.
#: 50,000 / 10,000 / 10,000 images without labels; those for testing are sorted by digit.
STATIC_MNIST = Published(
    name="static-mnist",
    description="70,000 handwritten digits, 28 x 28 black and white, binarised once",
    shape=(1, SIDE, SIDE),
    forms=(
        Form(
            tuple(
                File(f"binarized_mnist_{split}.amat", MD5[split], f"{ADDRESS}binarized_mnist_{split}.amat")
                for split in SPLITS
            ),
            _text,
        ),
        Form((File("mnist_static_binarized.npz"),), _packed),
    ),
)


class BinaryMnist(FromMnist):
    """MNIST of which each training image is binarised anew whenever it is used.

    The images for validation and testing are binarised once, with the random numbers of the VampPrior's code, so they
    are the same to the bit. The last 10,000 training images are for validation. Its files are those of ``mnist``.

    J. M. Tomczak and M. Welling, `VAE with a VampPrior <https://arxiv.org/abs/1705.07120>`_, AISTATS 2018.

    Args:
        source: The grey images.
    """

    name = "binary-mnist"
    description = "70,000 handwritten digits, 28 x 28 black and white, those for training binarised at each use"

    def __init__(self, source: Mnist = replace(MNIST, valid=10_000)) -> None:  # noqa: B008  (it is frozen)
        super().__init__(source)

    def load(self, split: str, folders: Sequence[Path]) -> Dataset:
        """The images of one split."""
        data = replace(self.source.load(split, folders), name=self.name)
        if split == "train":
            return replace(data, noise="binarize")
        random = np.random.RandomState(BINARIZATION_SEED)  # goes on from validation to testing
        if split == "test":
            binarized(self.source.load("valid", folders).images.numpy(), random)
        return replace(data, images=torch.from_numpy(binarized(data.images.numpy(), random)))


BINARY_MNIST = BinaryMnist()

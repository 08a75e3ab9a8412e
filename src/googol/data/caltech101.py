"""Caltech 101 Silhouettes: the outlines of objects of 101 classes."""

from pathlib import Path

import numpy as np

from googol.data.containers import read_matlab
from googol.data.dataset import Condition
from googol.data.files import DataError, read_arrays
from googol.data.published import File, Form, Published, Split, unpacked
from googol.data.splits import SPLITS

__all__ = ["CALTECH101"]

SIDE = 28
OTHER_SPLIT = "not the official split1: same sizes, other members"

CLASS_NAMES = """
    Airplanes Side 2, Faces 2, Faces 3, Leopards, Motorbikes 16, accordion, anchor, ant, barrel, bass, beaver,
    binocular, bonsai, brain, brontosaurus, buddha, butterfly, camera, cannon, car side, ceiling fan,
    cellphone, chair, chandelier, cougar body, cougar face, crab, crayfish, crocodile, crocodile head, cup,
    dalmatian, dollar bill, dolphin, dragonfly, electric guitar, elephant, emu, euphonium, ewer, ferry,
    flamingo, flamingo head, garfield, gerenuk, gramophone, grand piano, hawksbill, headphone, hedgehog,
    helicopter, ibis, inline skate, joshua tree, kangaroo, ketch, lamp, laptop, llama, lobster, lotus,
    mandolin, mayfly, menorah, metronome, minaret, nautilus, octopus, okapi, pagoda, panda, pigeon, pizza,
    platypus, pyramid, revolver, rhino, rooster, saxophone, schooner, scissors, scorpion, sea horse, snoopy,
    soccer ball, stapler, starfish, stegosaurus, stop sign, strawberry, sunflower, tick, trilobite, umbrella,
    watch, water lilly, wheelchair, wild cat, windsor chair, wrench, yin yang
"""


def _matlab(place: Path, split: str) -> Split:
    """Images as rows, first down and then to the right, the silhouette 0 on 1; labels from 1."""
    path = place / "caltech101_silhouettes_28_split1.mat"
    part = "val" if split == "valid" else split
    images, labels = read_matlab(path, (f"{part}_data", f"{part}_labels")).values()
    if images.ndim != 2 or images.shape[1] != SIDE**2 or images.dtype.kind not in "buif":
        raise DataError(
            f"{path} must have {part}_data of shape (n, {SIDE**2}), got {images.dtype} of shape {images.shape}"
        )
    if not np.isin(images, (0, 1)).all():
        raise DataError(f"{path} must have {part}_data of 0 and 1")
    white = (images == 0).reshape(-1, SIDE, SIDE).swapaxes(1, 2)
    return Split(white * np.uint8(255), labels.ravel().astype(int) - 1)


def _packed(place: Path, split: str) -> Split:
    """Eight pixels a byte, line by line, the silhouette 1 on 0; labels from 0."""
    path = place / "caltech101_silhouettes_28.npz"
    arrays = read_arrays(path, [f"{kind}{name}{end}" for name in SPLITS for kind, end in (("", "_packed"), ("y_", ""))])
    images = unpacked(arrays[f"{split}_packed"], (SIDE, SIDE), path) * np.uint8(255)
    return Split(images, arrays[f"y_{split}"], exact=False, remark=OTHER_SPLIT)


#: B. M. Marlin, K. Swersky, B. Chen and N. de Freitas, Inductive principles for restricted Boltzmann machine learning,
#: AISTATS 2010. 4,100 / 2,264 / 2,307 images, white silhouettes on black.
CALTECH101 = Published(
    name="caltech101",
    description="8,671 silhouettes of objects of 101 classes, 28 x 28 black and white",
    shape=(1, SIDE, SIDE),
    condition=Condition("class", tuple(name.strip() for name in CLASS_NAMES.split(","))),
    forms=(
        Form(
            (
                File(
                    "caltech101_silhouettes_28_split1.mat",
                    "4483e9c14b188fd09937f9ea6f9ea777",
                    "https://people.cs.umass.edu/~marlin/data/caltech101_silhouettes_28_split1.mat",
                ),
            ),
            _matlab,
        ),
        Form((File("caltech101_silhouettes_28.npz"),), _packed, OTHER_SPLIT),
    ),
)

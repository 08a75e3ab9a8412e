"""A run of a small joint model with conditions of both kinds."""

import csv
import random
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

from googol.cli import main
from googol.experiments import Run, open_run

TINY = "--epochs 12 --warmup-epochs 4 --latents 4 --batch-size 32 --learning-rate 0.003 --figure-every 100"
PARTS = "likelihood:normal network:mlp --network.hidden 64 prior:tensor-ring --prior.rank 12"


def draw_shapes(folder: Path, count: int = 300) -> None:
    """Discs and squares in three colours and all sizes, with holes in what is known of them."""
    folder.mkdir()
    random.seed(0)
    rows = []
    for number in range(count):
        shape, colour, size = (
            random.choice(["disc", "square"]),
            random.choice(["red", "green", "blue"]),
            random.uniform(2, 4),
        )
        image = Image.new("RGB", (8, 8), "white")
        draw = ImageDraw.Draw(image)
        (draw.ellipse if shape == "disc" else draw.rectangle)((4 - size, 4 - size, 3 + size, 3 + size), fill=colour)
        image.save(folder / f"{number}.png")
        known = [value if random.random() < 0.8 else "" for value in (shape, colour, f"{size:.3f}")]
        rows.append([f"{number}.png", *known])
    with open(folder / "conditions.csv", "w", newline="") as file:
        csv.writer(file).writerows([["file", "shape", "colour", "size"], *rows])


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the run."""
    place = tmp_path_factory.mktemp("explorer")
    draw_shapes(place / "shapes")
    command = f"train joint-vae --data {place / 'shapes'} --out {place / 'RUN'} {TINY} {PARTS}"
    assert main(command.split()) == 0
    return place / "RUN"


@pytest.fixture(scope="session")
def table_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the run of a table."""
    place = tmp_path_factory.mktemp("explorer")
    random.seed(0)
    with open(place / "people.csv", "w", newline="") as file:
        rows = [[random.choice(["red", "brown"]), random.randint(20, 70)] for _ in range(400)]
        known = [[hair, age, f"{age / 7 + (hair == 'red'):.1f}"] for hair, age in rows]
        csv.writer(file).writerows([["<hair>", "age", "score"], *known])
    command = f"train tabular --data {place / 'people.csv'} --out {place / 'RUN'} --epochs 30 prior:tensor-ring"
    assert main([*command.split(), "--prior.rank", "8"]) == 0
    return place / "RUN"


@pytest.fixture(scope="session")
def run(folder: Path) -> Run:
    return open_run(folder)

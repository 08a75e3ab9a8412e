"""The picture of latent spaces: a panel for each run, with what its prior is made of."""

from pathlib import Path

import pytest
import torch
from matplotlib.collections import EllipseCollection

from googol.cli import main
from googol.data import load
from googol.experiments import Run, config
from googol.experiments.latent_figure import latent_figure

SCHEMA = load("digits", "test").schema
MLP = config.MLP(hidden=(8,))


def run(choice: config.Model) -> Run:
    torch.manual_seed(0)
    return Run(Path("RUN"), choice.build((1, 8, 8), SCHEMA).eval(), choice, (1, 8, 8), SCHEMA, "digits")


def black_dots(axis) -> int:
    return sum(len(line.get_xdata()) for line in axis.lines if line.get_color() == "black")


def test_pseudo_inputs_and_components_are_shown_over_the_codes():
    runs = [
        run(config.VAE(latents=2, prior=config.VampPrior(components=7), network=MLP)),
        run(config.HVAE(latents=(2, 3), prior=config.TensorRing(rank=2, components=3), network=MLP)),
        run(config.VAE(latents=2, prior=config.NormalMixture(components=5), network=MLP)),
        run(config.VAE(latents=2, network=MLP)),
        run(config.ExpertsVAE(latents=2, network=MLP)),
        run(config.JointVAE(latents=2, prior=config.TensorRing(rank=2, components=3), network=MLP)),
    ]
    data = load("digits", "test")
    axes = list(latent_figure(runs, [data] * len(runs)).axes)
    assert len(axes) == 6
    assert [black_dots(axis) for axis in axes] == [7, 0, 5, 0, 0, 0]
    assert "7 pseudo-inputs" in axes[0].get_title()
    assert "9 components" in axes[1].get_title()
    ellipses = [[part for part in axis.collections if isinstance(part, EllipseCollection)] for axis in axes]
    assert [len(parts) for parts in ellipses] == [0, 1, 0, 0, 0, 1]
    assert 0 < len(ellipses[1][0].get_offsets()) <= 9
    for axis in axes:
        coloured = [line for line in axis.lines if line.get_label() in set("0123456789")]
        assert len(coloured) == 10
        assert sum(len(line.get_xdata()) for line in coloured) == len(data)
    assert [axis.get_legend() is not None for axis in axes] == [False] * 5 + [True]


@pytest.mark.parametrize("choice", [config.VAE(latents=3, network=MLP), config.PixelCNN()])
def test_two_latents_are_needed(choice):
    with pytest.raises(ValueError, match=r"needs (2 latents|codes), and the model in RUN has (3|none)"):
        latent_figure([run(choice)], [load("digits", "test")])


def test_there_must_be_a_run():
    with pytest.raises(ValueError, match="at least one run"):
        latent_figure([], [])


def test_the_command_writes_a_picture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, out = str(tmp_path / "RUN"), tmp_path / "latent.png"
    arguments = ["--epochs", "1", "--latents", "2", "--figure-every", "5", "network:mlp", "--network.hidden", "8"]
    assert main(["train", "vae", "--out", folder, *arguments]) == 0
    assert main(["plot", "latent", folder, folder, "--out", str(out)]) == 0
    assert out.read_bytes().startswith(b"\x89PNG")
    capsys.readouterr()
    for wrong, message in [
        (["latnt", folder], "did you mean 'latent'?"),
        (["latent", folder, "--out", str(out)], "exists"),
        (["latent", folder, "--out", "x.gif"], ".png"),
        (["latent", folder, "--out", "x.png", "--split", "tset"], "test"),
    ]:
        assert main(["plot", *wrong]) == 2
        assert message in capsys.readouterr().err

"""Adversarial models from the command line, and the pictures of what they learned."""

import json
import re
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from torch import nn

from googol.cli import main
from googol.experiments import config

TINY = ["--epochs", "1", "--latents", "4", "--figure-every", "1"]
RING = ["prior:tensor-ring", "--prior.rank", "3", "--prior.components", "4"]
SMALL = ["network:dcgan", "--network.width", "4"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run."""
    out = tmp_path_factory.mktemp("runs") / "GAN"
    assert main(["train", "gan", "--out", str(out), *TINY, *RING, *SMALL]) == 0
    return out


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOGOL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("GOOGOL_DATA", str(tmp_path / "data"))


def test_models_are_trained_as_they_were_published(folder: Path) -> None:
    config = yaml.safe_load((folder / "config.yaml").read_text())
    assert config["training"]["learning_rate"] == 0.0002
    assert config["training"]["schedule"] == "constant"
    assert config["model"]["objective"] == "non-saturating"
    assert (folder / "figures" / "samples.png").is_file()
    assert (folder / "figures" / "prior.png").is_file()


@pytest.mark.parametrize("prior", [config.TensorRing(rank=2, scale=0.1), config.NormalMixture(scale=0.1)])
def test_components_start_as_narrow_as_is_asked_for(prior: config.TensorRing | config.NormalMixture) -> None:
    model = config.GAN(latents=3, prior=prior, network=config.MLP()).build((1, 8, 8), ())
    scales = [value.exp() for name, value in model.prior.named_parameters() if "log_scale" in name]
    assert len(scales) == 1
    torch.testing.assert_close(scales[0], torch.full_like(scales[0], 0.1))


def test_what_went_wrong_is_told_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        assert main(["train", "gan", "--out", str(tmp_path / "run"), *TINY, *SMALL]) == 0
    told = [line for line in re.split(r"[\r\n]", capsys.readouterr().err) if "to vary yet" in line]
    assert len(told) == 2
    assert told[0].startswith("googol: warning: after 10 steps the generator has not come to vary yet")
    assert "kept are the weights of step 10 (the generator has not come to vary yet); the model is in" in told[1]
    assert warnings.showwarning.__module__ == "warnings"


def test_sample_and_evaluate(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sample", str(folder), "-n", "4", "--out", str(tmp_path / "grid.png")]) == 0
    capsys.readouterr()
    metrics = "parameters,fid,modes,mode-kl,precision,recall,density,coverage"
    assert main(["evaluate", str(folder), "--metrics", metrics, "-n", "50", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert set(metrics.replace("-", "_").split(",")) <= found.keys()
    assert 1 <= found["modes"] <= 10
    assert found["features"] == "classifier"
    assert set(found["parameters_each"]) == {"prior", "generator", "critic"}


def test_images_without_labels_have_a_distance_by_inception(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    images = tmp_path / "plain.npz"
    np.savez(images, images=np.random.RandomState(0).randint(256, size=(40, 8, 8), dtype=np.uint8))
    evaluate = ["evaluate", str(folder), "--data", str(images), "-n", "20", "--json", "--metrics"]
    assert main([*evaluate, "fid"]) == 2
    error = capsys.readouterr().err
    assert "plain.npz has no known conditions" in error
    assert error.strip().endswith("features='inception' (--features inception) needs none")
    assert main([*evaluate, "fid,modes"]) == 2
    assert "--features" not in capsys.readouterr().err

    class StandIn(nn.Flatten):
        num_features = 64

        def __init__(self, *, weights: str | None) -> None:
            super().__init__()
            assert weights == str(images)

    monkeypatch.setattr("googol.experiments.evaluation.InceptionFeatures", StandIn)
    assert main([*evaluate, "fid", "--features", "inception", "--weights", str(images)]) == 0
    assert json.loads(capsys.readouterr().out)["features"] == "inception"


def test_pictures_of_modes_and_of_the_prior(folder: Path, tmp_path: Path) -> None:
    modes, prior = tmp_path / "modes.png", tmp_path / "prior.png"
    assert main(["plot", "modes", str(folder), "--rows", "2", "--columns", "5", "--out", str(modes)]) == 0
    width, height = Image.open(modes).size
    assert width > 2 * height
    assert main(["plot", "prior", str(folder), "--out", str(prior)]) == 0
    narrow = Image.open(prior).size[0]
    pairs = ["--pair", "0,1", "--pair", "3,1", "--pair", "0,2"]
    assert main(["plot", "prior", str(folder), "--overwrite", "--out", str(prior), *pairs]) == 0
    assert Image.open(prior).size[0] > narrow > 100


MISTAKES = [
    (["plot", "mode", "RUN", "--out", "a.png"], "unknown plot 'mode': expected one of 'modes', 'prior'"),
    (["plot", "modes", "RUN", "--out", "a.jpg"], "--out must end with .png, got a.jpg"),
    (["plot", "modes", "RUN", "--columns", "1", "--out", "a.png"], "expected at least one row and two columns"),
    (["plot", "prior", "RUN", "--pair", "0,4", "--out", "a.png"], "two latents out of 0 to 3, got 0,4"),
    (["plot", "prior", "RUN", "--pair", "0", "--out", "a.png"], "--pair must be the numbers of two latents such as"),
    (["evaluate", "RUN", "--metrics", "elbo"], "The metric elbo needs a model with a bound of log p(x); GAN is none"),
    (["sample", "RUN", "--given", "digit=3", "--out", "a.png"], "knows no conditions"),
    (["score", "RUN", "--out", "a.csv"], "has no bound of log p(x)"),
    (["train", "gan", "--out", "new", "prior:vamp-prior"], "unknown prior 'vamp-prior'"),
    (
        ["train", "gan", "--out", "new", "prior:flow", "prior.base:vamp-prior"],
        "a vamp-prior is made of posteriors, which this model has none of",
    ),
    (["train", "wgan", "--out", "new", "--clip", "0"], "clip must be positive, got 0.0"),
    (["train", "wgan", "--out", "new", "--spectral-normalization"], "which makes their clipping void"),
    (
        ["train", "gan", "--data", "gaussian-grid", "--out", "new"],
        "network:dcgan is for sides of at least 8 pixels, these images are 1 × 2: choose network:mlp",
    ),
    (
        ["evaluate", "RUN", "--metrics", "fid", "--weights", "w.pth"],
        "expected weights to be a file with those of inception features, got w.pth for classifier",
    ),
    (
        ["evaluate", "RUN", "--metrics", "fid", "--features", "inception", "--weights", "w.pth"],
        "expected weights to be a file with those of inception features, got w.pth for inception",
    ),
    (["train", "wgan-gp", "--out", "new", "--critic-steps", "0"], "critic_steps must be at least 1, got 0"),
]


@pytest.mark.parametrize(("arguments", "message"), MISTAKES)
def test_mistakes(
    arguments: list[str],
    message: str,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([str(folder) if part == "RUN" else part for part in arguments]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert message in lines[-1]
    assert not list(tmp_path.glob("*.png"))
    assert not (tmp_path / "new").exists()


def test_modes_are_those_of_a_tensor_ring(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "plain")
    assert main(["train", "gan", "--out", out, *TINY, "network:mlp", "--network.hidden", "8"]) == 0
    assert main(["plot", "modes", out, "--out", str(tmp_path / "modes.png")]) == 2
    assert "modes are those of a tensor ring" in capsys.readouterr().err

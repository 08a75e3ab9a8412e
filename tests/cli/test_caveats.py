"""What commands tell of data that are not the published ones, and of grey pixels taken for probabilities."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from googol.cli import main
from googol.data import load
from googol.experiments import config, noise, open_run, score, scoring_figure
from googol.experiments.caveats import GREY, takes_grey_for_probabilities

MLP = ["network:mlp", "--network.hidden", "4"]
TINY = ["--epochs", "2", "--warmup-epochs", "1", "--latents", "2", "prior:tensor-ring", "--prior.rank", "2"]
TINY += ["--prior.components", "2", *MLP]
REMARK = "not the official split1: same sizes, other members"


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with rebuilt silhouettes."""
    folder = tmp_path_factory.mktemp("data")
    random, arrays = np.random.default_rng(0), {}
    for split in ("train", "valid", "test"):
        arrays[f"{split}_packed"] = random.integers(256, size=(30, 98), dtype=np.uint8)
        arrays[f"y_{split}"] = random.integers(101, size=30)
    np.savez(folder / "caltech101_silhouettes_28.npz", **arrays)
    return folder


@pytest.fixture(autouse=True)
def own_folders(tmp_path: Path, data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOGOL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("GOOGOL_DATA", str(data_dir))


@pytest.fixture(scope="module")
def rebuilt(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on rebuilt data."""
    folder = tmp_path_factory.mktemp("runs") / "rebuilt"
    arguments = ["train", "joint-vae", "--data", "caltech101", "--data-dir", str(data_dir), "--out", str(folder)]
    assert main([*arguments, *TINY]) == 0
    return folder


def test_training_on_rebuilt_data_is_told_before_it_begins(tmp_path, capsys):
    out = str(tmp_path / "RUN")
    assert main(["train", "vae", "--data", "caltech101", "--out", out, "--epochs", "1", "--latents", "2", *MLP]) == 0
    assert capsys.readouterr().err.splitlines()[0] == f"caltech101: not the published data ({REMARK})"
    assert main(["train", "vae", "--out", f"{out}-2", "--epochs", "1", "--latents", "2", *MLP]) == 0
    assert "published" not in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ["evaluate", "--metrics", "elbo"],
        ["score", "--k", "2", "--level", "0.1"],
        ["impute", "--out", "labels.csv"],
    ],
    ids=lambda arguments: arguments[0],
)
def test_results_on_rebuilt_data_say_so(rebuilt, arguments, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    command, *options = arguments
    assert main([command, str(rebuilt), *options, "--json"]) == 0
    output = capsys.readouterr()
    found = json.loads(output.out)
    assert (found["exact_data"], found["remark"]) == (False, REMARK)
    assert f"caltech101: not the published data ({REMARK})" in output.err.splitlines()


def test_the_legend_of_a_scoring_says_which_data_are_rebuilt(rebuilt):
    run = open_run(rebuilt)
    known = run.load()
    scoring = score(run, known, [noise(known)], valid=run.load(split="valid"), k=2, level=0.1)
    legend = scoring_figure(scoring).subfigs[0].axes[0].get_legend()
    of_known, of_noise, _ = (text.get_text() for text in legend.get_texts())
    assert of_known.startswith("caltech101 (not the published data): ")
    assert of_noise.startswith("noise: ")


def test_fetching_data_that_are_there_in_another_form_says_so(data_dir, capsys):
    assert main(["data", "get", "caltech101"]) == 0
    output = capsys.readouterr()
    assert output.out == f"{data_dir / 'caltech101_silhouettes_28.npz'}\n"
    assert output.err.startswith(f"caltech101: {REMARK}; once these files are moved away, the same command brings")
    assert output.err.count("\n") == 1
    assert main(["data", "get", "digits"]) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("likelihood", "told"), [("bernoulli", True), ("discretized-logistic", False), ("logit-normal", False)]
)
def test_grey_pixels_as_probabilities_are_told(likelihood, told, tmp_path, capsys):
    out, choices = str(tmp_path / "RUN"), [f"likelihood:{likelihood}", *MLP]
    assert main(["train", "vae", "--out", out, "--epochs", "1", "--latents", "2", *choices]) == 0
    for arguments in (["evaluate", out, "--metrics", "elbo"], ["score", out, "--k", "2", "--limit", "150"]):
        capsys.readouterr()
        assert main([*arguments, "--json"]) == 0
        output = capsys.readouterr()
        found = json.loads(output.out)
        assert found["grey_as_probabilities"] == told == (GREY in output.err.splitlines())
        assert (found["exact_data"], "published" in output.err) == (True, False)
    assert main(["evaluate", out, "--metrics", "parameters"]) == 0
    assert GREY not in capsys.readouterr().err


def test_the_likelihood_of_grey_pixels_is_found_below_layers_and_in_painters():
    shape, grey = (1, 8, 8), load("digits", "test")
    white = replace(grey, images=255 * (grey.images > 127).byte())
    for choice in (
        config.HVAE(latents=(2, 2), network=config.MLP((4,))),
        config.PixelCNN(config.Autoregressive(width=4)),
    ):
        model = choice.build(shape, ())
        assert takes_grey_for_probabilities(model, grey)
        assert not takes_grey_for_probabilities(model, white)
    assert not takes_grey_for_probabilities(config.GAN().build((1, 28, 28), ()), grey)

"""The commands from end to end on tiny settings, and what they say to mistakes."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from PIL import Image

from googol.cli import main
from googol.experiments import open_run

TINY = ["--epochs", "2", "--warmup-epochs", "1", "--latents", "2", "--figure-every", "2", "prior:tensor-ring"]
TINY += ["--prior.rank", "3", "--prior.components", "4", "network:mlp", "--network.hidden", "16"]


def test_a_run_leaves_what_is_needed_to_repeat_it(folder: Path) -> None:
    config = yaml.safe_load((folder / "config.yaml").read_text())
    assert config["data"] == "digits"
    assert (config["missing"], config["missing_seed"]) == (0.5, 1)
    assert config["model"]["prior"] == {
        "kind": "tensor-ring",
        "learnable": True,
        "rank": 3,
        "components": 4,
        "boundary": "train",
        "scale": None,
    }
    assert set(config["versions"]) == {"googol", "torch", "python"}
    expected = {"model.safetensors", "model.json", "metrics.csv", "checkpoints", "figures", "config.yaml"}
    assert expected <= {path.name for path in folder.iterdir()}
    assert list(folder.glob("events*"))
    assert list((folder / "figures").glob("*.png"))


def test_sample_writes_a_picture_or_arrays(folder: Path, tmp_path: Path) -> None:
    picture, arrays = tmp_path / "grid.png", tmp_path / "images.npz"
    assert main(["sample", str(folder), "--given", "digit=3", "-n", "6", "--out", str(picture)]) == 0
    assert Image.open(picture).size[0] > 8
    assert main(["sample", str(folder), "--given", "digit=3", "-n", "6", "--out", str(arrays)]) == 0
    with np.load(arrays) as content:
        assert len(content["images"]) == 6
        assert (content["conditions"][:, 0] == 3).all()
    assert main(["sample", str(folder), "--each", "digit", "-n", "2", "--out", str(tmp_path / "each.png")]) == 0


def test_the_same_seed_gives_the_same_images(folder: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        assert main(["sample", str(folder), "-n", "4", "--seed", "7", "--out", str(tmp_path / f"{name}.png")]) == 0
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_impute_fills_in_every_label(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "labels.csv"
    capsys.readouterr()
    assert main(["impute", str(folder), "--split", "test", "--out", str(out), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    table = pd.read_csv(out)
    assert found["rows"] == len(table) == 393
    right = (table["digit"] == table["digit_imputed"]).mean()
    assert found["imputation_accuracy"] == pytest.approx(right)
    assert table["digit_probability"].between(0, 1).all()


def test_evaluate_prints_one_json_object(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    arguments = ["--metrics", "elbo,iwae,imputation-accuracy", "--k", "3", "--json"]
    assert main(["evaluate", str(folder), *arguments]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {"elbo", "iwae", "imputation_accuracy"} <= set(found)
    assert found["elbo"] < found["iwae"] < 0


def test_score_tells_strangers_apart(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, figure, arrays = tmp_path / "scores.csv", tmp_path / "scores.png", tmp_path / "black.npz"
    np.savez(arrays, images=np.zeros((30, 8, 8), np.uint8))
    capsys.readouterr()
    arguments = ["--strangers", f"noise, {arrays}", "--k", "3", "--out", str(out), "--figure", str(figure), "--json"]
    assert main(["score", str(folder), *arguments]) == 0
    found, table = json.loads(capsys.readouterr().out), pd.read_csv(out)
    assert table["data"].value_counts().to_dict() == {"digits": 393, "noise": 393, "black": 3} == found["images"]
    digits, noise = (table[table["data"] == name] for name in ("digits", "noise"))
    assert digits["index"].tolist() == list(range(393))
    assert digits["log_px"].mean() == pytest.approx(found["log_px"], abs=1e-3)
    lowest = digits.sort_values("log_px").head(5)
    assert list(found["least_likely"]["digits"]) == [str(number) for number in lowest["index"]]
    assert list(found["least_likely"]["digits"].values()) == pytest.approx(lowest["log_px"].tolist(), abs=1e-3)
    assert (noise["log_px"].to_numpy()[:, None] < digits["log_px"].to_numpy()).mean() == pytest.approx(
        found["auroc"]["noise"], abs=1e-3
    )
    assert set(found["auroc"]) == {"noise", "black"}
    assert found["uncertain"]["noise"] == noise["uncertain"].mean() == (noise["typicality"] < 0.01).mean()
    assert set(table["digit_imputed"]) <= set(range(10))
    assert table["digit_probability"].between(0, 1).all()
    assert Image.open(figure).size[0] > 500


def test_all_generated_images_are_scored_and_the_least_likely_named(folder: Path, tmp_path: Path, capsys) -> None:
    generated, out = str(tmp_path / "generated.npz"), tmp_path / "scores.csv"
    assert main(["sample", str(folder), "-n", "50", "--out", generated]) == 0
    capsys.readouterr()
    assert main(["score", str(folder), "--data", generated, "--k", "2", "--least", "2", "--out", str(out)]) == 0
    table = pd.read_csv(out)
    assert table["index"].tolist() == list(range(50))
    told = [f"{row.index} ({row.log_px:.2f})" for row in table.sort_values("log_px").head(2).itertuples(index=False)]
    assert f"least likely: {', '.join(told)}\n" in capsys.readouterr().out
    assert main(["impute", str(folder), "--data", generated, "--out", str(tmp_path / "labels.csv")]) == 0
    assert len(pd.read_csv(tmp_path / "labels.csv")) == 50


def test_a_run_without_conditions_is_scored(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--epochs", "1", "--latents", "2", "network:mlp", "--network.hidden", "16"]
    assert main(["train", "vae", "--out", str(tmp_path / "RUN"), *arguments]) == 0
    out, figure = tmp_path / "scores.csv", tmp_path / "scores.png"
    arguments = ["--limit", "150", "--k", "2", "--out", str(out), "--figure", str(figure)]
    assert main(["score", str(tmp_path / "RUN"), *arguments]) == 0
    assert list(pd.read_csv(out)) == ["data", "index", "log_px", "typicality", "uncertain"]
    assert pd.read_csv(out)["index"].is_unique
    assert f"written to {figure}" in capsys.readouterr().out


@pytest.mark.parametrize("model", ["cvae", "experts-vae"])
def test_every_model_of_conditions_answers_the_same_commands(model: str, tmp_path: Path, capsys) -> None:
    run, labels, scores = (str(tmp_path / name) for name in ("RUN", "labels.csv", "scores.csv"))
    arguments = ["--missing", "0.5", "--epochs", "2", "--latents", "2", "network:mlp", "--network.hidden", "16"]
    assert main(["train", model, "--out", run, *arguments]) == 0
    assert yaml.safe_load((tmp_path / "RUN" / "config.yaml").read_text())["model"]["kind"] == model
    assert not open_run(run).model.generate(3, torch.tensor([4.0]))[1].ne(4).any()
    assert main(["impute", run, "--split", "train", "--out", labels]) == 0
    assert set(pd.read_csv(labels)["digit"]) == set(range(10))
    assert main(["score", run, "--limit", "150", "--k", "2", "--out", scores]) == 0
    assert pd.read_csv(scores)["digit_probability"].between(0, 1).all()
    capsys.readouterr()
    names = "elbo,iwae,active-units,parameters,imputation-accuracy"
    assert main(["evaluate", run, "--metrics", names, "--k", "3", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["elbo"] < found["iwae"] < 0
    assert 0 < found["imputation_accuracy"] < 1
    sets, some = ["--given", "digit=3..5"], tmp_path / "some.npz"
    if model == "cvae":  # whose conditions have a distribution of their own
        assert main(["query", run, *sets, "--json"]) == 0
        probabilities = json.loads(capsys.readouterr().out)["beliefs"]["digit"]
        assert sum(probabilities[value] for value in "345") == pytest.approx(1, abs=1e-5)
        assert main(["sample", run, *sets, "-n", "40", "--out", str(some)]) == 0
        assert set(np.load(some)["conditions"].flatten()) == {3, 4, 5}
    else:
        refused = {"query": "has no distribution of conditions", "sample": "for exact values alone, not for ranges"}
        for command, message in refused.items():
            assert main([command, run, *sets, *(["--out", str(some)] if command == "sample" else [])]) == 2
            assert message in capsys.readouterr().err
        assert not some.exists()
    Image.new("L", (8, 8)).save(tmp_path / "x.png")
    only_joint = {
        ("sample", run, "--temperature", "0.5", "--out", str(some), "--overwrite"): "takes no --temperature",
        ("edit", run, str(tmp_path / "x.png"), "--set", "digit=3", "--out", "y.png"): "cannot edit images",
        ("explore", run): "train a joint-vae",
    }
    for command, message in only_joint.items():
        assert main(list(command)) == 2
        assert message in capsys.readouterr().err


SMALL_PIXELS = ["likelihood:autoregressive", "--likelihood.width", "4", "--likelihood.layers", "2"]
SMALL_CONV = ["network:gated-conv", "--network.width", "4", "--network.hidden", "9"]


@pytest.mark.parametrize(
    ("model", "options"),
    [
        (
            "hvae",
            ["--latents", "3", "2", "prior:tensor-ring", "--prior.rank", "2", "network:mlp", "--network.hidden", "9"],
        ),
        ("conv-hvae", ["--latents", "3", "2", "prior:vamp-prior", "--prior.components", "4", *SMALL_CONV]),
        ("pixel-hvae", ["--latents", "3", "2", *SMALL_PIXELS, *SMALL_CONV]),
        ("pixelcnn", SMALL_PIXELS[1:]),
    ],
)
def test_models_without_conditions_answer_the_same_commands(
    model: str, options: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, picture, scores = (str(tmp_path / name) for name in ("RUN", "grid.png", "scores.csv"))
    assert main(["train", model, "--out", run, "--epochs", "1", *options]) == 0
    assert yaml.safe_load((tmp_path / "RUN" / "config.yaml").read_text())["model"]["kind"] == model
    assert (tmp_path / "RUN" / "figures" / "samples.png").exists()
    assert main(["sample", run, "-n", "4", "--out", picture]) == 0
    assert main(["score", run, "--limit", "150", "--k", "2", "--out", scores]) == 0
    assert len(pd.read_csv(scores)) == 150
    capsys.readouterr()
    assert main(["evaluate", run, "--metrics", "elbo,iwae,parameters", "--k", "5", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["elbo"] <= found["iwae"] + 1e-4
    assert found["iwae"] < 0


def test_images_painted_pixel_by_pixel_have_the_conditions_they_were_asked_for(tmp_path: Path) -> None:
    run, arrays = str(tmp_path / "RUN"), tmp_path / "images.npz"
    options = ["--consistency-weight", "0", "--latents", "2", "--lower-latents", "3", "--epochs", "3"]
    options += ["prior:tensor-ring", "--prior.rank", "2", *SMALL_PIXELS, "network:mlp", "--network.hidden", "9"]
    assert main(["train", "joint-vae", "--out", run, *options]) == 0
    assert main(["sample", run, "--given", "digit=3", "-n", "5", "--out", str(arrays)]) == 0
    with np.load(arrays) as content:
        assert (content["conditions"][:, 0] == 3).all()
        assert set(np.unique(content["images"])) <= {0, 255}


def test_numbers_are_filled_in_with_their_mean(tmp_path: Path, capsys) -> None:
    generator = np.random.default_rng(0)
    shade = generator.uniform(size=(400, 1))
    images = (200 * shade[:, :, None] + 55 * generator.uniform(size=(400, 8, 8))).astype(np.uint8)
    data = tmp_path / "shades.npz"
    split = np.repeat(["train", "valid", "test"], [320, 40, 40])
    np.savez(data, images=images, conditions=100 + 10 * shade, condition_names=np.array(["shade"]), split=split)
    for model, more in [("cvae", []), ("experts-vae", ["--label-weight", "100"])]:
        run, labels = tmp_path / model, tmp_path / f"{model}.csv"
        options = ["--epochs", "20", "--batch-size", "32", "--learning-rate", "0.005", "--latents", "2", *more]
        options += ["network:mlp", "--network.hidden", "32"]
        assert main(["train", model, "--data", str(data), "--out", str(run), *options]) == 0
        assert main(["impute", str(run), "--split", "test", "--out", str(labels)]) == 0
        told = re.search(r"shade: 0 of 40 filled in, explains (.*)% of the variance", capsys.readouterr().out)
        table = pd.read_csv(labels)
        assert told is not None
        explained = 1 - ((table["shade"] - table["shade_imputed"]) ** 2).mean() / table["shade"].var(ddof=0)
        assert float(told[1]) / 100 == pytest.approx(explained, abs=1e-4)
        assert table["shade_probability"].isna().all()
        assert np.corrcoef(table["shade"], table["shade_imputed"])[0, 1] > 0.7
        if model == "cvae":
            for given, rare in (("shade=100..110", False), ("shade=1000..", True)):
                assert main(["query", str(run), "--given", given]) == 0
                assert ("hardly ever met that" in capsys.readouterr().out) == rare
        assert abs(table["shade"].mean() - table["shade_imputed"].mean()) < 1.5  # in its own units


def test_data_lists_the_data_sets(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "list"]) == 0
    assert {"digits", "mnist", "fashion-mnist", "celeba"} <= set(capsys.readouterr().out.split())


def test_a_vae_without_conditions_trains(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--epochs", "1", "--latents", "2", "network:mlp", "--network.hidden", "16"]
    assert main(["train", "vae", "--out", str(tmp_path / "RUN"), *arguments]) == 0
    assert "so few steps seldom suffice" in capsys.readouterr().err
    assert main(["sample", str(tmp_path / "RUN"), "-n", "4", "--out", str(tmp_path / "grid.png")]) == 0


def test_help_is_fast_because_it_loads_no_torch() -> None:
    code = "import sys, googol.cli; googol.cli.main(['--help']); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0


def test_the_size_that_was_found_is_told(tmp_path, capsys):
    arguments = ["--epochs", "1", "--latents", "2", "network:mlp", "--network.hidden", "8", "8"]
    assert main(["train", "vae", "--match-parameters", "3000", "--out", str(tmp_path / "RUN"), *arguments]) == 0
    count = sum(parameter.numel() for parameter in open_run(tmp_path / "RUN").model.parameters())
    assert f"3,000 parameters asked for: {count:,} with MLP(hidden=(" in capsys.readouterr().err


def test_a_mixture_of_posteriors_that_are_slow_to_invert_is_told(tmp_path, capsys):
    posterior = ["posterior:iaf", "--posterior.flows", "1", "--posterior.hidden", "4", "--posterior.context", "2"]
    choices = ["prior:vamp-prior", "--prior.components", "3", *posterior, "network:mlp", "--network.hidden", "4"]
    assert main(["train", "vae", "--out", str(tmp_path / "RUN"), "--epochs", "1", "--latents", "2", *choices]) == 0
    assert (
        "inverts the flows of all 3 pseudo-inputs for every code, latent after latent (2 passes)"
        in (capsys.readouterr().err.splitlines()[0])
    )

"""The commands from end to end on tiny settings, and what they say to mistakes."""

import json
import re
import shutil
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


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run."""
    out = tmp_path_factory.mktemp("runs") / "RUN"
    assert main(["train", "joint-vae", "--out", str(out), "--missing", "0.5", "--missing-seed", "1", *TINY]) == 0
    return out


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOGOL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("GOOGOL_DATA", str(tmp_path / "data"))


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


def damaged(folder: Path, tmp_path: Path, change: str) -> Path:
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    if change == "unfinished":
        (copy / "model.json").unlink()
    elif change == "newer":
        content = json.loads((copy / "model.json").read_text())
        (copy / "model.json").write_text(json.dumps({**content, "format": 999}))
    elif change == "cut":
        (copy / "model.safetensors").write_bytes((copy / "model.safetensors").read_bytes()[:100])
    return copy


@pytest.mark.parametrize(
    ("change", "message"), [("unfinished", "--resume"), ("newer", "999"), ("cut", "model.safetensors")]
)
def test_runs_that_cannot_be_opened(folder: Path, tmp_path: Path, change: str, message: str, capsys) -> None:
    copy = damaged(folder, tmp_path, change)
    capsys.readouterr()
    assert main(["sample", str(copy), "--out", str(tmp_path / "grid.png")]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert message in line
    assert not (tmp_path / "grid.png").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["trian"], "train"),
        (["sample", "NOWHERE", "--out", "grid.png"], "NOWHERE"),
        (["sample", "RUN", "--given", "digit=12", "--out", "grid.png"], "digit"),
        (["sample", "RUN", "--given", "dgit=1", "--out", "grid.png"], "digit"),
        (["sample", "RUN", "--given", "digit=1", "--given", "digit=2", "--out", "grid.png"], "digit"),
        (["sample", "RUN", "-n", "0", "--out", "grid.png"], "at least 1"),
        (["sample", "RUN", "--out", "grid.gif"], ".png"),
        (["sample", "RUN", "--out", "taken.png"], "taken.png"),
        (["impute", "RUN", "--split", "tset", "--out", "l.csv"], "test"),
        (["impute", "RUN", "--data", "other.npz", "--out", "l.csv"], "4"),
        (["impute", "RUN", "--data", "cut.npz", "--out", "l.csv"], "cut.npz"),
        (["evaluate", "RUN", "--metrics", "elbow"], "elbo"),
        (["score", "RUN", "--split", "tset"], "test"),
        (["score", "RUN", "--out", "taken.png"], "taken.png"),
        (["score", "RUN", "--figure", "scores.gif"], ".png"),
        (["score", "RUN", "--strangers", "niose", "--out", "s.csv"], "unknown data set 'niose'"),
        (["score", "RUN", "--strangers", "other.npz", "--out", "s.csv"], "4"),
        (["score", "RUN", "--strangers", "noise,noise", "--out", "s.csv"], "different names"),
        (["score", "RUN", "--limit", "50", "--out", "s.csv"], "above 0.02"),
        (["score", "RUN", "--level", "1.5", "--out", "s.csv"], "1.5"),
        (["score", "RUN", "--k", "0", "--out", "s.csv"], "at least 1"),
        (["score", "RUN", "--least", "-1", "--out", "s.csv"], "--least must be at least 0, got -1"),
        (["train", "joint-vae", "--data", "mnits", "--out", "new"], "mnist"),
        (["train", "joint-vae", "--data", "rows", "--out", "new"], "conditions.csv"),
        (["train", "joint-vae", "--out", "RUN"], "RUN"),
        (["train", "joint-vae", "--out", "new", "--missing", "1.5"], "1.5"),
        (["train", "joint-vae", "--out", "new", "--labels", "-3"], "labels must be at least 1, got -3"),
        (["train", "joint-vae", "--out", "new", "--labels", "9", "--missing", "0.5"], "say one of them"),
        (["train", "joint-vae", "--out", "new", "likelihood:autoregressive"], "consistency_weight must be 0"),
        (["train", "hvae", "--out", "new", "--latents", "3", "0"], "latents must be at least 1, got 0"),
        (["train", "pixelcnn", "--out", "new", "--likelihood.kernel", "4"], "kernel must be odd"),
        (["train", "pixelcnn", "--out", "new", "--match-parameters", "9"], "no networks of a width to choose"),
        (["train", "joint-vae", "--out", "new", "prior:tensor-rign"], "tensor-ring"),
        (["train", "--resume", "RUN"], "finished"),
        (["train", "--resume", "NOWHERE"], "NOWHERE"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_mistakes_get_one_line_and_exit_code_2(
    arguments: list[str], message: str, folder: Path, tmp_path: Path, monkeypatch, capsys
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(folder, tmp_path / "RUN")
    (tmp_path / "taken.png").write_bytes(b"mine")
    np.savez(tmp_path / "other.npz", images=np.zeros((20, 4, 4), np.uint8))
    (tmp_path / "cut.npz").write_bytes((tmp_path / "other.npz").read_bytes()[:60])
    (tmp_path / "rows").mkdir()
    Image.new("L", (8, 8)).save(tmp_path / "rows" / "a.png")
    (tmp_path / "rows" / "conditions.csv").write_text("file,kind\na.png,x\nb.png,y\n")
    before = sorted(path.as_posix() for path in tmp_path.rglob("*"))
    capsys.readouterr()
    try:
        code = main(arguments)
    except SystemExit as stop:
        code = int(stop.code or 0)
    said = capsys.readouterr()
    assert code == 2, said
    assert said.out == ""
    (line,) = said.err.strip().splitlines()
    assert message in line
    assert (tmp_path / "taken.png").read_bytes() == b"mine"
    assert sorted(path.as_posix() for path in tmp_path.rglob("*")) == before


def test_query_tells_the_distribution_of_conditions(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert main(["query", str(folder), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["log_probability"] == pytest.approx(0, abs=1e-5)
    probabilities = found["beliefs"]["digit"]
    assert sum(probabilities.values()) == pytest.approx(1)
    assert found["most_probable"]["digit"] == max(probabilities, key=probabilities.get)
    assert main(["query", str(folder), "--given", "digit=2..5", "--information", "--json"]) == 0
    given = json.loads(capsys.readouterr().out)
    share = sum(probabilities[str(digit)] for digit in range(2, 6))
    assert given["probability"] == pytest.approx(share, rel=1e-4)
    assert given["beliefs"]["digit"]["3"] == pytest.approx(probabilities["3"] / share, rel=1e-4)
    assert given["beliefs"]["digit"]["6"] == 0
    assert main(["query", str(folder), "--given", "digit=3"]) == 0
    assert f"digit=3: probability {probabilities['3']:.4g}" in capsys.readouterr().out


def test_edit_writes_the_image_and_the_changed_one(folder: Path, tmp_path: Path) -> None:
    image, out = tmp_path / "photo.jpg", tmp_path / "edited.png"
    Image.fromarray(np.random.default_rng(0).integers(256, size=(40, 30, 3), dtype=np.uint8)).save(image)
    assert main(["edit", str(folder), str(image), "--set", "digit=8", "--out", str(out)]) == 0
    width, height = Image.open(out).size
    assert width > 2.5 * height
    before = out.read_bytes()
    assert main(["edit", str(folder), str(image), "--set", "digit=7", "--out", str(out)]) == 2
    assert out.read_bytes() == before


def test_too_many_pseudo_inputs_are_told_before_anything_is_written(tmp_path, capsys):
    out = tmp_path / "RUN"
    choices = ["prior:vamp-prior", "--prior.start", "data", "network:mlp", "--network.hidden", "4"]
    arguments = ["train", "vae", "--out", str(out), "--epochs", "1", "--latents", "2", *choices]
    assert main([*arguments, "--prior.components", "5000"]) == 2
    assert capsys.readouterr().err == "googol: error: Expected at least components = 5000 images; got 1206.\n"
    assert main([*arguments, "--prior.components", "3"]) == 0


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


def test_what_a_model_without_codes_cannot_do_is_told_in_words(tmp_path, capsys):
    run = str(tmp_path / "RUN")
    tiny = ["--likelihood.width", "4", "--likelihood.layers", "1"]
    assert main(["train", "pixelcnn", "--out", run, "--epochs", "1", *tiny]) == 0
    capsys.readouterr()
    for command, message in {
        f"evaluate {run} --metrics active-units": "active_units needs a model with codes; PixelCNN is none",
        f"plot latent {run} --out {tmp_path}/latent.png": f"needs codes, and the model in {run} has none",
        f"score {run} --k 0": "Expected k to be at least 1; got 0",
    }.items():
        assert main(command.split()) == 2
        assert message in capsys.readouterr().err

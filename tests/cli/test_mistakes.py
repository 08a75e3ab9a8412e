"""What the program says to arguments that it cannot read: one line, and the exit code 2."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from googol import cli
from googol.cli import main


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ("data lst", "Unrecognized options: lst; expected one of list, get; see googol data --help"),
        ("train joint-vae --out x --epoch 3", "--epoch, 3; did you mean --epochs?"),
        (
            "train pixelcnn --out x --latents 4",
            "--latents belongs to another choice of a model or of a part",
        ),
        ("train vae --out x prior:flow prior.base:rng", "unknown base 'rng': expected one of 'standard-normal', "),
        ("train joint-vae --epoch 3", "--out RUN new folder for the run (required); Unrecognized options: --epoch 3"),
        ("train joint-vae --out x --epochs three", "--epochs: expected an integer, got 'three'; see googol train"),
    ],
)
def test_one_line_whatever_the_terminal(arguments: str, complaint: str, encoding: str) -> None:
    """A terminal without box-drawing characters gets other boxes."""
    command = [sys.executable, "-m", "googol", *arguments.split()]
    environment = os.environ | {"PYTHONIOENCODING": encoding}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("googol: error: ")
    assert done.stderr.count("\n") == 1
    assert complaint in done.stderr


def test_compiling_without_a_compiler_is_told_before_anything_is_written(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "googol",
        "train",
        "vae",
        "--data",
        "digits",
        "--out",
        str(tmp_path / "run"),
        "--compile",
    ]
    done = subprocess.run(
        command, capture_output=True, text=True, env=os.environ | {"CXX": "/no/compiler"}, check=False
    )
    assert done.returncode == 2
    assert "compile needs a C++ compiler, but there is no /no/compiler" in done.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")]
)
def test_too_little_memory_is_told_in_one_line(error: Exception, monkeypatch, capsys) -> None:
    def run(arguments: list[str]) -> None:
        raise error

    monkeypatch.setattr(cli, "_run", run)
    assert main(["sample"]) == 2
    assert capsys.readouterr().err == "googol: error: there is not enough memory for that much at once\n"


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
        (["sample", "RUN", "-n", "0", "--out", "grid.png"], "-n must be from 1 to 2147483647, got 0"),
        (["sample", "RUN", "-n", "9" * 20, "--out", "grid.png"], "-n must be from 1 to 2147483647, got 999"),
        (["sample", "RUN", "--out", "taken.png/grid.png"], "taken.png: --out must be in another folder"),
        (["evaluate", "RUN", "--metrics", "fid", "-n", "0"], "-n must be at least 1, got 0"),
        (["score", "RUN", "--out", "s.png", "--figure", "./s.png"], "--out and --figure must be two files"),
        (["train", "joint-vae", "--out", "new", "--seed", "9" * 20], "expected seed to be at most 2^63 - 1, got 999"),
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
        (["score", "RUN", "--limit", "50", "--level", "0.01", "--out", "s.csv"], "above 0.02"),
        (["score", "RUN", "--level", "1.5", "--out", "s.csv"], "1.5"),
        (["score", "RUN", "--k", "0", "--out", "s.csv"], "at least 1"),
        (["score", "RUN", "--least", "-1", "--out", "s.csv"], "--least must be at least 0, got -1"),
        (["train", "joint-vae", "--data", "mnits", "--out", "new"], "mnist"),
        (["train", "joint-vae", "--data", "rows", "--out", "new"], "conditions.csv"),
        (["train", "joint-vae", "--out", "RUN"], "RUN"),
        (["train", "joint-vae", "--out", "new", "--missing", "1.5"], "1.5"),
        (
            ["train", "vae", "--out", "new", "--missing", "0.5"],
            "--missing hides conditions, and this kind of",
        ),
        (
            ["train", "gan", "--out", "new", "--labels", "5"],
            "--labels hides conditions, and this kind of",
        ),
        (["train", "gan", "--out", "new", "--labelled-per-batch", "5"], "needs a model of conditions"),
        (["train", "joint-vae", "--out", "new", "--labelled-per-batch", "-1"], "labelled_per_batch to be at least 0"),
        (["train", "joint-vae", "--out", "new", "--labels", "-3"], "labels must be at least 1, got -3"),
        (["train", "joint-vae", "--out", "new", "--labels", "9", "--missing", "0.5"], "say one of them"),
        (["train", "joint-vae", "--out", "new", "likelihood:autoregressive"], "consistency_weight must be 0"),
        (["train", "hvae", "--out", "new", "--latents", "3", "0"], "latents must be at least 1, got 0"),
        (["train", "pixelcnn", "--out", "new", "--likelihood.kernel", "4"], "kernel must be odd"),
        (["train", "pixelcnn", "--out", "new", "--match-parameters", "9"], "no networks of a width to choose"),
        (["train", "joint-vae", "--out", "new", "prior:tensor-rign"], "tensor-ring"),
        (["train", "--resume", "RUN"], "finished"),
        (["reproduce", "ttlp", "--seeds", "0"], "error: --seeds must be at least 1, got 0"),
        (["reproduce", "ttlp", "--seed", "-1"], "error: --seed must be from 0 to 2^63 - 1, got -1"),
        (["sample", "RUN", "--out", "new.png", "--seed", "9" * 20], "--seed must be from 0 to 2^63 - 1, got 999"),
        (
            ["sample", "RUN", "--out", "new.png", "--temperature", "-1"],
            "--temperature must be at least 0 and finite",
        ),
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


def test_too_many_pseudo_inputs_are_told_before_anything_is_written(tmp_path, capsys):
    out = tmp_path / "RUN"
    choices = ["prior:vamp-prior", "--prior.start", "data", "network:mlp", "--network.hidden", "4"]
    arguments = ["train", "vae", "--out", str(out), "--epochs", "1", "--latents", "2", *choices]
    assert main([*arguments, "--prior.components", "5000"]) == 2
    assert capsys.readouterr().err == "googol: error: Expected at least components = 5000 images; got 1206.\n"
    assert main([*arguments, "--prior.components", "3"]) == 0


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

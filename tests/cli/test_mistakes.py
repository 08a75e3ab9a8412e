"""What the program says to arguments that it cannot read: one line, and the exit code 2."""

import os
import subprocess
import sys
from pathlib import Path

import pytest


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

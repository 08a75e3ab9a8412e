"""Questions, edits, and samples of what hardly ever happens, as commands."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from googol.cli import main
from googol.experiments import open_run
from googol.training import load_config, save_model


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


def test_an_edit_has_a_name_of_its_own_beside_that_of_the_image(folder: Path, tmp_path: Path, monkeypatch) -> None:
    Image.new("L", (8, 8)).save(tmp_path / "five.bmp")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    arguments = ["edit", str(folder), str(tmp_path / "five.bmp"), "--set", "digit=8"]
    assert main(arguments) == 0
    assert [path.name for path in (tmp_path / "here").iterdir()] == ["five-edited.png"]
    assert main(arguments) == 2


def test_what_the_model_hardly_met_is_told(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of a model for which no digit is a 7."""
    run = open_run(folder)
    run.model.prior.match_marginals({2: torch.tensor([1.0] * 7 + [1e-9] + [1.0] * 2)})
    copy = tmp_path / "RUN"
    shutil.copytree(folder, copy)
    save_model(run.model, copy, load_config(folder))
    Image.new("L", (8, 8)).save(tmp_path / "x.png")
    for digit, told in (("3", False), ("7", True)):
        out = ["--out", str(tmp_path / "out.png"), "--overwrite"]
        commands = (
            ["sample", str(copy), "--given", f"digit={digit}", "-n", "2", *out],
            ["edit", str(copy), str(tmp_path / "x.png"), "--set", f"digit={digit}", *out],
            ["query", str(copy), "--given", f"digit={digit}"],
        )
        for command in commands:
            capsys.readouterr()
            assert main(command) == 0
            said = capsys.readouterr()
            assert ("has hardly ever met" in said.out + said.err) == told
    assert main(["sample", str(copy), "--each", "digit", "-n", "2", "--out", str(tmp_path / "each.png")]) == 0
    assert "has hardly ever met" in capsys.readouterr().err

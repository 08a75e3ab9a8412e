"""The files of a run: what is written is read back, and what is damaged is refused."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from torch import nn

from googol.training import load_checkpoint, load_config, load_weights, save_checkpoint, save_model, write_file


def test_model_is_read_back_to_the_last_bit(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3))
    save_model(model.to(memory_format=torch.channels_last), tmp_path, {"layers": [1, "a", None]})
    loaded = load_weights(nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3)), tmp_path)
    torch.testing.assert_close(loaded.state_dict(), model.state_dict(), rtol=0, atol=0)
    assert load_config(tmp_path) == {"layers": [1, "a", None]}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.json", "model.safetensors"]


def test_checkpoint_is_read_back(tmp_path: Path) -> None:
    state = {"weights": torch.arange(3.0), "step": 7, "nested": {"names": ["a"], "none": None, "inf": float("inf")}}
    save_checkpoint(tmp_path / "folder" / "last.ckpt", state)
    read = load_checkpoint(tmp_path / "folder" / "last.ckpt")
    assert torch.equal(read.pop("weights"), state.pop("weights"))
    assert {name: read[name] for name in state} == state


def test_what_a_killed_write_left_is_in_nobodys_way(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_file(path, b"former")
    for number, age in (("7", 4000), ("8", 0)):
        part = tmp_path / f".file.{number * 16}.part"
        part.write_bytes(b"half of the new")
        os.utime(part, times=(time.time() - age, time.time() - age))
    assert path.read_bytes() == b"former"
    write_file(path, b"new")
    assert path.read_bytes() == b"new"
    # What is new may still be written to by its process.
    assert {each.name for each in tmp_path.iterdir()} == {"file", f".file.{'8' * 16}.part"}


def broken(folder: Path, how: str) -> None:
    about, weights = folder / "model.json", folder / "model.safetensors"
    match how:
        case "no model.json":
            about.unlink()
        case "no weights":
            weights.unlink()
        case "cut weights":
            weights.write_bytes(weights.read_bytes()[:-5])
        case "cut json":
            about.write_text(about.read_text()[:20])
        case "deep json":
            about.write_text("[" * 100_000)
        case "other json":
            about.write_text("[1, 2]")
        case "newer":
            about.write_text(json.dumps(json.loads(about.read_text()) | {"format": 2, "googol": "9.0"}))
        case "unfinished":
            about.unlink()
            save_checkpoint(folder / "checkpoints" / "last.ckpt", {})


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("no model.json", "is not the folder of a run: it has no model.json"),
        ("no weights", "holds model.json but no model.safetensors: it is half written"),
        ("cut weights", "is not the file that model.json speaks of: it is damaged or half written"),
        ("cut json", "model.json is damaged"),
        ("deep json", "model.json is damaged"),
        ("other json", "was not written by googol: expected format, sha256 and config in it"),
        ("newer", r"has format 2 \(written by googol 9.0\), this is googol .* reads format 1"),
        ("unfinished", r"is not finished \(no model.json yet\); go on with it by --resume"),
    ],
)
def test_broken_runs_are_refused(how: str, message: str, tmp_path: Path) -> None:
    save_model(nn.Linear(2, 1), tmp_path, {})
    broken(tmp_path, how)
    with pytest.raises(ValueError, match=message):
        load_weights(nn.Linear(2, 1), tmp_path)


def test_no_folder_and_another_model_are_refused(tmp_path: Path) -> None:
    save_model(nn.Linear(2, 1), tmp_path, {})
    with pytest.raises(ValueError, match=r"(?s)holds the weights of another model: .*size mismatch for weight"):
        load_weights(nn.Linear(3, 1), tmp_path)
    with pytest.raises(ValueError, match="is not a folder; expected the folder of a run"):
        load_config(tmp_path / "none")


class Evil:
    def __reduce__(self):
        return print, ("code from a checkpoint ran",)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"not a checkpoint", "is damaged or no checkpoint of googol"),
        ({"weights": 1}, "is no checkpoint of googol"),
        ({"format": 99, "googol": "9.0"}, r"has format 99 \(written by googol 9.0\)"),
        ({"format": 1, "evil": Evil()}, "is damaged or no checkpoint of googol$"),
    ],
)
def test_other_checkpoints_are_refused(content, message: str, tmp_path: Path, capsys) -> None:
    path = tmp_path / "last.ckpt"
    path.write_bytes(content) if isinstance(content, bytes) else torch.save(content, path)
    with pytest.raises(ValueError, match=message):
        load_checkpoint(path)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("left", [0, 1, 300, 5000, -1])
def test_a_cut_checkpoint_is_refused(left: int, tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    save_checkpoint(path, {"weights": torch.zeros(10_000)})
    path.write_bytes(path.read_bytes()[:left])
    with pytest.raises(ValueError, match=r"last.ckpt is damaged or no checkpoint of googol$"):
        load_checkpoint(path)


def test_a_checkpoint_that_is_not_there_is_told_as_such(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"none.ckpt"):
        load_checkpoint(tmp_path / "none.ckpt")


def test_processes_that_write_the_same_file_leave_one_of_their_contents(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from googol.training import write_file\n"
        "for _ in range(300): write_file(Path(sys.argv[1]), sys.argv[2].encode() * 1000)"
    )
    writers = [
        subprocess.Popen([sys.executable, "-c", program, str(tmp_path / "page"), letter], stderr=subprocess.PIPE)
        for letter in "ab"
    ]
    for writer in writers:
        _, said = writer.communicate()
        assert writer.returncode == 0, said.decode()
    assert (tmp_path / "page").read_bytes() in {b"a" * 1000, b"b" * 1000}
    assert [path.name for path in tmp_path.iterdir()] == ["page"]

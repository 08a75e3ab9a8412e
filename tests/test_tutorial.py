"""The tutorial from top to bottom as a reader types it: its Python and its commands, on the folder that it makes."""

import re
import shlex
import subprocess
import sys
import urllib.request
from pathlib import Path

import pandas as pd
from PIL import Image

from googol.cli import main

PAGE = Path(__file__).parent.parent / "docs" / "tutorial.md"
BLOCK = re.compile(r"^```(python|sh)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def commands(block: str) -> list[list[str]]:
    """The commands of a block, without the name of the program."""
    lines = block.replace("\\\n", " ").splitlines()
    words = [shlex.split(line, comments=True) for line in lines]
    assert all(program == "googol" for program, *_ in filter(None, words))
    return [arguments for _, *arguments in filter(None, words)]


def explore(folder: str) -> None:
    """The page answers, and Ctrl-C ends it."""
    command = [sys.executable, "-m", "googol", "explore", folder, "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr is not None
        address = re.search(r"http://\S+", server.stderr.readline())
        assert address is not None
        with urllib.request.urlopen(address[0]) as answer:
            assert answer.status == 200
        server.send_signal(2)
        assert server.wait(20) in (0, 130)


def test_the_tutorial_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GOOGOL_CACHE", str(tmp_path / "cache"))
    names: dict[str, object] = {}
    for language, block in BLOCK.findall(PAGE.read_text()):
        if language == "python":
            exec(compile(block, PAGE.name, "exec"), names)
            continue
        for arguments in commands(block):
            if arguments[0] == "explore":
                explore(arguments[1])
            else:
                assert main(arguments) == 0
    labels = pd.read_csv("labels.csv")
    truth = pd.read_csv("shapes/conditions.csv").set_index("file").loc[labels["file"], "shape"]
    assert labels["shape"].to_numpy()[truth.notna()].tolist() == truth.dropna().tolist()
    known = labels[labels["shape"] == labels["shape_imputed"]]
    assert len(known) > 0.8 * len(labels)
    assert all(Image.open(name).size[0] > 60 for name in ("triangles.png", "large.png", "cool.png", "green.png"))

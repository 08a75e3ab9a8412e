"""Pages of the guide from top to bottom as a reader types them: their Python and their commands, on what they make."""

import re
import shlex
import subprocess
import sys
import urllib.request
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from googol.cli import main

GUIDE = Path(__file__).parent.parent / "docs"
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


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GOOGOL_CACHE", str(tmp_path / "cache"))


def run(page: str) -> None:
    """All blocks of a page, in their order."""
    names: dict[str, object] = {}
    for language, block in BLOCK.findall((GUIDE / page).read_text()):
        if language == "python":
            exec(compile(block, page, "exec"), names)
            continue
        for arguments in commands(block):
            if arguments[0] == "explore":
                explore(arguments[1])
            else:
                assert main(arguments) == 0


def test_a_table_with_holes():
    run("holes.md")
    filled, drawn = pd.read_csv("filled.csv"), pd.read_csv("rows.csv")
    assert len(filled) == 178
    assert filled[["alcohol", "hue", "cultivar"]].notna().all(axis=None)
    assert (drawn["cultivar"] == "first").all()
    assert drawn["alcohol"].between(13.5, 14).all()
    assert Image.open("RUN/figures/columns.png").size[0] > 600


def test_the_tutorial():
    run("tutorial.md")
    labels = pd.read_csv("labels.csv")
    truth = pd.read_csv("shapes/conditions.csv").set_index("file").loc[labels["file"], "shape"]
    assert labels["shape"].to_numpy()[truth.notna()].tolist() == truth.dropna().tolist()
    known = labels[labels["shape"] == labels["shape_imputed"]]
    assert len(known) > 0.8 * len(labels)
    assert all(Image.open(name).size[0] > 60 for name in ("triangles.png", "large.png", "cool.png", "green.png"))

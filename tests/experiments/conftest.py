"""A small table as a folder, and folders for what is made of it."""

from pathlib import Path

import pytest
import yaml
from small_table import ROWS, TABLE

from googol.experiments.reproduction import Reproduction


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "small"
    folder.mkdir()
    (folder / "table.yaml").write_text(yaml.safe_dump(TABLE))
    for name, row in ROWS.items():
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(row))
    return folder


@pytest.fixture
def where(tmp_path: Path) -> Reproduction:
    return Reproduction(tmp_path / "runs", tmp_path / "results")

"""The demo with few epochs: not good, but whole."""

import json
import re
from pathlib import Path

import pytest

from googol.experiments.demo import demo


def test_the_demo_leaves_a_page_that_needs_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOGOL_CACHE", str(tmp_path / "cache"))
    out = tmp_path / "demo"
    found = demo(out, epochs=4)
    page = (out / "report.html").read_text(encoding="utf-8")
    assert json.loads((out / "metrics.json").read_text())["imputation_accuracy"] == found["imputation_accuracy"]
    assert {"condition_accuracy", "imputation_accuracy", "classifier_accuracy", "elbo", "iwae", "fid"} <= set(found)
    pictures = re.findall(r"<img [^>]*>", page)
    assert len(pictures) > 20
    assert all('src="data:image/png;base64,' in picture for picture in pictures)
    assert all(re.search(r'alt="[^"]+"', picture) for picture in pictures)
    assert "http" not in re.sub(r'src="[^"]*"', "", page)

    (out / "mine.txt").write_text("kept")
    with pytest.raises(ValueError, match="epochs to be at least 1, got 0"):
        demo(out, epochs=0)
    assert (out / "mine.txt").exists()
    demo(out, epochs=2)
    assert (tmp_path / "demo-1" / "mine.txt").read_text() == "kept"


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("kept")
    with pytest.raises(ValueError, match="is no demo"):
        demo(tmp_path, epochs=2)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]

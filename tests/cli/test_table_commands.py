"""A table with holes from the command line: train, fill in, draw, ask, measure; and what needs images is refused."""

import io
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from googol.cli import main

ROWS = 600


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """People whose height, in metres to the centimetre, tells their size, with a third of the entries missing."""
    random = np.random.default_rng(0)
    height = random.normal(1.7, 0.1, ROWS).round(2)
    people = pd.DataFrame(
        {
            "id": [f"p{i}" for i in range(ROWS)],
            "height": height,
            "size": np.where(height > 1.75, "large", "small"),
            "age": random.integers(18, 90, ROWS),
        }
    )
    path = tmp_path_factory.mktemp("tables") / "people.csv"
    people.mask(random.random(people.shape) < 0.33).to_csv(path, index=False)
    return path


@pytest.fixture(scope="module")
def run(table: Path) -> Path:
    out = table.parent / "RUN"
    options = ["--epochs", "20", "prior:tensor-ring", "--prior.rank", "6"]
    assert main(["train", "tabular", "--data", str(table), "--out", str(out), *options]) == 0
    return out


def found(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict:
    capsys.readouterr()
    assert main([*map(str, arguments), "--json"]) == 0
    answer: dict = json.loads(capsys.readouterr().out)
    return answer


def test_a_run_keeps_a_picture_of_its_columns(run: Path) -> None:
    assert (run / "figures" / "columns.png").read_bytes()[:4] == b"\x89PNG"


def test_holes_are_filled_in(run: Path, table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "filled.csv"
    answer = found(capsys, "impute", run, "--out", out)
    assert answer["rows"] == ROWS
    before, filled = pd.read_csv(table), pd.read_csv(out)
    for name in ("height", "size", "age"):
        known = before[name].notna()
        assert answer["filled_in"][name] == (~known).sum()
        assert filled[name].notna().all()
        np.testing.assert_array_equal(filled[name][known].to_numpy(), before[name][known].to_numpy())
    guessed = before["size"].isna() & (before["height"] - 1.75).abs().gt(0.05)
    truth = np.where(before["height"] > 1.75, "large", "small")
    assert (filled["size"] == truth)[guessed].mean() > 0.95
    assert answer["imputation_accuracy_each"]["size"] > 0.75


def test_one_row_of_another_table(run: Path, tmp_path: Path) -> None:
    (tmp_path / "one.csv").write_text("size,height\n,1.95\n")
    assert main(["impute", str(run), "--data", str(tmp_path / "one.csv"), "--out", str(tmp_path / "filled.csv")]) == 0
    assert pd.read_csv(tmp_path / "filled.csv")["size"].tolist() == ["large"]


def test_what_is_known_stays_as_it_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    rows = [f"{20251200 + i},{i % 12 + 1:02},{i / 2}" for i in range(60)]
    Path("t.csv").write_text("\n".join(["date,month,x", *rows, ",,1.50"]) + "\n")
    assert main(["train", "tabular", "--data", "t.csv", "--out", "RUN", "--epochs", "1"]) == 0
    assert main(["impute", "RUN", "--out", "filled.csv"]) == 0
    filled = pd.read_csv("filled.csv", dtype=str)
    assert (filled["date"] + "," + filled["month"] + "," + filled["x"]).tolist()[:60] == rows
    assert filled["x"].tolist()[60] == "1.50"
    assert filled["date"].tolist()[60].startswith("202512")
    Path("t.csv").write_text("\n".join(["row,x,x_imputed", *(f"{i % 3},{i / 2},{i % 5}" for i in range(60))]) + "\n")
    assert main(["train", "tabular", "--data", "t.csv", "--out", "RUN2", "--epochs", "1"]) == 0
    capsys.readouterr()
    assert main(["impute", "RUN2", "--out", "filled2.csv"]) == 2
    assert "the table would have 2 columns 'row': rename" in capsys.readouterr().err


def test_rows_are_drawn_under_conditions(run: Path, tmp_path: Path) -> None:
    given = ["--given", "size=large", "--given", "age=30..40"]
    assert main(["sample", str(run), *given, "-n", "40", "--out", str(tmp_path / "rows.csv")]) == 0
    text = (tmp_path / "rows.csv").read_text()
    rows = pd.read_csv(io.StringIO(text))
    assert list(rows.columns) == ["height", "size", "age"]
    assert (rows["size"] == "large").all()
    assert rows["age"].between(30, 40).all()
    assert rows["age"].dtype == int
    assert (rows["height"].round(2) == rows["height"]).all()
    assert (rows["height"] > 1.7).mean() > 0.8
    assert main(["sample", str(run), "--each", "size", "-n", "3", "--out", str(tmp_path / "each.csv")]) == 0
    assert pd.read_csv(tmp_path / "each.csv")["size"].tolist() == ["large"] * 3 + ["small"] * 3


def test_questions_measures_and_scores(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    beliefs = found(capsys, "query", run, "--given", "height=1.8..", "--ask", "size")["beliefs"]
    assert beliefs["size"]["large"] > 0.9
    measured = found(capsys, "evaluate", run)
    assert measured["log_likelihood"] > -8
    assert measured["imputation_accuracy"] > measured["imputation_baseline"]
    assert set(measured["imputation_accuracy_each"]) == {"height", "size", "age"}
    (tmp_path / "odd.csv").write_text("height,size,age\n2.6,small,30\n1.7,small,40\n")
    scored = found(capsys, "score", run, "--data", tmp_path / "odd.csv", "--split", "all", "--least", "1")
    assert list(scored["least_likely"]["odd"]) == ["0"]


@pytest.mark.parametrize(
    ("command", "complaint"),
    [
        ("sample RUN --out x.png", "draws rows of a table: --out must end with .csv, got x.png"),
        ("evaluate RUN --metrics fid,elbo", "fid needs images, and the run in RUN is of a table"),
        ("evaluate RUN --metrics elbo", "The metric elbo needs a model with a bound of log p(x); Tabular is none"),
        ("score RUN --strangers noise", "noise is a stranger to images, and people is a table: name another table"),
        ("score RUN --figure x.png", "the picture of a scoring needs images"),
        ("edit RUN x.png --set size=large", "an edit needs images"),
        ("plot prior RUN --out x.png", "a picture of the prior of codes needs images"),
        ("plot modes RUN --out x.png", "a picture of modes needs images"),
        (
            "impute RUN --out x.csv --data digits --split test",
            "digits has images of 1 × 8 × 8, but the run was trained on",
        ),
        (
            "impute RUN --data other.csv --out x.csv",
            "other.csv has none of the columns that the run was trained on: height",
        ),
        ("train vae --data TABLE --out x", "a model vae is of images, and TABLE is a table: train a model tabular"),
        ("train tabular --out x", "a model tabular is of a table (.csv or .parquet), and digits has images"),
        ("train tabular --data TABLE --out x --match-parameters 9", "has no networks of a width to choose"),
    ],
)
def test_what_needs_images_is_refused(
    run: Path, table: Path, command: str, complaint: str, tmp_path: Path, monkeypatch, capsys
) -> None:
    from PIL import Image

    monkeypatch.chdir(tmp_path)
    Image.new("L", (8, 8)).save("x.png")
    Path("other.csv").write_text("shoe,hat\n42,57.5\n39,55\n")
    names = {"RUN": str(run), "TABLE": str(table)}
    overwrite = ["--overwrite"] if command.split()[0] in ("sample", "score", "plot") else []
    assert main([*(names.get(word, word) for word in command.split()), *overwrite]) == 2
    for name, path in names.items():
        complaint = complaint.replace(name, path)
    assert complaint in capsys.readouterr().err

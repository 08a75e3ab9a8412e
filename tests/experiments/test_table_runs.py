"""Runs of the rows of a table: what they leave, and what is made again."""

import json
from dataclasses import replace

import pytest
import yaml
from small_table import ROWS, TABLE

from googol.experiments.reproduction import (
    OTHER_MEASUREMENT,
    OTHER_SETTINGS,
    Cell,
    Reproduction,
    _device,
    read_results,
    run_all,
)
from googol.experiments.table import read_table
from googol.experiments.table_page import summary, write_page
from googol.training import TrainingInterrupted
from googol.training.control import StopSignal


def test_runs_leave_results_that_are_not_made_again(folder, where):
    table = read_table(str(folder))
    cells = [Cell(table, row, "digits", seed) for row in table.rows for seed in (0, 1)]
    run_all(where, cells)
    paths = sorted(path.name for path in (where.results / "small").iterdir())
    assert paths == ["normal-digits-0.json", "normal-digits-1.json", "ring-digits-0.json", "ring-digits-1.json"]
    found = json.loads(where.result(cells[0]).read_text())
    assert found["training"]["epochs"] == 2
    assert found["curve"][-1][0] == 2
    before = {path: path.stat().st_mtime_ns for path in where.runs.rglob("*")}
    run_all(where, cells)
    assert {path: path.stat().st_mtime_ns for path in where.runs.rglob("*")} == before

    entries = {entry["row"]: entry for entry in summary(table, where.results)["rows"] if entry["data"] == "digits"}
    values = [json.loads(where.result(cell).read_text())["metrics"]["elbo"] for cell in cells[:2]]
    assert entries["normal"]["ours"] == pytest.approx(sum(values) / 2)
    assert entries["normal"]["sd"] == pytest.approx(abs(values[0] - values[1]) / 2**0.5)
    assert (entries["normal"]["published"], entries["normal"]["seeds"], entries["normal"]["exact_data"]) == (
        -40,
        2,
        True,
    )
    assert (entries["ring"]["published"], entries["ring"]["seeds"]) == (None, 2)

    (where.results / "small" / "notes.md").write_text("What is seen.")
    page = write_page(table, where.results).read_text()
    assert "| Normal | -40.00 ± 0.50 |" in page
    assert "| **Ring** |" in page
    assert page.endswith("What is seen.\n")
    assert (where.results / "small" / "digits.png").stat().st_size > 1000


def test_a_measurement_that_was_interrupted_is_made_from_the_trained_run(folder, where, monkeypatch):
    table = read_table(str(folder))
    cell = Cell(table, table.rows[0], "digits", 0)
    monkeypatch.setattr(Reproduction, "_measure", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        where.run(cell)
    monkeypatch.undo()
    weights = where.runs / "small" / cell.name / "model.safetensors"
    before = weights.stat().st_mtime_ns
    assert where.run(cell)
    assert weights.stat().st_mtime_ns == before
    assert where.result(cell).exists()


def test_a_run_that_another_process_is_at_is_left_to_it(folder, where):
    from filelock import FileLock

    table = read_table(str(folder))
    cell = Cell(table, table.rows[0], "digits", 0)
    lock = where.runs / "small" / f"{cell.name}.lock"
    lock.parent.mkdir(parents=True)
    with FileLock(lock):
        assert not where.run(cell)
    assert not where.result(cell).exists()


def test_results_of_other_settings_are_not_shown(folder, where):
    table = read_table(str(folder))
    where.run(Cell(table, table.rows[0], "digits", 0))
    path = folder / "normal.yaml"
    path.write_text(yaml.safe_dump(ROWS["normal"] | {"settings": {"training": {"epochs": 9}}}))
    changed = read_table(str(folder))
    assert read_results(where.results, changed) == ([], {"normal-digits-0.json": OTHER_SETTINGS})
    assert f"{OTHER_SETTINGS}: normal-digits-0.json" in write_page(changed, where.results).read_text()


def test_results_and_runs_of_other_settings_are_told_and_left_as_they_are(folder, where, capsys):
    cell = Cell(read_table(str(folder)), read_table(str(folder)).rows[0], "digits", 0)
    run_all(where, [cell])
    (folder / "normal.yaml").write_text(yaml.safe_dump(ROWS["normal"] | {"settings": {"training": {"epochs": 9}}}))
    changed = Cell(read_table(str(folder)), read_table(str(folder)).rows[0], "digits", 0)
    result = where.result(cell).read_bytes()
    capsys.readouterr()
    run_all(where, [changed])
    assert "normal-digits-0.json has other settings than its row by now" in capsys.readouterr().err
    assert where.result(cell).read_bytes() == result
    where.result(cell).unlink()
    with pytest.raises(ValueError, match="has other settings than its row by now: move it away"):
        run_all(where, [changed])
    run_all(where, [cell])
    assert json.loads(where.result(cell).read_text())["training"]["epochs"] == 2


@pytest.mark.parametrize("change", [{"evaluation": {"k": 7}}, {"metrics": {"elbo": "ELBO", "iwae": "log p(x)"}}])
def test_results_of_another_measurement_are_told_and_made_again_from_their_runs(folder, where, change, capsys):
    cell = Cell(read_table(str(folder)), read_table(str(folder)).rows[0], "digits", 0)
    run_all(where, [cell])
    (folder / "table.yaml").write_text(yaml.safe_dump(TABLE | {"data": {"digits": change}}))
    table = read_table(str(folder))
    assert read_results(where.results, table) == ([], {"normal-digits-0.json": OTHER_MEASUREMENT})
    assert f"{OTHER_MEASUREMENT}: normal-digits-0.json" in write_page(table, where.results).read_text()
    changed = Cell(table, table.rows[0], "digits", 0)
    capsys.readouterr()
    run_all(where, [changed])
    assert f"{OTHER_MEASUREMENT}: move it away to have it made again" in capsys.readouterr().err
    weights = where.folder(cell) / "model.safetensors"
    before = weights.stat().st_mtime_ns
    where.result(cell).unlink()
    run_all(where, [changed])
    (found,), stale = read_results(where.results, table)
    assert found["metrics"].keys() >= table.metrics["digits"].keys()
    assert not stale
    assert weights.stat().st_mtime_ns == before


def test_the_budget_of_a_resumed_training_is_that_of_the_command(folder, where, monkeypatch):
    cell = Cell(read_table(str(folder)), read_table(str(folder)).rows[0], "digits", 0)
    monkeypatch.setattr(StopSignal, "__enter__", lambda self: setattr(self, "received", True) or self)
    with pytest.raises(
        TrainingInterrupted, match=r"^normal-digits-0 was stopped; the same command goes on where it was$"
    ):
        where.run(cell)
    monkeypatch.undo()
    assert replace(where, budget=1e-9).run(cell)
    found = json.loads(where.result(cell).read_text())
    assert found["training"]["stopped_by"] == "time_budget"
    assert found["training"]["steps"] < 20
    assert write_page(cell.table, where.results).is_file()  # without a curve


@pytest.mark.parametrize(("accelerator", "named"), [("cpu", False), ("auto", True)])
def test_the_device_is_the_one_that_was_asked_for(accelerator, named, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.get_device_name", lambda: "a card")
    assert (_device(accelerator) == "a card") == named


def test_a_run_of_a_given_size_is_measured_after_an_interruption(folder, where):
    sized = {"settings": {"match_parameters": 5000}}
    (folder / "normal.yaml").write_text(yaml.safe_dump(ROWS["normal"] | sized))
    cell = Cell(read_table(str(folder)), read_table(str(folder)).rows[0], "digits", 0)
    where.run(cell)
    where.result(cell).unlink()
    run_all(where, [cell])
    assert where.result(cell).exists()

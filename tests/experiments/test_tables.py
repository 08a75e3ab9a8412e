"""Tables: their definitions, the runs of their rows, and the page."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from googol.cli import main
from googol.data import Condition, parse_given
from googol.data.celeba import CelebA
from googol.experiments import config, open_run
from googol.experiments.reproduction import (
    OTHER_MEASUREMENT,
    OTHER_ROW,
    OTHER_SETTINGS,
    Cell,
    Reproduction,
    _device,
    read_results,
    run_all,
    settings_of,
)
from googol.experiments.table import merge, read_row, read_table, tables
from googol.experiments.table_page import summary, write_page
from googol.experiments.table_pictures import images_under
from googol.training import TrainingInterrupted
from googol.training.control import StopSignal

TABLE = {
    "title": "Digits",
    "source": "nowhere",
    "remark": "A table for the tests.",
    "baseline": "normal",
    "common": {
        "metrics": {"elbo": "ELBO"},
        "settings": {
            "model": {"kind": "vae", "latents": 2, "network": {"kind": "mlp", "hidden": [8]}},
            "training": {"epochs": 2, "accelerator": "cpu"},
        },
    },
    "data": {
        "digits": {},
        "mnist": {"metrics": {"iwae": "log p(x)"}, "settings": {"model": {"latents": 3}}, "evaluation": {"k": 7}},
        "few": {
            "title": "Digits with few labels",
            "metrics": {"imputation_accuracy": "filled in", "fid": "distance"},
            "settings": {"data": "digits", "missing": 0.9, "missing_seed": 3},
        },
    },
}
ROWS = {
    "normal": {"title": "Normal", "place": 1, "published": {"digits": {"elbo": [-40.0, 0.5]}}},
    "ring": {
        "title": "Ring",
        "place": 2,
        "settings": {
            "model": {"prior": {"kind": "tensor-ring", "rank": 2, "components": 3}},
            "on": {"mnist": {"training": {"epochs": 1}}},
        },
    },
}
PUBLISHED_FEW = {"imputation_accuracy": 0.8634, "fid": 39.1}


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


@pytest.mark.parametrize("name", tables())
def test_every_row_of_every_table_is_an_experiment(name):
    table = read_table(name)
    assert table.row(table.baseline) in table.rows
    for row in table.rows:
        for data in table.data:
            experiment = table.experiment(row, data, seed=5)
            assert (experiment.data, experiment.training.seed) == (table.settings[data].get("data", data), 5)
        for data, numbers in row.published.items():
            assert numbers.keys() <= table.metrics[data].keys(), (row.name, data)


def test_a_row_changes_what_it_says_and_no_more(folder):
    table = read_table(str(folder))
    normal, ring = table.rows
    assert (normal.title, ring.title) == ("Normal", "Ring")
    assert table.experiment(ring, "digits", seed=0).training.epochs == 2
    assert table.experiment(ring, "mnist", seed=0).training.epochs == 1
    assert table.experiment(ring, "mnist", seed=0).model.latents == 3
    assert table.metrics["mnist"] == {"iwae": "log p(x)"}


def test_a_data_set_may_come_several_times(folder, where):
    table = read_table(str(folder))
    assert table.titles == {"digits": "digits", "mnist": "mnist", "few": "Digits with few labels"}
    kinds = {"cvae": "settings: {model: {kind: cvae}}", "joint": "settings: {model: {kind: joint-vae}}"}
    for name, settings in kinds.items():
        (folder / f"{name}.yaml").write_text(f"title: {name}\n{settings}\npublished: {{few: {{fid: 2.0}}}}\n")
    table = replace(read_table(str(folder)), settings={"few": table.settings["few"] | {"model": {"latents": 2}}})
    experiment = table.experiment(table.row("cvae"), "few", seed=0)
    assert (experiment.data, experiment.missing, experiment.missing_seed) == ("digits", 0.9, 3)
    assert (type(experiment.model), experiment.model.latents) == (config.CVAE, 2)  # what is said without a kind is kept
    assert experiment.load("train").conditions.isnan().double().mean() == pytest.approx(0.9, abs=0.01)


def test_the_page_says_shares_in_per_cent_and_who_judges(folder, where):
    (folder / "normal.yaml").write_text(yaml.safe_dump(ROWS["normal"] | {"published": {"few": PUBLISHED_FEW}}))
    (folder / "ring.yaml").write_text(yaml.safe_dump(ROWS["ring"] | {"published": {"few": {"fid": 25.0}}}))
    table = read_table(str(folder))
    for number, row in enumerate(table.rows):
        cell = Cell(table, row, "few", 0)
        found = {
            "table": "small",
            "row": row.name,
            "data": "few",
            "seed": 0,
            "metrics": {"imputation_accuracy": 0.9 + 0.05 * number, "fid": 4.0 - number, "classifier_accuracy": 0.9958},
            "evaluation": {},
            "exact_data": True,
            "remark": "",
            "training": {"seconds": 60, "epochs": 2, "stopped_by": "epochs"},
            "evaluation_minutes": 0.25,
            "device": "CPU",
            "experiment": settings_of(cell.experiment()),
            "curve": [[1, 5.0], [2, 4.0]],
        }
        where.result(cell).parent.mkdir(parents=True, exist_ok=True)
        where.result(cell).write_text(json.dumps(found))
    page = write_page(table, where.results).read_text()
    assert "## Digits with few labels" in page
    assert "The classifier that judges is right about 99.58 % of real images." in page
    assert "| minutes, training + evaluation |" in page
    assert "| 1 | 1.0 + 0.2 | 2 | CPU |" in page
    assert "| Normal | 39.10 | 4.00 |  |  | 86.34 % | 90.00 % |  | 0 | 1 |" in page
    assert "| Ring | 25.00 | 3.00 | +14.10 | +1.00 |  | 95.00 % | +5.00 % | 0 | 1 |" in page
    assert page.count("gain, published") == 1  # that of the metric of which two rows have a published number
    assert "The published data and split." in page


def test_pictures_are_drawn_from_runs_and_shown_on_the_page(folder, where, capsys):
    (folder / "joint.yaml").write_text(
        "title: Joint\nsettings: {model: {kind: joint-vae, warmup_epochs: 1, prior: {kind: tensor-ring, rank: 2}}}\n"
    )
    (folder / "table.yaml").write_text(
        yaml.safe_dump(
            TABLE
            | {
                "baseline": "joint",
                "data": {
                    "digits": {"pictures": {"any": [], "a three": ["digit=3"], "odd": ["digit=1,3,5,7,9"]}},
                    "few": {"settings": {"data": "digits", "missing": 0.9, "missing_seed": 3}},
                },
            }
        )
    )
    arguments = ["reproduce", str(folder), "--row", "joint", "--seeds", "1"]
    arguments += ["--runs", str(where.runs), "--results", str(where.results)]
    assert main(arguments) == 0
    names = ("joint-digits-samples.png", "joint-digits-codes.png")
    samples, codes = (where.results / "small" / name for name in names)
    assert {path.name for path in samples.parent.glob("joint-*.png")} == set(names)
    page = (samples.parent / "README.md").read_text()
    assert page.count("Each row of images was drawn under the conditions beside it") == 1
    assert f"| ![Joint: rows of images, each drawn under the conditions beside it]({samples.name}) |" in page
    before = samples.stat().st_mtime_ns
    codes.unlink()
    assert main([*arguments, "--show"]) == 0  # what is there is left as it is
    assert samples.stat().st_mtime_ns == before
    assert "![Joint: codes of test images]" not in (samples.parent / "README.md").read_text()
    samples.unlink()
    assert main([*arguments, "--show"]) == 0
    assert samples.exists()
    assert codes.exists()


GAN = {"kind": "gan", "latents": 2, "network": {"kind": "mlp", "hidden": [8]}}


@pytest.mark.filterwarnings("ignore:after")
def test_samples_of_adversarial_models_are_shown_and_what_went_wrong_with_them(folder, where, capsys):
    common = TABLE["common"] | {
        "metrics": {"modes": "modes", "parameters": "size"},
        "settings": {"model": GAN, "training": {"epochs": 1, "accelerator": "cpu"}},
    }
    parts = {"digits": {}, "grid": {"settings": {"data": "gaussian-grid", "training": {"batch_size": 5000}}}}
    (folder / "table.yaml").write_text(yaml.safe_dump(TABLE | {"common": common, "data": parts}))
    (folder / "normal.yaml").write_text("title: Normal\n")
    arguments = ["reproduce", str(folder), "--row", "normal", "--seeds", "1"]
    arguments += ["--runs", str(where.runs), "--results", str(where.results)]
    assert main(arguments) == 0
    result = where.results / "small" / "normal-grid-0.json"
    found = json.loads(result.read_text())
    assert found["training"]["diagnosis"]
    found["training"] |= {"diagnosis": "the prior has collapsed: so much", "kept_step": 1200}
    result.write_text(json.dumps(found))
    assert main([*arguments, "--show"]) == 0
    paths = [where.results / "small" / f"normal-{data}-samples.png" for data in parts]
    assert all(path.is_file() for path in paths)
    page = (where.results / "small" / "README.md").read_text()
    assert all(f"| ![Normal: samples]({path.name}) |" in page for path in paths)
    assert "seed 0: the prior has collapsed: so much; measured are the weights of step 1,200." in page
    assert page.startswith("# Digits\n\nSource: nowhere.")
    assert "published" not in page.lower()
    assert "| row | modes, ours | size, ours | parameters |" in page


def test_a_row_of_images_for_each_choice(folder, where):
    (folder / "joint.yaml").write_text(
        "title: Joint\nsettings: {model: {kind: joint-vae, warmup_epochs: 1, prior: {kind: tensor-ring, rank: 2}}}\n"
    )
    table = read_table(str(folder))
    cell = Cell(table, table.row("joint"), "digits", 0)
    where.run(cell)
    run = open_run(where.folder(cell))
    figure = images_under(run, {"any": [], "a three": ["digit=3"]})
    (axis,) = figure.axes
    assert [label.get_text() for label in axis.get_yticklabels()] == ["any", "a three"]
    assert axis.images[0].get_size() == (2 * 9 + 1, 8 * 9 + 1)
    with pytest.raises(ValueError, match="unknown condition 'digits'"):
        images_under(run, {"a three": ["digits=3"]})


def test_the_pictures_of_every_table_are_of_conditions_that_there_are():
    schemas = {
        "mnist": [Condition("digit", tuple("0123456789"))],
        "celeba": [Condition(name, ("0", "1")) for name in CelebA.default_conditions],
    }
    for table in map(read_table, tables()):
        for data, choices in table.pictures.items():
            for texts in choices.values():
                parse_given(texts, schemas[table.settings[data]["data"]])


def test_another_kind_replaces_the_options_of_the_former():
    assert merge({"a": {"kind": "x", "b": 1}}, {"a": {"kind": "x", "c": 2}}) == {"a": {"kind": "x", "b": 1, "c": 2}}
    assert merge({"a": {"kind": "x", "b": 1}}, {"a": {"kind": "y", "c": 2}}) == {"a": {"kind": "y", "c": 2}}


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


def test_the_command_runs_a_row_of_ones_own_beside_the_table(folder, where, tmp_path, capsys):
    own = tmp_path / "wide.yaml"
    own.write_text(yaml.safe_dump({"title": "Wide", "settings": {"model": {"network": {"hidden": [30]}}}}))
    arguments = ["reproduce", str(folder), "--row", f"normal,{own}", "--data", "digits", "--seeds", "1", "--json"]
    arguments += ["--runs", str(where.runs), "--results", str(where.results), "--jobs", "2"]
    assert main(arguments) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["table"] == "small"
    assert [(entry["row"], entry["seeds"]) for entry in found["rows"]] == [("normal", 1), ("wide", 1)]
    expected = {"row", "data", "metric", "published", "ours", "sd", "seeds", "exact_data", "minutes", "device"}
    assert found["rows"][0].keys() == expected
    assert main([*arguments, "--show"]) == 0
    assert json.loads(capsys.readouterr().out) == found
    page = where.results / "small" / "README.md"
    assert "Not shown" not in page.read_text()
    assert main(["reproduce", str(folder), "--show", "--runs", str(where.runs), "--results", str(where.results)]) == 0
    assert f"Not shown, since each of them {OTHER_ROW}: wide-digits-0.json." in page.read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["silvester"], "unknown table 'silvester': expected one of .*did you mean 'sylvester'"),
        (["sylvester", "--row", "h-snff"], "unknown row of sylvester 'h-snff': .*did you mean 'h-snf'"),
        (["sylvester", "--row", "none.yaml"], "none.yaml does not exist: expected the YAML file of a row"),
        (["sylvester", "--data", "mnits"], "unknown data set of sylvester 'mnits'"),
        (["sylvester", "--budget", "-1"], "the budget must be a number of minutes above 0, got -1"),
        (["sylvester", "--seeds", "0"], "seeds and jobs must be at least 1"),
    ],
)
def test_mistakes_are_told_in_one_line(arguments, message, capsys):
    assert main(["reproduce", *arguments]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    with pytest.raises(ValueError, match=message):
        raise ValueError(error)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("title: [", "is damaged"),
        ("just words", "must have keys title"),
        ("place: 3", "needs title"),
        ("{title: A, setings: {}}", "unknown key 'setings'.*did you mean 'settings'"),
        ("{title: A, published: {digits: {elbo: low}}}", r"expected a published number, or \[number, standard dev"),
    ],
)
def test_a_damaged_row_is_refused(content, message, tmp_path):
    path = tmp_path / "row.yaml"
    path.write_text(content)
    with pytest.raises(ValueError, match=message):
        read_row(path)


def test_a_mistake_in_a_setting_is_told_before_anything_is_trained(folder, where):
    row = folder / "wrong.yaml"
    row.write_text(yaml.safe_dump({"title": "Wrong", "settings": {"model": {"latens": 3}}}))
    with pytest.raises(ValueError, match=r"small/wrong\.model: unknown option of vae 'latens'.*did you mean 'latents'"):
        Cell(read_table(str(folder)), read_row(row), "digits", 0).experiment()
    arguments = ["reproduce", str(folder), "--row", f"normal,{row}", "--data", "digits", "--runs", str(where.runs)]
    assert main(arguments) == 2
    assert not where.runs.exists()


def test_columns_stand_apart_however_long_their_names(tmp_path, capsys):
    assert main(["reproduce", "vampprior", "--show", "--results", str(tmp_path)]) == 0
    shown = [line for line in capsys.readouterr().out.splitlines() if "static-mnist-short" in line]
    assert shown
    assert all(re.search(r"  static-mnist-short  +(iwae|elbo)  ", line) for line in shown)
    assert main(["reproduce"]) == 0
    assert re.search(r"^semi-supervised  \S", capsys.readouterr().out, re.M)


def test_losses_of_adversarial_models_are_not_drawn(folder, where):
    model = {"kind": "gan", "latents": 2, "network": {"kind": "mlp", "hidden": [8]}}
    common = TABLE["common"]["settings"] | {"model": model}
    table = TABLE | {"common": {"metrics": {"precision": "precision"}, "settings": common}, "data": {"digits": {}}}
    (folder / "table.yaml").write_text(yaml.safe_dump(table))
    (folder / "ring.yaml").unlink()
    (folder / "normal.yaml").write_text(yaml.safe_dump({"title": "Normal", "place": 1}))
    table = read_table(str(folder))
    assert where.run(Cell(table, table.rows[0], "digits", 0))
    page = write_page(table, where.results)
    assert "precision, ours" in page.read_text()
    assert "digits.png" not in page.read_text()
    assert not (page.parent / "digits.png").exists()

"""Tables: their definitions, the page and the command."""

import json
import re
from dataclasses import replace

import pytest
import yaml
from small_table import ROWS

from googol.cli import main
from googol.experiments import config
from googol.experiments.reproduction import (
    OTHER_ROW,
    Cell,
    read_results,
    settings_of,
)
from googol.experiments.table import merge, read_row, read_table, tables
from googol.experiments.table_page import write_page

PUBLISHED_FEW = {"imputation_accuracy": 0.8634, "fid": 39.1}


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
    # Nor do other labels choose the weights that are kept.
    assert experiment.load("valid").conditions.isnan().double().mean() == pytest.approx(0.9, abs=0.01)
    assert not experiment.load("test").conditions.isnan().any()
    counted = replace(experiment, missing=0.0, labels=10)
    assert (~counted.load("train").conditions.isnan()).sum() == 10
    assert counted.load("valid").conditions.isnan().all()


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


def test_another_kind_replaces_the_options_of_the_former():
    assert merge({"a": {"kind": "x", "b": 1}}, {"a": {"kind": "x", "c": 2}}) == {"a": {"kind": "x", "b": 1, "c": 2}}
    assert merge({"a": {"kind": "x", "b": 1}}, {"a": {"kind": "y", "c": 2}}) == {"a": {"kind": "y", "c": 2}}


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


def test_a_row_of_ones_own_is_compared_with_one_that_is_there(folder, where, tmp_path):
    own = tmp_path / "own.yaml"
    own.write_text("title: Own\nbaseline: nosuch\nsettings:\n  on:\n    digits: {training: {epochs: 7}}\n")
    table = read_table(folder)
    with pytest.raises(ValueError, match="unknown row of small 'nosuch': expected one of 'normal', 'ring'"):
        table.with_rows([read_row(own)])
    assert table.experiment(read_row(own), "digits", seed=0).training.epochs == 7  # "on" without quotes


def test_a_row_of_ones_own_is_not_taken_for_one_of_the_table(folder, tmp_path):
    table = read_table(folder)
    assert table.with_rows([table.row("ring")]).rows == table.rows
    (tmp_path / "ring.yaml").write_text("title: Own")
    with pytest.raises(ValueError, match=r"ring\.yaml: small has a row ring of its own: rename the file"):
        table.with_rows([read_row(tmp_path / "ring.yaml")])


@pytest.mark.parametrize("content", ["{", "[1]", '{"row": "ring"}'])
def test_what_is_no_result_is_named(content, folder, where):
    (where.results / "small").mkdir(parents=True)
    path = where.results / "small" / "foreign.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=r"foreign\.json is"):
        read_results(where.results, read_table(folder))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["silvester"], "unknown table 'silvester': expected one of .*did you mean 'sylvester'"),
        (["sylvester", "--row", "h-snff"], "unknown row of sylvester 'h-snff': .*did you mean 'h-snf'"),
        (["sylvester", "--row", "none.yaml"], "none.yaml does not exist: expected the YAML file of a row"),
        (["sylvester", "--data", "mnits"], "unknown data set of sylvester 'mnits'"),
        (["sylvester", "--budget", "-1"], "the budget must be a number of minutes above 0, got -1"),
        (["sylvester", "--seeds", "0"], "--seeds must be at least 1, got 0"),
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
        ("{title: A, settings: }", "expected settings to have keys, got None"),
        ("{title: A, published: [1]}", r"expected published to have keys, got \[1\]"),
        ("{title: A, place: [1]}", r"expected place to be a number, got \[1\]"),
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

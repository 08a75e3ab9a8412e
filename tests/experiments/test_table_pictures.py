"""Pictures of the runs of a table, and the page that shows them."""

import json

import pytest
import yaml
from small_table import TABLE

from googol.cli import main
from googol.data import Condition, parse_given
from googol.data.celeba import CelebA
from googol.experiments import open_run
from googol.experiments.reproduction import (
    Cell,
)
from googol.experiments.table import read_table, tables
from googol.experiments.table_page import write_page
from googol.experiments.table_pictures import images_under

GAN = {"kind": "gan", "latents": 2, "network": {"kind": "mlp", "hidden": [8]}}


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

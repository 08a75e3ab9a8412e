"""What the page shows, without the page."""

import csv
import io
import re
import threading
from dataclasses import replace

import pytest
import torch
from PIL import Image

from googol.data import DataError, parse_given
from googol.experiments import Run, ask, config, open_run
from googol.explorer import Explorer, View
from googol.explorer.choices import ContradictionError, Pick
from googol.explorer.downloads import grid_file, table_file
from googol.explorer.markup import chances, drawn, escaped, figures


@pytest.fixture(scope="module")
def explorer(run: Run) -> Explorer:
    return Explorer(run)


def open_picks(explorer: Explorer, **chosen: Pick) -> list[Pick]:
    """Everything open but what is named."""
    found: list[Pick] = []
    for condition, scale in zip(explorer.conditions, explorer.scales, strict=True):
        found.append(chosen.get(condition.name, [] if scale is None else (scale.low, scale.high)))
    return found


def test_nothing_chosen_gives_pictures_and_every_distribution(explorer):
    view = explorer.look(open_picks(explorer))
    assert view.images.shape == (16, 3, 8, 8)
    assert not view.doubtful
    assert [bars.name for bars in view.bars] == ["shape", "colour", "size"]
    for bars in view.bars:
        assert sum(bars.shares.values()) == pytest.approx(1, abs=1e-4)


def test_a_choice_is_kept_by_every_picture_and_its_bars_are_exact(explorer):
    view = explorer.look(open_picks(explorer, shape=["disc"], colour=["red", "blue"], size=(2.5, 3.5)))
    columns = dict(zip(["shape", "colour", "size"], view.conditions.T, strict=True))
    assert (columns["shape"] == explorer.conditions[0].encode("disc")).all()
    assert set(columns["colour"].tolist()) <= {explorer.conditions[1].encode(name) for name in ("red", "blue")}
    assert columns["size"].min() >= 2.5
    assert columns["size"].max() <= 3.5
    given = parse_given(["shape=disc", "colour=red,blue", "size=2.5..3.5"], explorer.conditions)
    answer = ask(explorer.run, given)
    colour = {bars.name: bars.shares for bars in view.bars}["colour"]
    assert colour == pytest.approx(dict(answer.beliefs["colour"].probabilities))
    assert "shape disc, colour blue or red and size 2.5" in view.sentence


def test_the_seed_decides_and_visitors_do_not_disturb_each_other(explorer):
    picks = open_picks(explorer, shape=["square"])
    alone = {seed: explorer.look(picks, seed=seed).images for seed in (1, 2)}
    assert not torch.equal(alone[1], alone[2])
    found: dict[int, list[View]] = {1: [], 2: []}

    def visit(seed: int) -> None:
        found[seed] += [explorer.look(picks, seed=seed) for _ in range(10)]

    visitors = [threading.Thread(target=visit, args=(seed,)) for seed in found]
    for visitor in visitors:
        visitor.start()
    for visitor in visitors:
        visitor.join()
    for seed, views in found.items():
        assert len(views) == 10
        assert all(torch.equal(view.images, alone[seed]) for view in views)


def test_a_range_that_ends_before_it_begins_is_said_so(explorer):
    view = explorer.look(open_picks(explorer, size=(3.5, 2.5)))
    assert view.doubtful
    assert not len(view.images)
    assert "nothing lies in it" in view.sentence


def test_an_end_beyond_the_scale_is_meant_as_it_was_typed(explorer):
    """Anything can be typed beside a slider."""
    scale = explorer.scales[2]
    far = explorer.look(open_picks(explorer, size=(scale.high + 100, scale.high)))
    assert far.doubtful
    assert "impossible" in far.sentence or "hardly ever met" in far.sentence
    little = explorer.look(open_picks(explorer, size=(scale.low, scale.low - 100)))
    assert "impossible" in little.sentence or little.sentence.startswith("You chose size at most")
    beyond = explorer.look(open_picks(explorer, size=(scale.low - 100, scale.high + 100)))
    assert beyond.sentence.startswith("You chose nothing")
    view = explorer.look(open_picks(explorer))
    portrait = explorer.portrait_of_sample(view, 0)
    strange = explorer.change(portrait, 2, scale.high + 0.6 * (scale.high - scale.low))
    assert strange.doubtful
    assert "hardly ever met" in strange.sentence
    with pytest.raises(ContradictionError, match=r"size 1,000,000,000\.\d* is impossible for this model"):
        explorer.change(portrait, 2, 1e9)


def test_what_is_read_in_another_way_than_it_was_drawn_is_said_so(explorer):
    """Of pictures that were given the wrong shape."""
    view = explorer.look(open_picks(explorer, shape=["disc"]))
    wrong = view.conditions.clone()
    wrong[:, 0] = 1 - wrong[:, 0]
    sentences = [
        [explorer.portrait_of_sample(replace(view, conditions=conditions), index).sentence for index in range(16)]
        for conditions in (view.conditions, wrong)
    ]
    right, turned = (sum("In the picture itself it reads shape" in text for text in texts) for texts in sentences)
    assert right + turned == 16
    assert turned > right


def test_what_hardly_ever_happens_is_said_so(run):
    """A model in which no disc is red."""
    choice = config.JointVAE(latents=2, prior=config.TensorRing(rank=2, components=2), network=config.MLP(hidden=(8,)))
    schema = run.schema[:2]
    torch.manual_seed(0)
    model = choice.build((3, 8, 8), schema)
    with torch.no_grad():
        for log_cores in model.prior.log_cores:
            log_cores.zero_()
        group = [variable.components for variable in model.prior.variables].index(3)  # the colours
        place = next(i for i, positions in enumerate(model.prior._positions) if group in positions)
        model.prior.log_cores[place][0, 2] = -20.0
    explorer = Explorer(Run(run.folder, model.eval(), choice, (3, 8, 8), schema, "data"))
    view = explorer.look([[], [schema[1].values[2]]])
    assert view.doubtful
    assert "has hardly ever met that" in view.sentence
    assert len(view.images) == 16


def test_a_picture_is_changed_in_one_thing(explorer):
    view = explorer.look(open_picks(explorer, shape=["disc"]))
    portrait = explorer.portrait_of_sample(view, 3)
    assert torch.equal(portrait.image[0], view.images[3])
    changed = explorer.change(portrait, 0, explorer.conditions[0].encode("square"))
    assert changed.sentence.startswith("Changed to shape square; kept: colour")
    assert "shape square" in changed.caption
    assert changed.image.shape == portrait.image.shape
    with pytest.raises(IndexError, match="one of 16 pictures"):
        explorer.portrait_of_sample(view, 16)


def test_an_upload_is_filled_in_and_a_bad_one_refused(explorer):
    content = io.BytesIO()
    Image.new("RGB", (50, 40), "red").save(content, "png")
    portrait = explorer.portrait_of_upload(content.getvalue())
    assert portrait.image.shape == (1, 3, 8, 8)
    assert portrait.redrawn is not None
    assert not portrait.conditions.isnan().any()
    for bad in (b"", b"no picture", content.getvalue()[:60]):
        with pytest.raises(DataError):
            explorer.portrait_of_upload(bad)


def test_rows_of_a_table(table_folder):
    explorer = Explorer(open_run(table_folder))
    view = explorer.look([["red"], (30.0, 40.0), explorer_range(explorer, 2)], seed=3)
    assert re.search(
        "You chose <hair> red and age 30 to 40: .* of the rows that the model imagines are so", view.sentence
    )
    assert view.conditions.shape == (16, 3)
    assert ((view.conditions[:, 1] >= 30) & (view.conditions[:, 1] <= 40)).all()
    assert [bars.name for bars in view.bars] == ["age", "score"]
    shown = drawn(view, explorer)
    assert shown.count("<tr>") == 17
    assert "&lt;hair&gt;" in shown
    assert "<hair>" not in shown
    assert table_file(view, explorer.conditions, numbered=False).decode().splitlines()[0] == "<hair>,age,score"
    view = explorer.look([[], (60.0, 30.0), explorer_range(explorer, 2)])
    assert drawn(view, explorer) == '<p class="hint">No rows.</p>'


def explorer_range(explorer, number):
    return explorer.scales[number].low, explorer.scales[number].high


def test_files_to_save(explorer):
    view = explorer.look(open_picks(explorer, colour=["green"]))
    assert Image.open(io.BytesIO(grid_file(view))).size[0] > 4 * 8
    rows = list(csv.DictReader(io.StringIO(table_file(view, explorer.conditions).decode())))
    assert len(rows) == 16
    assert {row["colour"] for row in rows} == {"green"}
    assert float(rows[0]["size"]) == pytest.approx(view.conditions[0, 2].item(), rel=1e-5)


def test_every_picture_has_a_text_and_texts_are_escaped(explorer):
    assert "Nothing goes with" in chances((), answered=False)
    view = explorer.look(open_picks(explorer))
    page = drawn(view, explorer) + figures(explorer.portrait_of_sample(view, 0)) + chances(view.bars)
    assert page.count("<img") == page.count('alt="') == 17
    assert 'alt=""' not in page
    assert escaped("<b>{x}$") == "&lt;b&gt;&#123;x&#125;&#36;"


def test_a_model_without_conditions_has_no_page(run):
    choice = config.VAE(latents=2, network=config.MLP(hidden=(4,)))
    plain = Run(run.folder, choice.build((1, 8, 8), ()), choice, (1, 8, 8), (), "digits")
    with pytest.raises(ValueError, match="cannot do all that the page offers"):
        Explorer(plain)

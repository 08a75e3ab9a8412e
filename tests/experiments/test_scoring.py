"""What is said of known images and of strangers: the promise of the level, and who is marked."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from googol.data import Condition, Dataset, load, permutation
from googol.experiments import Run, config, noise, score, scoring_figure
from googol.metrics import importance_bounds


@pytest.fixture(scope="module")
def run() -> Run:
    """An untrained model of digits, their brightness (a number) and nothing else."""
    torch.manual_seed(0)
    schema = (Condition("brightness", None), Condition("digit", tuple("0123456789")))
    prior, network = config.TensorRing(rank=3, components=4), config.MLP(hidden=(16,))
    choice = config.JointVAE(latents=2, prior=prior, network=network)
    return Run(Path("RUN"), choice.build((1, 8, 8), schema).eval(), choice, (1, 8, 8), schema, "digits")


def of(run: Run, split: str) -> Dataset:
    data = load("digits", split)
    conditions = torch.cat([data.images.flatten(1).float().mean(1, keepdim=True) / 255, data.conditions], 1)
    return Dataset(split, data.images, conditions, run.schema)


def test_the_uncertain_are_those_below_the_threshold(run: Run) -> None:
    """Also where the level lies between two ranks, or on one: 199 × 0.1 or 200 × 0.1."""
    for limit in (None, 198, 199, 99):
        found = score(run, of(run, "test"), valid=of(run, "valid"), k=2, level=0.1, limit=limit)
        assert torch.equal(found.known.uncertain, found.known.log_px < found.threshold)
        assert len(found.known.data) == (limit or 393)


def test_images_of_the_calibration_itself_are_seldom_marked(run: Run) -> None:
    """Their typicality is a rank, so the share is the level but for the one that is not there."""
    valid = of(run, "valid")
    found = score(run, valid, valid=valid, k=2, level=0.25)
    assert found.uncertain["valid"] == pytest.approx(0.25, abs=1.5 / len(valid))


def test_strangers_are_scored_as_they_would_be_alone(run: Run) -> None:
    known, valid = of(run, "test"), of(run, "valid")
    strange = noise(known, seed=1)
    both, alone = (score(run, a, b, valid=valid, k=3, limit=150) for a, b in [(known, [strange]), (strange, [])])
    assert torch.equal(both.strangers[0].log_px, alone.known.log_px)
    assert torch.equal(both.strangers[0].values, alone.known.values)
    images = strange.subset(both.strangers[0].index)
    assert torch.equal(both.strangers[0].log_px, importance_bounds(run.model, images, 3))
    assert both.uncertain.keys() == {"test", "noise"}
    assert both.auroc.keys() == {"noise"}


def test_numbers_have_a_mean_and_categories_a_probability(run: Run) -> None:
    found = score(run, of(run, "test"), valid=of(run, "valid"), k=2)
    brightness, digit = found.known.probabilities.unbind(1)
    assert brightness.isnan().all()
    assert ((digit >= 0.1) & (digit <= 1)).all()
    assert found.known.values.isfinite().all()
    columns = ["brightness_imputed", "brightness_probability", "digit_imputed", "digit_probability"]
    assert list(found.table())[-4:] == columns
    assert len(scoring_figure(found).subfigs) == 2


def test_noise_is_of_the_kind_of_the_images(run: Run) -> None:
    known = of(run, "test")
    assert noise(known.dequantized()).noise == "dequantize"
    black_or_white = replace(known, images=(known.images > 127).to(torch.uint8) * 255)
    assert noise(black_or_white).is_binary
    assert not noise(known).is_binary


def test_noise_has_the_shape_but_no_conditions(run: Run) -> None:
    known = of(run, "test")
    strange = noise(known, seed=3)
    assert strange.images.shape == known.images.shape
    assert strange.conditions.isnan().all()
    assert strange.pixels().mean().item() == pytest.approx(0.5, abs=0.01)
    assert torch.equal(strange.images, noise(known, seed=3).images)
    assert not torch.equal(strange.images, noise(known, seed=4).images)


@pytest.mark.parametrize(("limit", "level"), [(None, 0.01), (100, 0.01), (99, 0.015), (1, 0.75)])
def test_with_few_validation_images_the_uncertain_are_below_all_of_them(
    run: Run, limit: int | None, level: float
) -> None:
    valid = of(run, "valid")
    found = score(run, of(run, "test"), valid=valid, k=2, limit=limit)
    assert found.level == pytest.approx(level)
    if limit == 99:
        kept = importance_bounds(run.model, valid.subset(permutation(len(valid), 0)[:99].sort().values), 2, seed=0)
        assert torch.equal(found.known.uncertain, found.known.log_px < kept.min())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"level": 0.0}, "above 0.005"),
        ({"level": 1.0}, "got 1.0"),
        ({"limit": 99, "level": 0.01}, "99 validation images"),
        ({"limit": 0}, "limit must be at least 1, got 0"),
        ({"k": 0}, "at least 1; got 0"),
    ],
)
def test_wrong_arguments_are_refused(run: Run, changes: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        score(run, of(run, "test"), **{"valid": of(run, "valid"), "k": 1, **changes})

"""Questions to a run and edits of images, on a model whose conditions are known to go together."""

from __future__ import annotations

import copy
import math
from pathlib import Path

import pytest
import torch

from googol.data import Condition, parse_given
from googol.experiments import Run, ask, config, edit
from googol.experiments.plausibility import share_as_strange

NUMBERS = tuple("0123456789")
SCHEMA = (Condition("digit", NUMBERS), Condition("parity", ("even", "odd")), Condition("ink", None))
SHAPE = (1, 8, 8)


@pytest.fixture(scope="module")
def run() -> Run:
    """A joint model of digits, their parity, and the ink, which grows with the digit; started, and not trained."""
    torch.manual_seed(0)
    prior = config.TensorRing(rank=20, components=8, boundary="train")
    choice = config.JointVAE(latents=4, prior=prior, network=config.MLP(hidden=(16,)))
    model = choice.build(SHAPE, SCHEMA)
    digits = torch.arange(4000) % 10
    ink = digits + 0.5 * torch.randn(4000)
    codes = torch.randn(4000, 4) + torch.stack([digits, -digits, digits % 2 * 3, 0 * digits], 1)
    model.prior.fit_initial(torch.cat([codes, torch.stack([digits, digits % 2, ink], 1)], 1))
    return Run(Path("RUN"), model.eval(), choice, SHAPE, SCHEMA, "digits")


def test_the_beliefs_are_those_of_the_conditions_given(run):
    answer = ask(run, parse_given(["digit=2,4,5"], SCHEMA))
    assert math.exp(answer.log_prob) == pytest.approx(0.3, abs=0.05)
    assert set(answer.beliefs) == {"digit", "parity", "ink"}
    digit, parity, ink = (answer.beliefs[name] for name in ("digit", "parity", "ink"))
    assert sum(digit.probabilities[value] for value in "245") == pytest.approx(1, abs=1e-5)
    assert parity.probabilities["even"] == pytest.approx(2 / 3, abs=0.1)
    assert 2.5 < ink.mean < 4.8
    assert list(ink.quantiles.values()) == sorted(ink.quantiles.values())
    assert answer.most_probable["digit"] in "245"


def test_a_number_far_out_is_strange_and_does_not_change_the_sum_of_beliefs(run):
    common, far = (ask(run, parse_given([f"ink={number}"], SCHEMA)) for number in ("4.5", "60"))
    assert common.plausibility > 0.1
    assert not common.is_rare
    assert far.plausibility < 1e-9
    assert far.is_rare
    for belief in (far.beliefs["digit"], far.beliefs["parity"]):
        assert sum(belief.probabilities.values()) == pytest.approx(1, abs=1e-4)
    assert far.beliefs["digit"].probabilities["9"] > 0.5
    far_out = [ask(run, parse_given([text], SCHEMA)).most_probable["ink"] for text in ("ink=30..", "ink=..-20")]
    assert far_out == ["30", "-20"]
    for text in ("ink=1e9", "ink=1e9.."):
        with pytest.raises(ValueError, match="impossible"):
            ask(run, parse_given([text], SCHEMA))


@pytest.mark.parametrize("texts", [["digit=9"], ["parity=even"], ["digit=2..5"]])
def test_a_number_is_as_strange_as_its_density_is_low(run, texts):
    """Beside the share of numbers drawn whose density is lower."""
    given, labels = parse_given(texts, SCHEMA), run.model.label_distribution()
    torch.manual_seed(0)
    ink = labels.condition(given.values, within=given.within).marginal([2])
    number = ink.sample()
    expected = (ink.log_prob(ink.sample((20_000,))) <= ink.log_prob(number)).double().mean()
    found = share_as_strange(labels, 2, number[0], given.values, within=given.within)
    assert found.item() == pytest.approx(expected.item(), abs=0.02)


def test_a_number_is_strange_given_the_rest(run):
    """Ink of 8 is common, and not of a 1."""
    alone, of_nine, of_one = (
        ask(run, parse_given(texts, SCHEMA)).plausibility
        for texts in (["ink=8"], ["ink=8", "digit=9"], ["ink=8", "digit=1"])
    )
    assert 2 * of_one < of_nine < alone
    assert ask(run, parse_given(["digit=3", "parity=odd"], SCHEMA)).plausibility == pytest.approx(0.1, abs=0.03)


def test_what_is_given_exactly_is_not_asked(run):
    answer = ask(run, parse_given(["digit=7", "ink=6..8"], SCHEMA))
    assert set(answer.beliefs) == {"parity", "ink"}
    assert answer.beliefs["parity"].probabilities["odd"] > 0.9
    quantiles = answer.beliefs["ink"].quantiles.values()
    assert 6 <= min(quantiles) <= max(quantiles) <= 8
    assert set(ask(run, parse_given(["digit=7"], SCHEMA), ("ink",)).beliefs) == {"ink"}


def test_information_is_symmetric_and_large_where_one_follows_from_the_other(run):
    told = ask(run, parse_given([], SCHEMA), information=True).information
    assert told["digit"]["parity"] == told["parity"]["digit"]
    assert told["digit"]["parity"] == pytest.approx(math.log(2), abs=0.15)
    assert told["parity"]["ink"] < told["digit"]["ink"]


def test_an_edit_keeps_what_goes_with_it_and_leaves_open_what_does_not(run):
    x = torch.rand(3, *SHAPE)
    known = parse_given(["digit=3", "parity=odd", "ink=3.1"], SCHEMA)
    kept, turned = (edit(run, x, parse_given([f"digit={digit}"], SCHEMA), known=known) for digit in (5, 8))
    assert kept.before == [{"digit": "3", "parity": "odd", "ink": "3.1"}] * 3
    assert kept.after == [{"digit": "5", "parity": "odd", "ink": "3.1"}] * 3
    assert [set(names) for names in turned.after] == [{"digit", "ink"}] * 3
    little = parse_given(["digit=1", "parity=odd", "ink=0.2"], SCHEMA)
    assert edit(run, x, parse_given(["digit=9"], SCHEMA), known=little).after == [{"digit": "9", "parity": "odd"}] * 3
    assert not kept.is_guess
    assert edit(run, x, parse_given(["ink=60"], SCHEMA), known=known).is_guess
    same = edit(run, x, parse_given(["digit=3"], SCHEMA), known=known)
    torch.testing.assert_close(same.images, run.model.reconstruct(x), rtol=1e-3, atol=1e-3)
    assert (kept.images - same.images).abs().max() > 1e-2


@pytest.mark.parametrize(
    ("question", "message"),
    [
        (lambda run: ask(run, parse_given(["digit=3"], SCHEMA), ("digit",)), "value of digit is given"),
        (lambda run: ask(run, parse_given([], SCHEMA), ("digi",)), "did you mean 'digit'"),
        (lambda run: edit(run, torch.rand(1, *SHAPE), parse_given([], SCHEMA)), "needs exact values"),
        (lambda run: edit(run, torch.rand(1, *SHAPE), parse_given(["ink=3..4"], SCHEMA)), "not ranges or sets"),
        (
            lambda run: edit(
                run, torch.rand(1, *SHAPE), parse_given(["digit=3"], SCHEMA), known=parse_given(["ink=1e30"], SCHEMA)
            ),
            "what is given is impossible",
        ),
    ],
)
def test_what_is_refused(run, question, message):
    with pytest.raises(ValueError, match=message):
        question(run)


def test_images_unlike_any_other_are_edited_and_left_as_they_are_by_their_own_conditions(run):
    """Their codes lie far out, where the distribution functions are one to all digits."""
    model = copy.deepcopy(run.model)
    with torch.no_grad():
        list(model.posterior.encoder.modules())[-1].bias[:4] += torch.tensor([30.0, -30.0, 300.0, 0.0])
    x, digit = torch.rand(3, *SHAPE), torch.tensor([3.0, 1.0, math.nan])
    torch.testing.assert_close(model.edit(x, digit, digit), model.reconstruct(x), rtol=1e-3, atol=1e-3)
    assert model.edit(x, digit, torch.tensor([8.0, 0.0, math.nan])).isfinite().all()


def test_every_model_with_a_distribution_of_conditions_is_asked_alike():
    torch.manual_seed(0)
    choice = config.CVAE(latents=2, network=config.MLP(hidden=(8,)))
    model = choice.build(SHAPE, SCHEMA)
    digits = torch.arange(4000) % 10
    rows = torch.stack([digits, digits % 2, digits + 0.5 * torch.randn(4000)], 1)
    model.on_epoch_start(0, lambda: iter([(torch.rand(4000, *SHAPE), rows)]))
    answer = ask(Run(Path("RUN"), model, choice, SHAPE, SCHEMA, "digits"), parse_given(["digit=2,4,5"], SCHEMA))
    assert answer.beliefs["parity"].probabilities["even"] == pytest.approx(2 / 3, abs=0.1)
    assert 2.5 < answer.beliefs["ink"].mean < 4.8


def test_a_model_without_conditions_is_not_asked(run):
    plain = Run(Path("RUN"), config.VAE(latents=2).build(SHAPE, ()), config.VAE(latents=2), SHAPE, (), "digits")
    with pytest.raises(ValueError, match="has no distribution of conditions; train a joint-vae or a cvae"):
        ask(plain, parse_given([], ()))

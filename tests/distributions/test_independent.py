"""Independent variables of different kinds."""

import math

import pytest
import torch
from torch.distributions import Categorical, Normal

from googol.distributions import IndependentVariables

NAN = math.nan


def make(shape: tuple[int, ...] = ()) -> IndependentVariables:
    torch.manual_seed(0)
    logits = torch.randn(*shape, 3, dtype=torch.float64)
    loc = torch.randn(shape, dtype=torch.float64)
    return IndependentVariables([Categorical(logits=logits), Normal(loc, 0.7 * torch.ones_like(loc))])


def test_it_sums_and_integrates_to_one():
    both = make()
    grid = torch.arange(-8, 8, 0.01, dtype=torch.float64)
    rows = torch.stack([torch.cat([torch.full_like(grid, value), grid]).view(2, -1) for value in range(3)]).mT
    torch.testing.assert_close(both.log_prob(rows).exp().sum() * 0.01, torch.tensor(1.0, dtype=torch.float64))


def test_what_is_not_observed_is_summed_out():
    both = make((4,))
    v = torch.tensor([[2.0, 0.3], [NAN, 0.3], [1.0, NAN], [NAN, NAN]], dtype=torch.float64)
    category, number = (part.log_prob(column.nan_to_num(0)) for part, column in zip(both.parts, v.T, strict=True))
    expected = torch.stack([category[0] + number[0], number[1], category[2], 0 * category[3]])
    torch.testing.assert_close(both.log_prob(v), expected)


def test_missing_values_have_no_gradient_and_none_is_nan():
    logits, loc = torch.zeros(2, 3, requires_grad=True), torch.zeros(2, requires_grad=True)
    both = IndependentVariables([Categorical(logits=logits), Normal(loc, torch.ones(2))])
    both.log_prob(torch.tensor([[NAN, NAN], [1.0, 2.0]])).sum().backward()
    assert (logits.grad[0] == 0).all()
    assert loc.grad.tolist() == [0, 2]
    assert logits.grad[1].isfinite().all()


def test_samples_agree_with_densities():
    both = make()
    v = both.sample((40_000,))
    assert v.dtype == torch.float64
    found = v[:, 0].long().bincount(minlength=3) / len(v)
    torch.testing.assert_close(found.double(), both.parts[0].probs, atol=0.01, rtol=0)
    uniform = both.parts[1].cdf(v[:, 1]).sort().values
    assert (uniform - torch.linspace(0, 1, len(v), dtype=torch.float64)).abs().max() < 1.63 / math.sqrt(len(v))
    assert make((5,)).sample((2, 3)).shape == (2, 3, 5, 2)


def test_the_mode_is_likelier_than_what_is_drawn():
    both = make((6,))
    assert (both.log_prob(both.mode) >= both.log_prob(both.sample((100,)))).all()


def test_answers_are_probabilities_and_means():
    probs, mean = make((6,)).answers
    torch.testing.assert_close(probs.sum(-1), torch.ones(6, dtype=torch.float64))
    assert mean.shape == (6, 1)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: IndependentVariables([]), "parts must be at least one, of one batch shape"),
        (lambda: IndependentVariables([Normal(0.0, 1.0), Normal(torch.zeros(2), 1.0)]), "of one batch shape, got"),
        (lambda: make().log_prob(torch.zeros(3)), r"value must have the shape \(…, 2\), got \(3,\)"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()

"""The discretized logistic against its formula in float64 and against exact sums over its levels."""

import math

import pytest
import torch
from torch.distributions import Independent

from googol.distributions.discretized_logistic import DiscretizedLogistic

LOCS = torch.tensor([-3.0, -0.2, 0.0, 0.31, 0.5, 0.998, 1.0, 4.0], dtype=torch.double)
SCALES = torch.tensor([1e-3, 1e-2, 0.1, 1.0, 10.0], dtype=torch.double)
GRID = DiscretizedLogistic(LOCS[:, None], SCALES)
LEVELS = (torch.arange(256, dtype=torch.double) / 255)[:, None, None]


def formula(x: float, loc: float, scale: float) -> float:
    """The probability of a level, straight from the definition."""

    def cdf(t: float) -> float:
        return 1 / (1 + math.exp(-t)) if t > 0 else math.exp(t) / (1 + math.exp(t))

    upper = 1.0 if x == 1 else cdf((x + 1 / 510 - loc) / scale)
    lower = 0.0 if x == 0 else cdf((x - 1 / 510 - loc) / scale)
    return upper - lower


def test_probabilities_sum_to_one():
    torch.testing.assert_close(GRID.log_prob(LEVELS).exp().sum(0), torch.ones(8, 5, dtype=torch.double))


@pytest.mark.parametrize("levels", [2, 5])
def test_other_numbers_of_levels(levels):
    pixel = DiscretizedLogistic(torch.tensor(0.3).double(), torch.tensor(0.2).double(), levels=levels)
    x = torch.arange(levels).double() / (levels - 1)
    assert pixel.log_prob(x).exp().sum().item() == pytest.approx(1)
    torch.testing.assert_close(pixel.mean, (x * pixel.log_prob(x).exp()).sum())


@pytest.mark.parametrize("loc", [-0.2, 0.0, 0.31, 0.998])
@pytest.mark.parametrize("scale", [0.01, 0.1, 1.0])
def test_log_prob_agrees_with_the_formula(loc, scale):
    pixel = DiscretizedLogistic(torch.tensor(loc, dtype=torch.double), torch.tensor(scale, dtype=torch.double))
    for level in [0, 1, 79, 128, 254, 255]:
        expected = formula(level / 255, loc, scale)
        actual = pixel.log_prob(torch.tensor(level / 255, dtype=torch.double)).exp().item()
        assert actual == pytest.approx(expected, rel=1e-6, abs=1e-13)


def test_mean_and_variance_are_those_of_the_levels():
    probabilities = GRID.log_prob(LEVELS).exp()
    mean = (LEVELS * probabilities).sum(0)
    torch.testing.assert_close(GRID.mean, mean)
    torch.testing.assert_close(GRID.variance, ((LEVELS - mean).square() * probabilities).sum(0), atol=1e-9, rtol=1e-6)


def test_float32_agrees_with_float64():
    single = DiscretizedLogistic(LOCS.float()[:, None], SCALES.float())
    double = DiscretizedLogistic(LOCS.float().double()[:, None], SCALES.float().double())
    torch.testing.assert_close(single.log_prob(LEVELS.float()).double(), double.log_prob(LEVELS), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("distance", [5, 50, 1000])
@pytest.mark.parametrize("scale", [1e-3, 0.1])
def test_tails_are_finite_with_gradients(distance, scale):
    loc = torch.tensor(0.5 - distance * scale, requires_grad=True)
    width = torch.tensor(scale, requires_grad=True)
    for level in [0.0, 128 / 255, 1.0]:
        log_prob = DiscretizedLogistic(loc, width).log_prob(torch.tensor(level))
        gradients = torch.autograd.grad(log_prob, (loc, width))
        assert log_prob.isfinite()
        assert all(gradient.isfinite() for gradient in gradients)
    # Far above the location, log p falls by 1 / scale a unit, so its slope in the location is that.
    assert gradients[0].item() == pytest.approx(1 / scale, rel=0.01)


def test_gradients_agree_with_finite_differences():
    loc = torch.tensor([0.2, 0.9]).double().requires_grad_()
    scale = torch.tensor([0.05, 0.3]).double().requires_grad_()
    value = torch.tensor([[0.0, 1.0], [51 / 255, 0.4]]).double()
    assert torch.autograd.gradcheck(lambda a, b: DiscretizedLogistic(a, b).log_prob(value), (loc, scale))


def test_values_between_levels_count_as_the_nearest():
    pixel = DiscretizedLogistic(torch.tensor(0.3), torch.tensor(0.1))
    assert pixel.log_prob(torch.tensor(100.4 / 255)) == pixel.log_prob(torch.tensor(100 / 255))


@pytest.mark.parametrize(("loc", "scale"), [(0.5, 0.02), (0.0, 0.1), (1.1, 0.05), (0.3, 1.0)])
def test_samples_agree_with_the_probabilities(loc, scale):
    torch.manual_seed(0)
    pixel = DiscretizedLogistic(torch.tensor(loc, dtype=torch.double), torch.tensor(scale, dtype=torch.double))
    n = 100_000
    counts = torch.bincount((pixel.sample((n,)) * 255).round().long(), minlength=256).double()
    expected = n * pixel.log_prob(LEVELS[:, 0, 0]).exp()
    frequent = expected > 10
    statistic = ((counts - expected).square() / expected)[frequent].sum()
    freedom = frequent.sum() - 1
    # The statistic is chi-squared: mean `freedom`, variance twice that.
    assert abs(statistic - freedom) < 5 * (2 * freedom).sqrt()


def test_shapes_and_inputs():
    pixels = DiscretizedLogistic(torch.zeros(3, 1), torch.ones(4))
    assert pixels.batch_shape == (3, 4)
    assert pixels.sample((2,)).shape == (2, 3, 4)
    assert pixels.expand((5, 3, 4)).log_prob(torch.zeros(4)).shape == (5, 3, 4)
    assert Independent(pixels, 2).expand((2,)).log_prob(torch.zeros(3, 4)).shape == (2,)
    value = torch.rand(3, 4)
    before = value.clone()
    pixels.log_prob(value)
    assert torch.equal(value, before)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: DiscretizedLogistic(torch.tensor(0.0), torch.tensor(0.0)), "scale"),
        (lambda: DiscretizedLogistic(torch.tensor(math.nan), torch.tensor(1.0)), "loc"),
        (lambda: DiscretizedLogistic(torch.tensor(0.0), torch.tensor(1.0), levels=1), "at least 2; got 1"),
        (lambda: GRID.log_prob(torch.tensor(1.5)), "support"),
        (lambda: GRID.log_prob(torch.zeros(7)), "7"),
    ],
)
def test_wrong_arguments_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()

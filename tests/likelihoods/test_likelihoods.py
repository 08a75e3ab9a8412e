"""Every likelihood is a distribution over images, right under any leading batch shape and any decoder."""

import math
from functools import partial

import pytest
import torch
from torch import nn

from googol.likelihoods import Bernoulli, DiscretizedLogistic, LogitNormal, Normal
from googol.networks import ConvDecoder, MLPDecoder

LIKELIHOODS = [
    partial(Bernoulli),
    partial(Normal, scale=0.1),
    partial(DiscretizedLogistic),
    *[partial(LogitNormal, precision=precision) for precision in ("diagonal", "chain", "grid")],
]


def build(likelihood, decoder=MLPDecoder, shape=(3, 8, 9)):
    torch.manual_seed(0)
    channels, *sides = shape
    outputs = likelihood.func.outputs_per_channel(**likelihood.keywords)
    return likelihood(decoder(4, (channels * outputs, *sides)))


def images(*shape):
    """Pixels within (0, 1), which every likelihood takes."""
    return (255 * torch.rand(shape) + 0.5) / 256


class Constant(nn.Module):
    """A decoder that says the same for every z."""

    def __init__(self, *channels: float):
        super().__init__()
        self.channels = torch.tensor(channels)[:, None, None]

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return self.channels.expand(*z.shape[:-1], -1, 2, 2)


@pytest.mark.parametrize("leading", [(), (5,), (2, 5)])
@pytest.mark.parametrize("decoder", [MLPDecoder, ConvDecoder])
@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_shapes(likelihood, decoder, leading):
    pixels = build(likelihood, decoder)(torch.randn(*leading, 4))
    assert pixels.batch_shape == leading
    assert pixels.event_shape == (3, 8, 9)
    assert pixels.log_prob(images(*leading, 3, 8, 9)).shape == leading
    assert pixels.sample((2,)).shape == (2, *leading, 3, 8, 9)
    assert pixels.mean.shape == (*leading, 3, 8, 9)


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_the_mean_is_a_picture_and_the_mean_of_samples(likelihood):
    pixels = build(likelihood)(torch.randn(2, 4))
    assert pixels.mean.min() >= 0
    assert pixels.mean.max() <= 1
    torch.testing.assert_close(pixels.sample((4000,)).mean(0), pixels.mean, atol=0.05, rtol=0)


@pytest.mark.parametrize("far", [0.0, 100.0, -1e4])
@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_every_parameter_gets_a_finite_gradient(likelihood, far):
    part = build(likelihood)
    pixels = part(torch.randn(5, 4) + far)
    pixels.log_prob(images(5, 3, 8, 9)).mean().backward()
    for name, parameter in part.named_parameters():
        assert parameter.grad.isfinite().all(), name
    if far == 0:
        assert all(parameter.grad.abs().max() > 0 for parameter in part.parameters())


def test_bernoulli_of_a_grey_image_is_the_expectation_over_binarized_ones():
    logit, grey = 0.7, torch.tensor([0.0, 0.25, 0.6, 1.0]).reshape(1, 2, 2)
    pixels = Bernoulli(Constant(logit))(torch.zeros(3))
    white = 1 / (1 + math.exp(-logit))
    expected = sum(float(x) * math.log(white) + (1 - float(x)) * math.log(1 - white) for x in grey.flatten())
    assert pixels.log_prob(grey).item() == pytest.approx(expected, rel=1e-6)
    patterns = torch.cartesian_prod(*[torch.tensor([0.0, 1.0])] * 4).reshape(16, 1, 2, 2)
    weights = torch.where(patterns == 1, grey, 1 - grey).flatten(1).prod(1)
    assert (weights * pixels.log_prob(patterns)).sum().item() == pytest.approx(expected, rel=1e-6)
    assert pixels.log_prob(patterns).exp().sum().item() == pytest.approx(1)


def test_normal_agrees_with_its_density():
    part = Normal(Constant(0.4), scale=0.2)
    assert part.scale.item() == pytest.approx(0.2)
    loc = 1 / (1 + math.exp(-0.4))
    x = torch.rand(1, 2, 2)
    expected = sum(-0.5 * ((float(v) - loc) / 0.2) ** 2 - math.log(0.2 * math.sqrt(2 * math.pi)) for v in x.flatten())
    assert part(torch.zeros(3)).log_prob(x).item() == pytest.approx(expected, rel=1e-5)


def test_normal_learns_the_scale_of_the_noise_but_not_below_a_grey_level():
    torch.manual_seed(0)
    for noise, expected in [(0.05, 0.05), (0.0, 1 / 255)]:
        part = Normal(Constant(0.0))
        optimizer = torch.optim.Adam(part.parameters(), 0.05)
        x = 0.5 + noise * torch.randn(500, 1, 2, 2)
        for _ in range(400):
            optimizer.zero_grad()
            (-part(torch.zeros(500, 3)).log_prob(x).mean()).backward()
            optimizer.step()
        assert part.scale.item() == pytest.approx(expected, rel=0.1)


def test_discretized_logistic_takes_locations_then_scales():
    pixels = DiscretizedLogistic(Constant(-0.5, 0.5, 2.0, -40.0))(torch.zeros(3))
    assert pixels.event_shape == (2, 2, 2)
    base = pixels.base_dist
    torch.testing.assert_close(base.loc[:, 0, 0], torch.tensor([0.0, 1.0]))
    torch.testing.assert_close(base.scale[:, 0, 0], torch.tensor([math.log(2) + 1e-3, 1e-3]))
    levels = (torch.arange(256) / 255).reshape(256, 1, 1, 1).expand(256, 2, 2, 2)
    torch.testing.assert_close(base.log_prob(levels).exp().sum(0), torch.ones(2, 2, 2))


def test_a_log_density_and_its_bin_make_the_probability_of_a_grey_level():
    z = torch.zeros(3)
    levels = (torch.arange(256) / 255).reshape(256, 1, 1, 1).expand(256, 1, 2, 2)
    logistic = DiscretizedLogistic(Constant(-0.2, -1.0))
    assert logistic(z).base_dist.log_prob(levels).add(logistic.log_bin).exp().sum(0).sub(1).abs().max() < 1e-5
    assert Normal(Constant(0.4), scale=1000.0).scale.item() == pytest.approx(1000)
    normal = Normal(Constant(0.4), scale=0.05)
    assert normal(z).base_dist.log_prob(levels).add(normal.log_bin).exp().sum(0).sub(1).abs().max() < 1e-5
    logit_normal = LogitNormal(Constant(0.3, 0.5))
    assert logit_normal.dequantized
    middles = (255 * levels + 0.5) / 256
    normal = logit_normal(z).normal.base_dist
    log_density = normal.log_prob(middles.logit()) - (middles * (1 - middles)).log()
    assert log_density.add(logit_normal.log_bin).exp().sum(0).sub(1).abs().max() < 1e-3
    assert Bernoulli.log_bin is None


@pytest.mark.parametrize("precision", ["chain", "grid"])
def test_logit_normal_links_neighbours_in_the_image(precision):
    part = build(partial(LogitNormal, precision=precision), shape=(2, 3, 4))
    pixels = part(torch.randn(4) * 3)
    linked = pixels.normal.base_dist.precision().abs() > 0
    rows, columns = torch.arange(12) // 4, torch.arange(12) % 4
    down, along = rows - rows[:, None], columns - columns[:, None]
    if precision == "chain":
        expected = (4 * down + along).abs() <= 1
    else:
        expected = (down.abs() + along.abs() <= 1) | ((down == 1) & (along == -1)) | ((down == -1) & (along == 1))
    assert torch.equal(linked, expected.expand(2, 12, 12))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Normal(Constant(0.0), scale=0.0), "above 1/255; got 0.0"),
        (lambda: Normal(Constant(0.0), scale=math.nan), "got nan"),
        (lambda: DiscretizedLogistic(Constant(0.0))(torch.zeros(3)), r"2 \* channels; got 1"),
        (lambda: LogitNormal(Constant(0.0), precision="tree"), "diagonal, chain, grid; got 'tree'"),
        (lambda: LogitNormal(Constant(0.0, 0.0), precision="chain")(torch.zeros(3)), r"3 \* channels .*chain; got 2"),
        (lambda: LogitNormal(Constant(0.0, 0.0))(torch.zeros(3)).log_prob(torch.zeros(1, 2, 2)), "strictly between"),
    ],
)
def test_wrong_arguments_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()

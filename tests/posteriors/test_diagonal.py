"""The diagonal normal posterior."""

import math

import pytest
import torch
from torch import nn

from googol.networks import ConvEncoder
from googol.posteriors import DiagonalNormal


def test_density_agrees_with_its_formula():
    outputs = torch.tensor([0.3, -1.0, 0.5, 2.0])
    posterior = DiagonalNormal(nn.Identity(), 2)(outputs)
    z = torch.tensor([0.1, 0.2])
    expected = 0.0
    for value, loc, raw in zip(z.tolist(), outputs[:2].tolist(), outputs[2:].tolist(), strict=True):
        scale = math.log(1 + math.exp(raw)) + 1e-4
        expected += -0.5 * ((value - loc) / scale) ** 2 - math.log(scale * math.sqrt(2 * math.pi))
    assert posterior.log_prob(z).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("leading", [(), (4,), (3, 4)])
def test_shapes(leading):
    posterior = DiagonalNormal(ConvEncoder((1, 8, 8), 10), 5)(torch.rand(*leading, 1, 8, 8))
    assert posterior.batch_shape == leading
    assert posterior.event_shape == (5,)
    assert posterior.rsample((2,)).shape == (2, *leading, 5)


@pytest.mark.parametrize("said", [-1e6, -1e3, 1e3, 1e15])
def test_extreme_outputs_stay_finite(said):
    outputs = torch.full((6,), said, requires_grad=True)
    posterior = DiagonalNormal(nn.Identity(), 3)(outputs)
    z = posterior.rsample()
    log_prob = posterior.log_prob(z)
    (gradient,) = torch.autograd.grad(log_prob, outputs)
    assert (posterior.stddev > 0).all()
    assert z.isfinite().all()
    assert log_prob.isfinite()
    assert gradient.isfinite().all()


def test_wrong_encoder_is_refused():
    with pytest.raises(ValueError, match=r"2 \* latents = 6 numbers; got 5"):
        DiagonalNormal(nn.Linear(4, 5), 3)(torch.zeros(2, 4))
    with pytest.raises(ValueError, match="latents to be at least 1; got 0"):
        DiagonalNormal(nn.Linear(4, 5), 0)

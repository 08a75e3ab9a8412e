"""The posterior on the sphere."""

import math

import pytest
import torch
from torch import nn

from googol.distributions import unit_sphere
from googol.networks import ConvEncoder
from googol.posteriors import VonMisesFisher


def test_parameters_are_those_the_encoder_says():
    outputs = torch.tensor([[3.0, 0.0, -4.0, 2.0]])
    q = VonMisesFisher(nn.Identity(), 3)(outputs)
    torch.testing.assert_close(q.loc, torch.tensor([[0.6, 0.0, -0.8]]), atol=5e-4, rtol=0)
    torch.testing.assert_close(q.concentration, torch.tensor([1 + math.log1p(math.exp(2))]))


@pytest.mark.parametrize("leading", [(), (4,), (3, 4)])
def test_shapes(leading):
    posterior = VonMisesFisher(ConvEncoder((1, 8, 8), VonMisesFisher.encoder_outputs(5)), 5)
    q = posterior(torch.rand(*leading, 1, 8, 8))
    assert posterior.support is unit_sphere
    assert (q.batch_shape, q.event_shape) == (leading, (5,))
    assert unit_sphere.check(q.rsample((2,))).all()


@pytest.mark.parametrize("said", [0.0, 1e-40, -1e-20, 1e-6, -1e3, 1e15, 1e30])
@pytest.mark.parametrize("latents", [2, 3, 40])
def test_extreme_outputs_stay_finite(said, latents):
    torch.manual_seed(0)
    outputs = torch.full((latents + 1,), said, requires_grad=True)
    q = VonMisesFisher(nn.Identity(), latents)(outputs)
    z = q.rsample()
    log_prob = q.log_prob(z)
    (gradient,) = torch.autograd.grad(log_prob + z.sum() + q.entropy(), outputs)
    assert unit_sphere.check(q.loc)
    assert unit_sphere.check(z)
    assert log_prob.isfinite()
    assert gradient.isfinite().all()


def test_an_encoder_that_says_nothing_can_still_learn():
    outputs = torch.zeros(5, requires_grad=True)
    q = VonMisesFisher(nn.Identity(), 4)(outputs)
    assert torch.equal(q.loc, torch.eye(4)[0])
    assert 1 < q.concentration < 2
    (gradient,) = torch.autograd.grad(q.rsample().sum(), outputs)
    assert (gradient[1:] != 0).all()


def test_mixed_precision_keeps_to_the_sphere():
    posterior = VonMisesFisher(nn.Linear(5, 4), 3)
    with torch.autocast("cpu", torch.bfloat16):
        q = posterior(torch.rand(6, 5))
        z = q.rsample()
        assert unit_sphere.check(z).all()
        (q.log_prob(z) + q.entropy()).sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in posterior.parameters())


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: VonMisesFisher(nn.Identity(), 1), "latents to be at least 2; got 1"),
        (lambda: VonMisesFisher(nn.Linear(4, 5), 3)(torch.zeros(2, 4)), r"latents \+ 1 = 4 numbers; got 5"),
    ],
)
def test_wrong_arguments_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()

"""Laws of every prior and every posterior, with two latents, where everything can be integrated on a grid."""

import math

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Independent, Normal

from googol.distributions import Normal as NormalVariable
from googol.distributions import TensorRing
from googol.models import VAE
from googol.posteriors import (
    DiagonalNormal,
    HouseholderFlow,
    InverseAutoregressiveFlow,
    PlanarFlow,
    SparseNormal,
    SylvesterFlow,
    VonMisesFisher,
)
from googol.priors import FlowPrior, HypersphericalUniform, NormalMixture, StandardNormal, VampPrior

PRIORS = {
    "standard normal": lambda posterior: StandardNormal(2),
    "mixture": lambda posterior: NormalMixture(2, components=3),
    "vamp": lambda posterior: VampPrior(posterior, (1, 1, 3), components=3),
    "ring": lambda posterior: TensorRing([NormalVariable(3)] * 2, rank=2),
    "realnvp": lambda posterior: FlowPrior(NormalMixture(2, components=3), 2, transforms=2, hidden=(8,)),
    "maf": lambda posterior: FlowPrior(StandardNormal(2), 2, flow="maf", transforms=2, hidden=(8,)),
    # Outside [-5, 5] a spline is the identity, and there is what the base learns.
    "spline": lambda posterior: FlowPrior(NormalMixture(2, components=3), 2, flow="nsf", transforms=2, hidden=(8,)),
}
POSTERIORS = {
    "diagonal": (DiagonalNormal, {}),
    "chain": (SparseNormal, {}),
    "grid": (SparseNormal, {"structure": "grid"}),
    "extended grid": (SparseNormal, {"structure": "extended-grid"}),
    "householder": (HouseholderFlow, {"flows": 2}),
    "planar": (PlanarFlow, {"flows": 3}),
    "orthogonal": (SylvesterFlow, {"flows": 2, "columns": 1}),
    "reflections": (SylvesterFlow, {"flows": 2, "orthogonalization": "householder", "reflections": 2}),
    "triangular": (SylvesterFlow, {"flows": 2, "orthogonalization": "triangular"}),
    "autoregressive": (InverseAutoregressiveFlow, {"flows": 2, "hidden": (8,), "context": 2}),
}
NOISE = 0.7
# Every prior, every posterior, and some pairs of both.
PAIRS = [
    *((prior, "diagonal") for prior in PRIORS),
    *(("standard normal", posterior) for posterior in list(POSTERIORS)[1:]),
    *zip(list(PRIORS)[1:], list(POSTERIORS)[4:], strict=True),
]


class Encoder(nn.Module):
    """A linear map of three pixels; small, and with wide posteriors, so that few weights are large."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.linear = nn.Linear(3, outputs)

    def forward(self, x: Tensor) -> Tensor:
        vector = 0.5 * self.linear(x.flatten(-3))
        return vector + (torch.arange(vector.shape[-1]) // 2 == 1)  # the raw scales


class Linear(nn.Module):
    """p(x given z) = N(A z, 0.7² I) over images of three pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.matrix = nn.Parameter(torch.tensor([[0.5, -0.3], [0.2, 0.4], [-0.1, 0.6]]))

    def forward(self, z: Tensor) -> Independent:
        return Independent(Normal((z @ self.matrix.mT).unflatten(-1, (1, 1, 3)), NOISE, validate_args=False), 3)


def make(prior: str, posterior: str) -> VAE:
    torch.manual_seed(0)
    made, options = POSTERIORS[posterior]
    part = made(Encoder(made.encoder_outputs(2, **options)), 2, **options)
    model = VAE(PRIORS[prior](part), part, Linear()).double()
    for parameter in model.prior.parameters():  # away from where flows are the identity
        parameter.data += 0.1 * torch.randn_like(parameter)
    return model


def images() -> Tensor:
    return torch.rand(4, 1, 1, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@torch.no_grad()
def exact(model: VAE, x: Tensor, span: float = 9.0, points: int = 181) -> Tensor:
    """log p(x) by the trapezoidal rule over both latents, whose error at such smooth functions is far below 1e-3."""
    axis = torch.linspace(-span, span, points, dtype=x.dtype)
    z = torch.cartesian_prod(axis, axis)
    cell = math.log((axis[1] - axis[0]).item() ** 2)
    log_prior = torch.cat([model.log_prior(part) for part in z.split(20_000)])
    return torch.stack([(model.likelihood(z).log_prob(each) + log_prior).logsumexp(0) + cell for each in x])


@torch.no_grad()
def bound(model: VAE, x: Tensor, k: int, times: int = 1) -> Tensor:
    return torch.stack([model.importance_bound(x, k) for _ in range(times)]).mean(0)


@pytest.mark.parametrize(("prior", "posterior"), PAIRS)
def test_the_bound_rises_to_the_integral(prior, posterior):
    model, x = make(prior, posterior), images()
    torch.manual_seed(2)
    bounds = [bound(model, x, k, times).mean() for k, times in ((1, 1000), (5, 200), (50, 50))]
    truth = exact(model, x)
    assert bounds[0] < bounds[1] < bounds[2] < truth.mean() + 0.01
    torch.testing.assert_close(bound(model, x, 40_000), truth, atol=0.05, rtol=0)


@pytest.mark.parametrize("prior", ["uniform", "vamp"])
def test_the_bound_rises_to_the_integral_over_the_circle(prior):
    torch.manual_seed(0)
    posterior = VonMisesFisher(Encoder(3), 2)
    part = HypersphericalUniform(2) if prior == "uniform" else VampPrior(posterior, (1, 1, 3), components=3)
    model, x = VAE(part, posterior, Linear()).double(), images()
    angles = torch.linspace(0, 2 * math.pi, 2001, dtype=torch.float64)[:-1]
    z = torch.stack([angles.cos(), angles.sin()], -1)
    with torch.no_grad():
        log_joint = torch.stack([model.likelihood(z).log_prob(each) + model.log_prior(z) for each in x])
    truth = log_joint.logsumexp(1) + math.log(2 * math.pi / len(angles))
    assert bound(model, x, 1, 1000).mean() < bound(model, x, 5, 200).mean() < truth.mean() + 0.01
    torch.testing.assert_close(bound(model, x, 40_000, 10), truth, atol=0.03, rtol=0)


@pytest.mark.parametrize("distance", [5.0, 20.0, 50.0])
@pytest.mark.parametrize("prior", PRIORS)
def test_far_from_every_component_there_is_something_to_learn_from(prior, distance):
    model = make(prior, "diagonal").float()
    z = torch.tensor([[distance, -distance]], requires_grad=True)
    density = model.log_prior(z)
    assert density.isfinite().all()
    assert density < -(distance**2) / 50
    density.sum().backward()
    assert z.grad.isfinite().all()
    assert (z.grad != 0).all()
    for name, parameter in model.prior.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
    learned = list(model.prior.parameters()) or [z]
    assert any(parameter.grad.abs().max() > 0 for parameter in learned)


@pytest.mark.parametrize(("prior", "posterior"), PAIRS)
def test_single_precision_agrees_with_double(prior, posterior):
    model, x = make(prior, posterior), images()
    single = make(prior, posterior).float()
    z = model.posterior(x).sample().float()
    torch.testing.assert_close(single.log_prior(z).double(), model.log_prior(z.double()), atol=1e-4, rtol=1e-5)
    torch.testing.assert_close(
        single.posterior(x.float()).log_prob(z).double(), model.posterior(x).log_prob(z.double()), atol=1e-3, rtol=1e-4
    )

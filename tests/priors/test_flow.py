"""The prior that is a flow over another prior."""

import pytest
import torch

from googol.distributions import Categorical, Normal, TensorRing
from googol.distributions.flows import flows
from googol.networks import MLPEncoder
from googol.posteriors import DiagonalNormal
from googol.priors import FlowPrior, HypersphericalUniform, NormalMixture, StandardNormal, VampPrior

FROM_IDENTITY = ["realnvp", "nsf", "maf", "bpf"]
FLOWS = [*FROM_IDENTITY, "sospf"]
BISECTED = {"bpf", "sospf"}
BASES = {
    "standard normal": lambda latents: StandardNormal(latents),
    "mixture": lambda latents: NormalMixture(latents, components=3),
    "ring": lambda latents: TensorRing([Normal(4)] * latents, rank=2),
}


def perturbed(base, latents, flow) -> FlowPrior:
    """As after training."""
    torch.manual_seed(0)
    prior = FlowPrior(base, latents, flow=flow, transforms=3, hidden=(16,)).double()
    with torch.no_grad():
        for parameter in prior.flow.parameters():
            parameter.add_(0.15 * torch.randn_like(parameter))
    return prior


@pytest.mark.parametrize("flow", FLOWS)
@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("latents", [1, 2, 5])
def test_starts_as_its_base_and_learns(flow, base, latents):
    torch.manual_seed(0)
    prior = FlowPrior(BASES[base](latents), latents, flow=flow, transforms=2, hidden=(8,))
    z = 2 * torch.randn(6, latents)
    if flow in FROM_IDENTITY:
        torch.testing.assert_close(prior().log_prob(z), prior.base().log_prob(z), rtol=1e-4, atol=1e-4)
    optimizer = torch.optim.SGD(prior.parameters(), 1e-3)
    for _ in range(2):
        optimizer.zero_grad()
        loss = -prior().log_prob(z).sum()
        loss.backward()
        optimizer.step()
    for parameter in prior.flow.parameters():
        # A network without inputs, that of the first variable, has a gradient in its last bias alone.
        assert parameter.grad is None or parameter.grad.isfinite().all()
    assert sum((parameter.grad != 0).any() for parameter in prior.flow.parameters()) >= 2


@pytest.mark.parametrize("flow", FLOWS)
@pytest.mark.parametrize("base", BASES)
def test_density_is_the_base_times_the_determinant(flow, base):
    prior = perturbed(BASES[base](4), 4, flow)
    f = prior.flow()
    for z in torch.randn(3, 4, dtype=torch.double):
        log_det = torch.autograd.functional.jacobian(f, z).slogdet().logabsdet
        torch.testing.assert_close(prior().log_prob(z), prior.base().log_prob(f(z)) + log_det)
        tolerance = {"rtol": 1e-5, "atol": 1e-5} if flow in BISECTED else {}
        torch.testing.assert_close(f.inv(f(z)), z, **tolerance)


@pytest.mark.parametrize("flow", FLOWS)
def test_density_integrates_to_one_and_agrees_with_samples(flow):
    prior = perturbed(StandardNormal(2), 2, flow)
    grid = torch.linspace(-12, 12, 241, dtype=torch.double)
    points = torch.cartesian_prod(grid, grid)
    with torch.no_grad():
        mass = prior().log_prob(points).exp() * (grid[1] - grid[0]) ** 2
    assert mass.sum().item() == pytest.approx(1, abs=3e-3)
    z = prior().sample((20_000,))
    assert not z.requires_grad
    error = 5 * z.std(0) / 20_000**0.5 + 0.01
    assert ((z.mean(0) - mass @ points).abs() < error).all()


def test_codes_reach_the_base_through_the_flow():
    torch.manual_seed(0)
    codes = torch.randn(300, 2, dtype=torch.double)
    prior = perturbed(NormalMixture(2, components=1), 2, "realnvp")
    prior.fit_initial(codes)
    seen = prior.flow()(codes)
    torch.testing.assert_close(prior.base.loc[0], seen.mean(0))
    ring = perturbed(TensorRing([Normal(4)] * 2, rank=2), 2, "maf")
    before = ring().log_prob(codes).mean()
    ring.fit_initial(codes)
    assert ring().log_prob(codes).mean() > before + 0.1


def test_a_flow_starts_from_what_its_base_starts_from():
    shape = (1, 4, 4)
    posterior = DiagonalNormal(MLPEncoder(shape, 4), 2)
    vamp = FlowPrior(VampPrior(posterior, shape, components=3, start="data", learnable=False), 2)
    images = torch.rand(3, *shape)
    vamp.start_from(iter([images]))
    assert torch.equal(vamp.base.images.sort(0).values, images.sort(0).values)
    assert not hasattr(vamp, "fit_initial")
    plain = FlowPrior(StandardNormal(2), 2)
    assert not hasattr(plain, "fit_initial")
    assert not hasattr(plain, "start_from")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: FlowPrior(StandardNormal(2), 2, flow="iaf"),
            "one of realnvp, nsf, maf, bpf, sospf; got 'iaf'",
        ),
        (lambda: FlowPrior(StandardNormal(2), 2, transforms=0), "transforms to be at least 1; got 0"),
        (lambda: FlowPrior(StandardNormal(3), 2)(), r"a prior of 2 latents; got the event shape \(3,\)"),
        (lambda: FlowPrior(TensorRing([Categorical(3)], 2), 1), "continuous latents; got one with discrete variables"),
        (lambda: FlowPrior(HypersphericalUniform(2), 2), "all of space; got one on the unit sphere"),
    ],
)
def test_wrong_arguments_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(
    "flow",
    [flows.NICE(3, hidden_features=(8,)), flows.NAF(3, transforms=1, hidden_features=(8,)), flows.GF(3, transforms=1)],
    ids=lambda flow: type(flow).__name__,
)
def test_any_flow_of_the_library_will_do(flow):
    torch.manual_seed(0)
    prior = FlowPrior(TensorRing([Normal(4)] * 3, rank=2), 3, flow=flow).double()
    f = prior.flow()
    z = torch.randn(3, dtype=torch.double)
    log_det = torch.autograd.functional.jacobian(f, z).slogdet().logabsdet
    torch.testing.assert_close(prior().log_prob(z), prior.base().log_prob(f(z)) + log_det)
    assert prior().sample((5,)).shape == (5, 3)
    assert len(list(prior.parameters())) > len(list(prior.base.parameters()))


def test_a_module_that_is_no_flow_is_refused():
    with pytest.raises(TypeError, match="Expected flow to be a family or a flow of zuko; got Identity"):
        FlowPrior(StandardNormal(2), 2, flow=torch.nn.Identity())

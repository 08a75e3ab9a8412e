"""Mixtures against torch's, and against their formula where numbers are extreme."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.distributions import Categorical, Independent, Laplace, MixtureSameFamily, Normal, StudentT

from googol.distributions import Mixture, VonMisesFisher, mixture


def normals(components: int, dim: int, dtype=torch.float64, *, scale: float = 1.0, centre: float = 0.0) -> Independent:
    generator = torch.Generator().manual_seed(components * dim)
    loc = centre + torch.randn(components, dim, generator=generator, dtype=torch.float64)
    scales = scale * (0.3 + torch.rand(components, dim, generator=generator, dtype=torch.float64))
    return Independent(Normal(loc.to(dtype).requires_grad_(), scales.to(dtype).requires_grad_()), 1)


def logits(components: int, dtype=torch.float64) -> torch.Tensor:
    return torch.linspace(-1, 1, components, dtype=dtype).requires_grad_()


@pytest.mark.parametrize("family", ["normal", "laplace", "student"])
@pytest.mark.parametrize(("components", "dim"), [(1, 1), (3, 2), (40, 7)])
def test_agrees_with_torch(family, components, dim):
    base = normals(components, dim).base_dist
    each = {"normal": base, "laplace": Laplace(base.loc, base.scale), "student": StudentT(3.0, base.loc, base.scale)}
    batch = Independent(each[family], 1)
    ours, theirs = Mixture(logits(components), batch), MixtureSameFamily(Categorical(logits=logits(components)), batch)
    z = torch.randn(5, 4, dim, dtype=torch.float64, generator=torch.Generator().manual_seed(0), requires_grad=True)
    inputs = (z, base.loc, base.scale, ours.logits)
    torch.testing.assert_close(ours.log_prob(z), theirs.log_prob(z))
    torch.testing.assert_close(ours.mean, theirs.mean)
    torch.testing.assert_close(ours.variance, theirs.variance)
    gradients = torch.autograd.grad(ours.log_prob(z).sum(), inputs)
    expected = torch.autograd.grad(theirs.log_prob(z).sum(), inputs[:3])
    for gradient, true in zip(gradients, expected, strict=False):
        torch.testing.assert_close(gradient, true)
    assert gradients[3].isfinite().all()


@pytest.mark.parametrize("scale", [1e-6, 1e-3])
def test_double_precision_keeps_its_digits(scale):
    batch, z = normals(6, 3, scale=scale, centre=300.0), torch.zeros(2, 3, dtype=torch.float64)
    z[0] = batch.base_dist.loc[2].detach() + scale
    expected = MixtureSameFamily(Categorical(logits=logits(6)), batch).log_prob(z)
    torch.testing.assert_close(Mixture(logits(6), batch).log_prob(z), expected, rtol=1e-13, atol=1e-10)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_nothing_is_at_infinity(dtype):
    z = torch.zeros(3, 2, dtype=dtype)
    z[0, 1], z[1, 0] = torch.inf, -torch.inf
    p = Mixture(logits(4, dtype), normals(4, 2, dtype))
    assert p.log_prob(z)[:2].tolist() == [-torch.inf, -torch.inf]
    assert p.log_prob(z)[2].isfinite()


@pytest.mark.parametrize("scale", [1e-4, 0.01, 1.0])
@pytest.mark.parametrize("centre", [0.0, 300.0])
@pytest.mark.parametrize("distance", [0.0, 1.0, 20.0, 1000.0])
def test_single_precision_is_sound_near_and_far(scale, centre, distance):
    single = normals(30, 10, torch.float32, scale=scale, centre=centre)
    base = single.base_dist
    z = (base.loc[:6] + distance * base.scale[:6]).detach().requires_grad_()
    log_prob = Mixture(logits(30, torch.float32), single).log_prob(z)
    assert log_prob.dtype == torch.float32
    gradients = torch.autograd.grad(log_prob.sum(), (z, base.loc, base.scale))
    exact = [tensor.detach().double().requires_grad_() for tensor in (z, base.loc, base.scale)]
    batch = Independent(Normal(exact[1], exact[2]), 1)
    true = MixtureSameFamily(Categorical(logits=logits(30).float().double()), batch).log_prob(exact[0])
    torch.testing.assert_close(log_prob.double(), true, rtol=1e-6, atol=1e-4)
    for gradient, expected in zip(gradients, torch.autograd.grad(true.sum(), exact), strict=True):
        torch.testing.assert_close(gradient.double(), expected, rtol=1e-4, atol=1e-4 / scale)


@pytest.mark.parametrize("chunk", [1, 50, 10**6])
def test_pieces_make_the_whole(chunk, monkeypatch):
    monkeypatch.setattr(mixture, "_CHUNK", chunk)
    batch = normals(5, 3)
    z = torch.randn(7, 2, 3, dtype=torch.float64)
    expected = MixtureSameFamily(Categorical(logits=logits(5)), batch).log_prob(z)
    torch.testing.assert_close(Mixture(logits(5), batch).log_prob(z), expected)
    general = Independent(batch, 0)
    torch.testing.assert_close(Mixture(logits(5), general).log_prob(z), expected)


def test_samples_agree_with_the_density():
    torch.manual_seed(0)
    p = Mixture(logits(4), normals(4, 2, scale=0.5))
    z = p.sample((200_000,))
    torch.testing.assert_close(z.mean(0), p.mean, atol=0.02, rtol=0)
    torch.testing.assert_close(z.var(0), p.variance, atol=0.03, rtol=0)
    # Cells of a grid, by chi-squared.
    edges = torch.linspace(-3, 3, 13, dtype=torch.float64)
    counts = torch.histogramdd(z.detach(), [edges, edges]).hist
    nodes = torch.linspace(-3, 3, 12 * 20 + 1, dtype=torch.float64)
    nodes = (nodes[1:] + nodes[:-1]) / 2
    density = p.log_prob(torch.cartesian_prod(nodes, nodes)).exp().view(12, 20, 12, 20).sum((1, 3)) * (6 / 240) ** 2
    expected = density.detach() * len(z)
    frequent = expected > 20
    statistic = ((counts - expected).square() / expected)[frequent].sum()
    freedom = frequent.sum()
    assert abs(statistic - freedom) < 5 * (2 * freedom).sqrt()


def test_samples_are_independent_of_each_other():
    torch.manual_seed(0)
    z = Mixture(logits(3), normals(3, 1)).sample((20_000, 2))[..., 0]
    assert abs(torch.corrcoef(z.mT)[0, 1]) < 0.03


@pytest.mark.parametrize("family", [Normal, Laplace])
def test_uneven_weights_do_not_take_more_memory(family, monkeypatch):
    """However often one component is drawn, no more is drawn at once than there are samples, or about so."""
    torch.manual_seed(0)
    drawn, original = [], Laplace.sample

    def sample(self, shape=()):
        found = original(self, shape)
        drawn.append(found.numel())
        return found

    monkeypatch.setattr(Laplace, "sample", sample)
    uneven = torch.tensor([0.0, -4.0, -30.0, -30.0])
    loc = torch.tensor([[0.0], [100.0], [200.0], [300.0]])
    z = Mixture(uneven, Independent(family(loc, torch.ones(4, 1)), 1)).sample((3000,))
    assert all(count <= 3000 for count in drawn)
    assert 0.01 < (z > 50).float().mean() < 0.03
    assert abs(z[z < 50].mean()) < 0.1
    assert len(z.unique()) == 3000


def test_mixtures_of_other_distributions():
    loc = torch.nn.functional.normalize(torch.randn(6, 3, dtype=torch.float64), dim=-1)
    p = Mixture(logits(6), VonMisesFisher(loc, torch.full((6,), 8.0, dtype=torch.float64)), validate_args=True)
    z = p.sample((50,))
    expected = (p.components.log_prob(z.unsqueeze(1)) + logits(6).log_softmax(0)).logsumexp(1)
    torch.testing.assert_close(p.log_prob(z), expected)


@given(batch=st.lists(st.integers(1, 3), max_size=2), sample=st.lists(st.integers(0, 3), max_size=2))
def test_shapes(batch, sample):
    p = Mixture(logits(4), normals(4, 3)).expand(batch)
    assert (p.batch_shape, p.event_shape) == (tuple(batch), (3,))
    z = p.sample(tuple(sample))
    assert z.shape == (*sample, *batch, 3)
    assert p.log_prob(z).shape == (*sample, *batch)
    assert p.log_prob(torch.zeros(3, dtype=torch.float64)).shape == tuple(batch)
    assert p.mean.shape == p.variance.shape == (*batch, 3)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Mixture(torch.zeros(2), normals(3, 2)), r"got \(2,\), \(3,\) and \(2,\)"),
        (lambda: Mixture(torch.zeros(2, 3), normals(3, 2)), r"got \(2, 3\), \(3,\)"),
        (lambda: Mixture(torch.zeros(3), Normal(torch.zeros(3), 1.0)), r"got \(3,\), \(3,\) and \(\)"),
        (lambda: Mixture(torch.full((3,), math.nan), normals(3, 2)), "logits"),
        (lambda: Mixture(logits(3), normals(3, 2)).log_prob(torch.zeros(4, 1)), r"shape \(…, 2\), got \(4, 1\)"),
        (lambda: Mixture(logits(3), normals(3, 2)).log_prob(torch.full((2,), math.nan)), "support"),
    ],
)
def test_wrong_arguments_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def solved(ours: Mixture, u: torch.Tensor) -> torch.Tensor:
    """The values with the distribution functions u, coordinate by coordinate, by bisection."""
    base = ours.components.base_dist
    chosen: list[torch.Tensor] = []
    for j in range(u.shape[-1]):
        before = sum((Normal(base.loc[:, i], base.scale[:, i]).log_prob(chosen[i][:, None]) for i in range(j)), start=0)
        weights = (ours.logits + before).softmax(-1)
        low, high = torch.full_like(u[:, j], -50), torch.full_like(u[:, j], 50)
        for _ in range(80):
            middle = (low + high) / 2
            below = (weights * Normal(base.loc[:, j], base.scale[:, j]).cdf(middle[:, None])).sum(-1)
            low, high = torch.where(below < u[:, j], middle, low), torch.where(below < u[:, j], high, middle)
        chosen.append((low + high) / 2)
    return torch.stack(chosen, -1)


@pytest.mark.parametrize("chunk", [3, 10**6])
def test_gradients_of_samples_move_them_at_constant_distribution_functions(chunk, monkeypatch):
    monkeypatch.setattr(mixture, "_CHUNK", chunk)
    torch.manual_seed(3)
    ours = Mixture(logits(4), normals(4, 3))
    base, z = ours.components.base_dist, ours.rsample((6,))
    parameters = (ours.logits, base.loc, base.scale)
    directions = [torch.randn_like(parameter) for parameter in parameters]

    def moved(step: float) -> Mixture:
        logit, loc, scale = ((p + step * by).detach() for p, by in zip(parameters, directions, strict=True))
        return Mixture(logit, Independent(Normal(loc, scale), 1))

    here = moved(0.0)
    rows = z.detach()
    weights = [here.logits.expand(6, -1)]
    for j in range(2):
        each = Normal(here.components.base_dist.loc[:, j], here.components.base_dist.scale[:, j])
        weights.append(weights[-1] + each.log_prob(rows[:, j, None]))
    u = torch.stack([(w.softmax(-1) * here.components.base_dist.cdf(rows[:, None])[..., j]).sum(-1)
                     for j, w in enumerate(weights)], -1)  # fmt: skip
    torch.testing.assert_close(solved(here, u), rows)
    expected = (solved(moved(1e-5), u) - solved(moved(-1e-5), u)) / 2e-5
    for row in range(6):
        for j in range(3):
            gradients = torch.autograd.grad(z[row, j], parameters, retain_graph=True)
            along = sum((g * d).sum() for g, d in zip(gradients, directions, strict=True))
            torch.testing.assert_close(along, expected[row, j], rtol=1e-5, atol=1e-7)


def test_samples_of_other_components_have_no_gradients():
    p = Mixture(logits(3), VonMisesFisher(torch.eye(3, dtype=torch.float64), torch.ones(3, dtype=torch.float64)))
    assert not p.has_rsample
    with pytest.raises(NotImplementedError, match="independent normals"):
        p.rsample((2,))

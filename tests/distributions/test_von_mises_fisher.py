"""The sphere's distributions against Bessel functions, quadrature and derivatives in float64."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.special import gammaln, ive
from scipy.stats import kstest
from torch.distributions import Independent, Normal, kl_divergence

from googol.distributions import HypersphericalUniform, VonMisesFisher, unit_sphere

DIMS = [2, 3, 4, 10, 50, 200]
CONCENTRATIONS = [1e-6, 1e-2, 1.0, 7.0, 100.0, 1e3, 1e5]


def axis(dim: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.eye(dim, dtype=dtype)[-1]


def direction(dim: int, seed: int = 0) -> torch.Tensor:
    vector = torch.randn(dim, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return vector / vector.norm()


def exact(kappa: float, dim: int) -> tuple[float, float]:
    """The log of the normaliser C(κ), and the mean resultant length, from scipy's Bessel functions."""
    order = dim / 2 - 1
    if kappa > 0 and ive(order, kappa) > 1e-290:
        log_bessel = math.log(ive(order, kappa)) + kappa
        length = ive(order + 1, kappa) / ive(order, kappa)
    else:  # the first terms of the series
        log_bessel = order * math.log(kappa / 2) - gammaln(order + 1) + math.log1p(kappa**2 / (4 * order + 4))
        length = kappa / dim
    return order * math.log(kappa) - dim / 2 * math.log(2 * math.pi) - log_bessel, length


@pytest.mark.parametrize("dim", DIMS)
def test_normaliser_and_mean_agree_with_bessel_functions(dim):
    for kappa in CONCENTRATIONS:
        p = VonMisesFisher(axis(dim), torch.tensor(kappa, dtype=torch.double))
        log_normaliser, length = exact(kappa, dim)
        assert p.log_prob(axis(dim)).item() == pytest.approx(log_normaliser + kappa, rel=1e-10, abs=1e-9)
        assert p.mean[-1].item() == pytest.approx(length, rel=1e-7)
        assert p.entropy().item() == pytest.approx(-log_normaliser - kappa * length, rel=1e-9, abs=1e-6)


@pytest.mark.parametrize("dim", DIMS)
def test_single_precision_agrees_with_double(dim):
    kappa = torch.tensor([0.0, *CONCENTRATIONS])
    mean = direction(dim).float()
    single, double = VonMisesFisher(mean, kappa), VonMisesFisher(mean.double(), kappa.double())
    torch.manual_seed(0)
    z = single.sample((50,))
    assert z.dtype == torch.float32
    torch.testing.assert_close(single.log_prob(z).double(), double.log_prob(z.double()), rtol=3e-6, atol=2e-4)
    torch.testing.assert_close(single.mean.double(), double.mean, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(single.variance.double(), double.variance, rtol=1e-4, atol=1e-9)
    torch.testing.assert_close(single.entropy().double(), double.entropy(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kappa", [0.0, 0.3, 5.0, 60.0])
def test_density_integrates_to_one(kappa):
    turn = torch.linspace(0, 2 * math.pi, 2001, dtype=torch.double)[:-1]
    concentration = torch.tensor(kappa, dtype=torch.double)
    circle = torch.stack([turn.cos(), turn.sin()], -1)
    total = VonMisesFisher(direction(2), concentration).log_prob(circle).exp().mean() * 2 * math.pi
    assert total.item() == pytest.approx(1, abs=1e-10)

    nodes, weights = map(torch.from_numpy, np.polynomial.legendre.leggauss(120))
    height, turn = torch.broadcast_tensors(nodes[:, None], turn[::10])
    radius = (1 - height**2).sqrt()
    sphere = torch.stack([radius * turn.cos(), radius * turn.sin(), height], -1)
    density = VonMisesFisher(direction(3), concentration).log_prob(sphere).exp()
    assert ((density.mean(1) * weights).sum() * 2 * math.pi).item() == pytest.approx(1, abs=1e-10)


@pytest.mark.parametrize("dim", [2, 3, 5, 40])
@pytest.mark.parametrize("kappa", [1e-6, 0.7, 20.0, 1e5])
def test_samples_agree_with_the_density(dim, kappa):
    torch.manual_seed(dim)
    mean = direction(dim)
    z = VonMisesFisher(mean, torch.tensor(kappa, dtype=torch.double)).sample((4000,))
    torch.testing.assert_close(z.norm(dim=-1), torch.ones(4000, dtype=torch.double))
    scale = 2 / (dim - 1 + kappa)  # of 1 − cos, so that the quadrature sees where the density is

    def density(t: float) -> float:
        return (t * (2 - t)) ** ((dim - 3) / 2) * math.exp(-kappa * t)

    # In s = √t, which has no pole at the ends in two dimensions.
    grid = np.linspace(0, math.sqrt(min(2, 30 * dim * scale)), 400)[:-1]
    grid = np.append(grid, math.sqrt(min(2, 30 * dim * scale)) * (1 - 1e-9))
    pieces = [quad(lambda s: 2 * s * density(s * s), a, b)[0] for a, b in itertools.pairwise(grid)]
    cdf = np.append(0, np.cumsum(pieces)) / sum(pieces)
    gaps = 0.5 * (z - mean).square().sum(-1)
    assert kstest(np.sqrt(gaps.numpy()), lambda s: np.interp(s, grid, cdf)).pvalue > 1e-3
    # Around the mean, all directions are alike.
    across = z - (z @ mean).unsqueeze(-1) * mean
    across = across / across.norm(dim=-1, keepdim=True)
    assert (across.mean(0).abs() < 5 / math.sqrt(4000 * (dim - 1))).all()


def test_moments_agree_with_those_of_samples():
    torch.manual_seed(0)
    kappa = torch.tensor([0.0, 1.0, 30.0], dtype=torch.double)
    for dim in (2, 3, 12):
        p = VonMisesFisher(direction(dim), kappa)
        z = p.sample((40_000,))
        torch.testing.assert_close(p.mean, z.mean(0), atol=0.015, rtol=0)
        torch.testing.assert_close(p.variance, z.var(0), atol=0.015, rtol=0)
        torch.testing.assert_close(p.entropy(), -p.log_prob(z).mean(0), atol=0.05, rtol=0)


@pytest.mark.parametrize("dim", [2, 3, 6])
@pytest.mark.parametrize("kappa", [0.5, 4.0, 50.0])
def test_gradients_of_expectations_are_exact(dim, kappa):
    """E[z] = A(κ) μ and E[(cᵀz)²] have gradients in closed form; those of the samples agree with them."""
    torch.manual_seed(1)
    said = (2 * direction(dim, 3)).requires_grad_()
    concentration = torch.tensor(kappa, dtype=torch.double, requires_grad=True)
    along = direction(dim, 4)
    p = VonMisesFisher(said / said.norm(), concentration)
    n = 40_000
    copies = [said.detach().expand(n, -1).clone().requires_grad_(), concentration.detach().repeat(n).requires_grad_()]
    z = VonMisesFisher(copies[0] / copies[0].norm(dim=-1, keepdim=True), copies[1]).rsample()
    projected = z @ along
    a = p.mean @ along
    second = (1 - dim * (p.mean.norm() / concentration)) * (p.loc @ along).square() + p.mean.norm() / concentration
    for drawn, expectation in [(projected, a), (projected.square(), second)]:
        gradients = torch.autograd.grad(drawn.sum(), copies, retain_graph=True)
        expected = torch.autograd.grad(expectation, [said, concentration], retain_graph=True)
        for each, true in zip(gradients, expected, strict=True):
            error = 5 * each.std(0) / math.sqrt(n) + 1e-12
            assert ((each.mean(0) - true).abs() < error).all()


@pytest.mark.parametrize("dim", [2, 3, 30])
def test_the_angle_moves_along_its_quantile(dim):
    """One draw's derivative against that of the quantile at which it lies, from the density alone."""
    from googol.distributions.von_mises_fisher import _Angle, _ImplicitAngle

    def share(theta: float, kappa: float) -> float:
        def density(t: float) -> float:
            return math.sin(t) ** (dim - 2) * math.exp(kappa * (math.cos(t) - 1))

        options = {"epsabs": 0, "epsrel": 1e-12}
        below, above = quad(density, 0, theta, **options)[0], quad(density, theta, math.pi, **options)[0]
        return below / (below + above)

    for kappa in (0.5, 10.0):
        middle = math.acos(exact(kappa, dim)[1])
        for theta in (0.6 * middle, 0.95 * middle, 1.1 * middle, min(1.5 * middle, 3.0)):
            step = 1e-4
            by_kappa = (share(theta, kappa + step) - share(theta, kappa - step)) / (2 * step)
            by_theta = (share(theta + step, kappa) - share(theta - step, kappa)) / (2 * step)
            concentration = torch.tensor(kappa, dtype=torch.double, requires_grad=True)
            gap = _Angle.of(concentration, dim).gap.detach()
            moved = _ImplicitAngle.apply(torch.tensor(theta, dtype=torch.double), concentration, gap, dim)
            (slope,) = torch.autograd.grad(moved, concentration)
            assert slope.item() == pytest.approx(-by_kappa / by_theta, rel=1e-4)


@pytest.mark.parametrize("dim", [2, 3, 9])
def test_log_prob_entropy_and_moments_pass_gradcheck(dim):
    kappa = torch.tensor([0.2, 3.0, 80.0], dtype=torch.double, requires_grad=True)
    said = torch.randn(3, dim, dtype=torch.double, generator=torch.Generator().manual_seed(0)).requires_grad_()
    value = direction(dim, 5)

    def functions(said, kappa):
        p = VonMisesFisher(said / said.norm(dim=-1, keepdim=True), kappa)
        return p.log_prob(value), p.entropy(), p.mean, p.variance

    assert torch.autograd.gradcheck(functions, (said, kappa))


@pytest.mark.parametrize("dim", [2, 3, 50, 400])
@pytest.mark.parametrize("sign", [1, -1])
def test_extremes_are_finite_with_gradients(dim, sign):
    torch.manual_seed(0)
    mean = (sign * torch.eye(dim)[0]).requires_grad_()  # where the reflection could be undefined
    kappa = torch.tensor([0.0, 1e-30, 1e-6, 1.0, 1e5, 1e10]).requires_grad_()
    p = VonMisesFisher(mean, kappa)
    z = p.rsample((100,))
    torch.testing.assert_close(z.detach().norm(dim=-1), torch.ones(100, 6))
    log_prob = p.log_prob(z)
    gradients = torch.autograd.grad((log_prob + z.sum(-1)).sum() + p.entropy().sum(), (mean, kappa))
    assert log_prob.isfinite().all()
    assert all(gradient.isfinite().all() for gradient in gradients)


def test_what_is_not_a_number_stays_so():
    p = VonMisesFisher(axis(3), torch.tensor([math.nan, 1.0], dtype=torch.double), validate_args=False)
    assert p.sample().isnan().any(-1).tolist() == [True, False]


def test_the_opposite_pole_is_finite():
    p = VonMisesFisher(axis(3, torch.float32), torch.tensor(1e5))
    assert p.log_prob(-axis(3, torch.float32)).item() == pytest.approx(exact(1e5, 3)[0] - 1e5, rel=1e-5)


def test_divergence_from_the_uniform():
    torch.manual_seed(0)
    for dim in (2, 3, 20):
        p = VonMisesFisher(direction(dim), torch.tensor([0.0, 0.5, 5.0, 100.0], dtype=torch.double))
        q = HypersphericalUniform(dim, dtype=torch.double)
        z = p.sample((20_000,))
        terms = p.log_prob(z) - q.log_prob(z)
        error = 5 * terms.std(0) / math.sqrt(20_000) + 1e-10
        assert ((kl_divergence(p, q) - terms.mean(0)).abs() < error).all()
        assert kl_divergence(p, q)[0].abs() < 1e-10


@given(
    batch=st.lists(st.integers(1, 3), max_size=2),
    sample=st.lists(st.integers(1, 3), max_size=2),
    dim=st.integers(2, 5),
    scalar=st.booleans(),
)
def test_shapes(batch, sample, dim, scalar):
    mean = direction(dim).expand(*batch, dim)
    p = VonMisesFisher(mean, torch.tensor(2.0).double() if scalar else torch.full(batch, 2.0).double())
    q = HypersphericalUniform(dim, tuple(batch), dtype=torch.double)
    for each in (p, q):
        assert each.batch_shape == tuple(batch)
        assert each.event_shape == (dim,)
        z = each.rsample(tuple(sample))
        assert z.shape == (*sample, *batch, dim)
        assert unit_sphere.check(z).all()
        assert each.log_prob(z).shape == (*sample, *batch)
        assert each.expand((4, *batch)).log_prob(z[(0,) * len(sample)]).shape == (4, *batch)
        assert each.mean.shape == each.variance.shape == (*batch, dim)
        assert Independent(each.expand((2, *batch)), 1).log_prob(z[(0,) * len(sample)]).shape == (2, *batch)[:-1]


@pytest.mark.parametrize("dim", [2, 3, 7])
def test_the_uniform_has_its_area_and_moments(dim):
    uniform = HypersphericalUniform(dim)
    area = {2: 2 * math.pi, 3: 4 * math.pi, 7: 16 * math.pi**3 / 15}[dim]
    assert uniform.entropy().item() == pytest.approx(math.log(area))
    assert uniform.log_prob(axis(dim).float()).item() == pytest.approx(-math.log(area))
    torch.manual_seed(0)
    z = uniform.sample((20_000,))
    torch.testing.assert_close(z.mean(0), uniform.mean, atol=0.03, rtol=0)
    torch.testing.assert_close(z.var(0), uniform.variance, atol=0.03, rtol=0)


def test_no_concentration_is_the_uniform_and_a_large_one_is_normal_across():
    mean = direction(4)
    z = direction(4, 9)
    p = VonMisesFisher(mean, torch.tensor([0.0, 1e5], dtype=torch.double))
    assert p.log_prob(z)[0].item() == pytest.approx(HypersphericalUniform(4).log_prob(z).item())
    near = mean + 0.003 * (z - (z @ mean) * mean)
    near = near / near.norm()
    normal = Normal(0.0, torch.tensor(1e5**-0.5, dtype=torch.double))
    across = (near - mean).norm()
    expected = normal.log_prob(across) + 2 * normal.log_prob(torch.zeros((), dtype=torch.double))
    assert p.log_prob(near)[1].item() == pytest.approx(expected.item(), abs=1e-3)


def test_what_is_known_of_the_angle_follows_the_concentration():
    """As that of a normal distribution follows its parameters, which an optimiser changes in place."""
    kappa = torch.tensor(1.0, requires_grad=True)
    p, z = VonMisesFisher(axis(3, torch.float32), kappa), axis(3, torch.float32).roll(1)
    for _ in range(2):
        p.log_prob(z).backward()
    with torch.no_grad():
        kappa.fill_(50.0)
    torch.testing.assert_close(p.log_prob(z), VonMisesFisher(axis(3, torch.float32), kappa).log_prob(z))


def test_gradients_flow_after_a_call_without_them():
    from googol.distributions.von_mises_fisher import _gauss_legendre

    _gauss_legendre.cache_clear()
    with torch.inference_mode():
        VonMisesFisher(axis(3, torch.float32), torch.tensor(3.0)).entropy()
    kappa = torch.tensor(3.0, requires_grad=True)
    p = VonMisesFisher(axis(3, torch.float32), kappa)
    with torch.no_grad():
        z = p.sample()
        assert p.mean.isfinite().all()
        p.log_prob(z)
    assert torch.autograd.grad(p.log_prob(z), kappa)[0].isfinite()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: HypersphericalUniform(1), "dim to be at least 2; got 1"),
        (lambda: VonMisesFisher(torch.ones(1), torch.tensor(1.0)), "at least 2 numbers; got shape \\(1,\\)"),
        (lambda: VonMisesFisher(torch.tensor(1.0), torch.tensor(1.0)), "got shape \\(\\)"),
        (lambda: VonMisesFisher(torch.ones(3), torch.tensor(1.0)), "loc"),
        (lambda: VonMisesFisher(axis(3), torch.tensor(-1.0)), "concentration"),
        (lambda: VonMisesFisher(axis(3), torch.tensor(1.0)).log_prob(torch.ones(3)), "support"),
        (lambda: HypersphericalUniform(3).log_prob(torch.ones(3)), "support"),
        (
            lambda: kl_divergence(VonMisesFisher(axis(3), torch.tensor(1.0)), HypersphericalUniform(4)),
            "one sphere; got 3, 4",
        ),
    ],
)
def test_wrong_arguments_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()

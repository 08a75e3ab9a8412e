"""Samples against densities, and derivatives of samples against those of exact expectations and inverted CDFs."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from oracles import random_pair, random_values
from scipy.optimize import brentq
from scipy.stats import chisquare, kstest, norm
from torch import Tensor

from googol.distributions import Categorical, Interval, Normal, TensorRing
from googol.distributions.sampling import draw

NAN = float("nan")
BOUNDARIES = ["ring", "train"]
# A right sampler fails a test of this file once in a hundred thousand seeds; the seeds are fixed.
UNLIKELY = 1e-5


@pytest.fixture(params=BOUNDARIES)
def boundary(request):
    return request.param


def check_frequencies(sample: Tensor, log_prob, sizes: list[int]) -> None:
    """A chi-squared test of discrete samples ``(S, n)`` over all states."""
    states = torch.tensor(list(itertools.product(*map(range, sizes))), dtype=sample.dtype)
    expected = log_prob(states).exp().detach().double().numpy()
    assert expected.sum() == pytest.approx(1, abs=1e-4)
    flat = np.ravel_multi_index(sample.long().numpy().T, sizes)
    observed = np.bincount(flat, minlength=len(states))
    assert observed[expected == 0].sum() == 0
    possible = expected > 0
    result = chisquare(observed[possible], expected[possible] / expected[possible].sum() * len(sample))
    assert result.pvalue > UNLIKELY


# -- goodness of fit


@pytest.mark.parametrize("rank", [1, 3, 8])
def test_discrete_samples(rank, boundary):
    torch.manual_seed(rank)
    sizes = [3, 2, 4, 2]
    ring = TensorRing([Categorical(n) for n in sizes], rank, boundary)
    sample = ring().sample((20_000,))
    check_frequencies(sample, ring().log_prob, sizes)


def test_discrete_samples_of_a_sparse_ring(boundary):
    torch.manual_seed(0)
    cores = [torch.rand(3, 4, 4) * (torch.rand(3, 4, 4) < 0.4) for _ in range(4)]
    ring = TensorRing([Categorical(3)] * 4, 4, boundary, cores=cores)
    check_frequencies(ring().sample((20_000,)), ring().log_prob, [3] * 4)


def test_conditional_samples_each_row_with_its_own_pattern(boundary):
    torch.manual_seed(1)
    kinds = ["c3", "n2", "c2", "c4"]
    ring = random_pair(kinds, 3, boundary, seed=1, dtype=torch.float32).ring
    evidence = torch.tensor([[NAN, 0.5, NAN, NAN], [NAN, -2.0, 1.0, NAN], [2.0, NAN, NAN, 3.0], [NAN, NAN, NAN, NAN]])
    conditional = ring().condition(evidence)
    sample = conditional.sample((20_000,))
    observed = ~evidence.isnan()
    assert torch.equal(sample[:, observed], evidence[observed].expand(20_000, -1))
    for row, given in enumerate(evidence):
        open_discrete = [j for j in (0, 2, 3) if given[j].isnan()]
        marginal = ring().condition(given).marginal(open_discrete)
        sizes = [[3, 2, 2, 4][j] for j in open_discrete]
        check_frequencies(sample[:, row][:, open_discrete], marginal.log_prob, sizes)


@pytest.mark.parametrize("kernels", ["", "0"])
def test_one_sample_of_each_of_many_rows(kernels, boundary, monkeypatch):
    """The first bond of each row is drawn before what follows depends on it, with the kernel and without."""
    monkeypatch.setenv("GOOGOL_KERNELS", kernels)
    torch.manual_seed(2)
    sizes = [3, 2, 4, 2, 3]
    joint = random_pair([f"c{n}" for n in sizes], 4, boundary, seed=2, dtype=torch.float32).ring()
    patterns = torch.tensor(
        [[NAN, 1.0, NAN, NAN, NAN], [0.0, NAN, NAN, 1.0, NAN], [NAN] * 5, [NAN, NAN, 2.0, NAN, 1.0]]
    )
    evidence = patterns.repeat(15_000, 1)
    sample = joint.condition(evidence).sample()
    assert torch.equal(sample[~evidence.isnan()], evidence[~evidence.isnan()])
    for row, given in enumerate(patterns):
        open_ones = given.isnan().nonzero().flatten().tolist()
        marginal = joint.condition(given).marginal(open_ones)
        check_frequencies(sample[row::4][:, open_ones], marginal.log_prob, [sizes[j] for j in open_ones])


@pytest.mark.parametrize("kernels", ["", "0"])
def test_rows_whose_product_loses_precision_are_drawn_by_messages(kernels, boundary, monkeypatch):
    """Every link keeps a block that the next ones leave: the joint product of a ring underflows, its lines do not."""
    monkeypatch.setenv("GOOGOL_KERNELS", kernels)
    torch.manual_seed(0)
    n, off = 6, 30.0
    inside = torch.eye(2).expand(2, -1, -1) * torch.tensor([[[1.0], [0.0]], [[0.0], [1.0]]])
    cores = [inside + torch.eye(2) * np.exp(-off) for _ in range(n)]  # component k stays in block k, or nearly
    joint = TensorRing([Categorical(2)] * n, 2, boundary, cores=cores)()
    evidence = torch.tensor([[0.0, 1.0, 0.0, 1.0, 1.0, NAN], [0.0] * 5 + [NAN]]).repeat(500, 1)
    sample = joint.condition(evidence).sample()[:, -1].view(500, 2)
    given = joint.condition(evidence[:2])
    probs = given.component_probs()[:, -1, 1]
    assert (sample.mean(0) - probs).abs().max() < 0.01


def integral_transform(sample: Tensor, ring: TensorRing, given: Tensor) -> np.ndarray:
    """F(z_j given z_<j and what is given) of every open variable, ``(S, open)``: uniform if the sampler is right.

    The weights of each mixture come from densities of prefixes alone, one component after the other.
    """
    cores, columns = [core.detach() for core in ring.cores], []
    for j in given.isnan().nonzero().flatten().tolist():
        loc, scale = (p[j].double() for p in parameters(ring))
        prefix = given.expand(len(sample), -1).clone()
        prefix[:, :j] = sample[:, :j].double()
        log_weights = []
        for s in range(len(loc)):
            only = [core.clone() for core in cores]
            only[j] = torch.zeros_like(only[j])
            only[j][s] = cores[j][s]
            other = TensorRing(ring.variables, ring.rank, ring.boundary, cores=only, dtype=torch.float64)()
            log_weights.append(other.log_prob(prefix) + other.log_normalizer)
        weights = torch.stack(log_weights, -1).softmax(-1).detach().numpy()
        columns.append((weights * norm.cdf(sample[:, j, None].double(), loc, scale)).sum(-1))
    return np.stack(columns, -1)


def parameters(ring: TensorRing) -> tuple[list[Tensor], list[Tensor]]:
    """Means and deviations of all variables, as they were given."""
    return [v.loc for v in ring.variables], [v.scale for v in ring.variables]


@pytest.mark.parametrize("method", ["sample", "rsample"])
@pytest.mark.parametrize("given", [[NAN, NAN, NAN], [NAN, 1.0, NAN], [0.3, NAN, NAN]])
def test_continuous_samples_through_their_distribution_functions(given, method, boundary):
    torch.manual_seed(3)
    ring = random_pair(["n3", "n2", "n4"], 3, boundary, seed=3).ring
    given = torch.tensor(given, dtype=torch.float64)
    sample = getattr(ring().condition(given), method)((4000,)).detach()
    uniform = integral_transform(sample, ring, given)
    for column in uniform.T:
        assert kstest(column, "uniform").pvalue > UNLIKELY
    assert np.abs(np.corrcoef(uniform.T) - np.eye(uniform.shape[1])).max() < 0.08


def test_samples_of_a_long_mixed_ring_have_its_moments(boundary):
    torch.manual_seed(0)
    joint = TensorRing([Normal(3), Categorical(2)] * 50, 5, boundary)()
    evidence = joint.sample()
    evidence[torch.rand(100) < 0.7] = NAN
    for distribution in (joint, joint.condition(evidence)):
        sample = distribution.sample((4000,))
        error = (sample.mean(0) - distribution.mean) / (distribution.stddev + 1e-9) * 4000**0.5
        assert error[distribution.stddev > 0].abs().max() < 5
        assert (sample.var(0) / distribution.variance)[distribution.variance > 0].sub(1).abs().max() < 0.2


def test_large_requests_are_drawn_in_parts(monkeypatch):
    monkeypatch.setattr("googol.distributions.sampling._NUMBERS", 1000)
    torch.manual_seed(0)
    ring = TensorRing([Categorical(2), Categorical(3)], 3)
    sample = ring().expand((2,)).sample((5000,))
    assert sample.shape == (5000, 2, 2)
    check_frequencies(sample.reshape(-1, 2), ring().log_prob, [2, 3])


@pytest.mark.parametrize("count", [7, 200])
def test_few_and_many_samples_of_a_stretch_between_observed_variables(count, boundary):
    """Fewer samples than pairs of bond values are drawn in another way than more."""
    torch.manual_seed(count)
    sizes = [2, 3, 2, 2, 2, 3, 2]
    joint = TensorRing([Categorical(n) for n in sizes], 5, boundary)()
    given = torch.full((7,), NAN).index_fill(0, torch.tensor([1, 5]), 1.0)
    sample = torch.cat([joint.condition(given).sample((count,)) for _ in range(7000 // count)])
    open_ones = [0, 2, 3, 4, 6]
    conditional = joint.condition(given).marginal(open_ones)
    check_frequencies(sample[:, open_ones], conditional.log_prob, [2] * 5)


def test_draw_never_takes_a_weight_of_zero():
    torch.manual_seed(0)
    weights = torch.tensor([0.0, 1.0, 0.0, 1e-30, 3.0, 0.0]).expand(100_000, -1).contiguous()
    count = draw(weights).bincount(minlength=6)
    assert count[[0, 2, 3, 5]].sum() == 0
    assert chisquare(count[[1, 4]], [25_000, 75_000]).pvalue > UNLIKELY


def test_a_seed_repeats_samples(boundary):
    joint = random_pair(["n3", "c2", "n2"], 3, boundary).ring().condition(torch.tensor([NAN, 1.0, NAN]))
    for method in ("sample", "rsample"):
        first, second = (torch.manual_seed(seed) and getattr(joint, method)((3,)) for seed in (5, 5))
        assert torch.equal(first, second)
        assert not torch.equal(first, getattr(joint, method)((3,)))


# -- derivatives of samples


def gradients(ring: TensorRing, value: Tensor, *more: Tensor) -> list[Tensor]:
    return list(torch.autograd.grad(value, [*ring.parameters(), *more], retain_graph=True))


@pytest.mark.parametrize("n", [1, 2, 3])
def test_the_gradient_of_a_sample_is_that_of_the_inverted_distribution_functions(n, boundary):
    """With the uniforms fixed, z is determined; its derivative by finite differences, solved for by bisection."""
    torch.manual_seed(n)
    pair = random_pair(["n2", "n3", "n2"][:n], 2, boundary, seed=n)
    ring = pair.ring
    sample = ring().rsample()
    z = sample.detach().numpy()

    def cores() -> list[np.ndarray]:
        return [core.detach().numpy() for core in ring.cores]

    def components(j: int) -> tuple[np.ndarray, np.ndarray]:
        for positions, kind in zip(ring._positions, ring.components, strict=True):
            if j in positions:
                row = positions.index(j)
                return kind["loc"][row].detach().numpy(), kind["log_scale"][row].detach().exp().numpy()
        raise AssertionError(j)

    def cdf(value: float, before: np.ndarray) -> float:
        """F(value given before), from the entries of the tensor."""
        matrices = cores()
        j = len(before)
        total = np.eye(2)
        for i, core in enumerate(matrices[:j]):
            total = total @ np.einsum("k,kab->ab", norm.pdf(before[i], *components(i)), core)
        after = np.eye(2)
        for core in matrices[j + 1 :]:
            after = after @ core.sum(0)
        closed = [total @ core @ after for core in matrices[j]]
        weights = np.array([np.trace(c) if boundary == "ring" else c.sum() for c in closed])
        return float(weights @ norm.cdf(value, *components(j)) / weights.sum())

    uniforms = [cdf(z[j], z[:j]) for j in range(n)]

    def solve() -> np.ndarray:
        solved = np.empty(n)
        for j in range(n):
            solved[j] = brentq(lambda x, j=j: cdf(x, solved[:j]) - uniforms[j], -30, 30, xtol=1e-13)
        return solved

    np.testing.assert_allclose(solve(), z, atol=1e-9)
    analytic = [gradients(ring, sample[j]) for j in range(n)]
    step = 1e-5
    for p, parameter in enumerate(ring.parameters()):
        flat = parameter.data.view(-1)
        for i in range(0, len(flat), max(1, len(flat) // 5)):
            start = flat[i].item()
            flat[i] = start + step
            up = solve()
            flat[i] = start - step
            down = solve()
            flat[i] = start
            numeric = (up - down) / (2 * step)
            np.testing.assert_allclose([a[p].view(-1)[i] for a in analytic], numeric, rtol=1e-4, atol=1e-6)


def expectation(ring: TensorRing, given: Tensor) -> Tensor:
    """E[(z · c)²] of the open variables by quadrature, differentiable in everything."""
    grid = torch.linspace(-12, 12, 241, dtype=torch.float64)
    mesh = torch.stack(torch.meshgrid(grid, grid, indexing="ij"), -1).reshape(-1, 2)
    full = given.expand(len(mesh), -1).clone()
    full[:, [0, 2]] = mesh
    density = ring().condition(given).log_prob(full).exp()
    return (density * payoff(mesh)).sum() * (grid[1] - grid[0]) ** 2


def payoff(z: Tensor) -> Tensor:
    return (z @ z.new_tensor([1.0, -0.7])).square() + z[..., 0].sin()


@pytest.mark.parametrize("middle", ["n2", "c2"])
def test_gradients_of_expectations_by_parameters_and_evidence(middle, boundary):
    torch.manual_seed(0)
    ring = random_pair(["n3", middle, "n2"], 2, boundary, seed=4).ring
    given = torch.tensor([NAN, 1.0, NAN], dtype=torch.float64, requires_grad=True)
    inputs = [given, *ring.parameters()]
    exact = torch.autograd.grad(expectation(ring, given), inputs)
    parts = []
    for _ in range(20):
        sample = ring().condition(given).rsample((5000,))
        assert torch.equal(sample[:, 1].detach(), torch.ones(5000, dtype=torch.float64))
        parts.append(torch.autograd.grad(payoff(sample[:, [0, 2]]).mean(), inputs))
    for e, *estimates in zip(exact, *parts, strict=True):
        estimates = torch.stack(estimates)
        error = estimates.std(0) / 20**0.5
        assert ((estimates.mean(0) - e).abs() <= 6 * error + 1e-9).all()
    if middle == "n2":
        assert exact[0][1].abs() > 1e-3


def test_rows_with_their_own_patterns_and_gradients_in_both_precisions(boundary):
    """Batched evidence gives each row the gradient that it has alone."""
    kinds = ["n3", "c2", "n2", "n4"]
    ring = random_pair(kinds, 3, boundary, seed=7).ring
    evidence = random_values(kinds, 4, seed=7)
    evidence[0, 0] = evidence[1, 2:] = evidence[2, [0, 2, 3]] = NAN
    torch.manual_seed(0)
    sample = ring().condition(evidence).rsample((2,))
    assert torch.equal(sample[:, 3].detach(), evidence[3].expand(2, -1))
    single = ring().condition(evidence[2])
    for row in range(2):
        alone = sampling_gradient(ring, single, sample[row, 2].detach())
        batched = gradients(ring, sample[row, 2].sum())
        torch.testing.assert_close(batched, alone)


def sampling_gradient(ring: TensorRing, joint, drawn: Tensor) -> list[Tensor]:
    from googol.distributions.implicit import reparameterize

    rows = joint._evidence.unsqueeze(0)
    value = reparameterize(joint.chain, joint.emissions, rows, drawn[None, None], list(range(len(drawn))))
    torch.testing.assert_close(value.squeeze(), drawn)
    return gradients(ring, value.sum())


def test_gradients_of_samples_are_finite_where_components_are_far_apart(boundary):
    torch.manual_seed(0)
    ring = TensorRing([Normal(3, loc=[-1e3, 0.0, 1e3], scale=[1e-4, 1.0, 10.0])] * 20, 4, boundary)
    sample = ring().rsample((50,))
    for gradient in gradients(ring, sample.sum()):
        assert gradient.isfinite().all()
        assert gradient.abs().max() > 0


def test_hidden_discrete_variables_are_summed_out_of_samples(boundary):
    """Row 1 leaves the discrete variable open, which the marginal hides."""
    torch.manual_seed(0)
    ring = random_pair(["n3", "c2", "n2"], 3, boundary, seed=2).ring
    evidence = torch.tensor([[NAN, 1.0, NAN], [NAN, NAN, NAN]], dtype=torch.float64)
    marginal = ring().condition(evidence).marginal([0, 2])
    sample = marginal.rsample((20_000,))
    assert sample.requires_grad
    error = (sample.mean(0) - marginal.mean) / marginal.stddev * 20_000**0.5
    assert error.abs().max() < 5


@pytest.mark.parametrize("temperature", [0.0, 0.5, 1.4, 100.0])
def test_what_lies_in_an_interval_stays_in_it_at_any_temperature(boundary, temperature):
    joint = random_pair(["n1", "c2", "n3", "n1"], 3, boundary, seed=4).ring()
    within = {0: Interval(0.3, 0.5), 2: Interval(high=-1.0)}
    samples = []
    for t in (1.0, temperature):
        torch.manual_seed(0)
        samples.append(joint.condition(within=within).sample((1000,), temperature=t))
    full, scaled = samples
    for column, event in within.items():
        assert all(value in event for value in scaled[:, column].tolist())
        assert temperature > 0 or len(scaled[:, column].unique()) <= 3  # the means of the truncated components
    bounded = joint.condition(within=within)
    torch.testing.assert_close(
        scaled[:, 0] - bounded.mean[0], min(temperature, 1) * (full[:, 0] - bounded.mean[0]), rtol=1e-4, atol=1e-6
    )
    torch.testing.assert_close(scaled[:, 3] - joint.mean[3], temperature * (full[:, 3] - joint.mean[3]))


def test_temperature_scales_the_distances_from_the_means_of_components(boundary):
    ring = random_pair(["n1", "c2", "n1"], 3, boundary, seed=4).ring
    joint = ring()
    samples = []
    for temperature in (1.0, 0.5, 0.0):
        torch.manual_seed(0)
        samples.append(joint.sample((1000,), temperature=temperature))
    full, half, none = samples
    for column, group in ((0, 0), (2, 0)):
        mean = ring.components[group]["loc"][column // 2, 0].detach()
        assert (none[:, column] == mean).all()
        torch.testing.assert_close(half[:, column] - mean, (full[:, column] - mean) / 2)
    assert torch.equal(full[:, 1], none[:, 1])
    with pytest.raises(ValueError, match="temperature must be at least 0"):
        joint.sample((1,), temperature=-1.0)
    torch.manual_seed(0)
    each = joint.sample((1000,), temperature=torch.tensor([1.0, 1.0, 0.0]))
    assert torch.equal(each[:, :2], full[:, :2])
    assert torch.equal(each[:, 2], none[:, 2])
    with pytest.raises(ValueError, match=r"temperature must have the shape \(3,\), got \(2,\)"):
        joint.sample((1,), temperature=torch.ones(2))

"""Sparse normals against PyTorch's dense one in float64, for all structures and shapes of the grid."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.distributions import Independent, MultivariateNormal, Normal, kl_divergence

from googol.distributions import SparseNormal

CASES = [
    ("chain", 1, 1),
    ("chain", 1, 7),
    ("extended-grid", 1, 5),
    ("extended-grid", 4, 1),
    ("extended-grid", 3, 4),
    ("extended-grid", 5, 2),
    ("grid", 1, 1),
    ("grid", 1, 5),
    ("grid", 3, 4),
    ("grid", 5, 2),
]
STRUCTURES = ["chain", "extended-grid", "grid"]


def shapes(structure, rows, columns):
    """Of the three parameters beside the mean."""
    if structure == "chain":
        return [(columns,), (columns - 1,)]
    return [(rows, columns), (rows, columns - 1), (rows - 1, columns)]


def build(structure, rows, columns, batch=(), *, dtype=torch.double, **options):
    """A random sparse normal, and its parameters, the first of them the mean."""
    torch.manual_seed(rows + 10 * columns)
    loc = torch.randn(*batch, rows * columns, dtype=dtype)
    positive, *links = (torch.randn(*batch, *shape, dtype=dtype) for shape in shapes(structure, rows, columns))
    parameters = [t.requires_grad_() for t in (loc, positive.exp(), *links)]
    constructor = getattr(SparseNormal, structure.replace("-", "_"))
    return constructor(*parameters, **options), parameters


def bounded(structure, said, rows=3, columns=4, batch=(), dtype=torch.double):
    """From the numbers of a network, drawn at a size: locations, raw scales, links."""
    numbers = said * torch.randn(4, *batch, rows, columns, dtype=dtype)
    loc, raw, *links = numbers.requires_grad_()
    scale = torch.nn.functional.softplus(raw) + 1e-4
    q = SparseNormal.bounded(structure, loc, scale, *links[: 1 if structure == "chain" else 2])
    return q, numbers, scale.flatten(-2)


def precision(structure, parameters):
    """From the definition, entry by entry."""
    if structure == "chain":
        diagonal, subdiagonal = parameters
        factor = torch.diag(diagonal) + torch.diag(subdiagonal, -1)
        return factor @ factor.T
    entries, right, below = parameters
    rows, columns = entries.shape
    matrix = torch.zeros(rows * columns, rows * columns, dtype=entries.dtype)
    for r in range(rows):
        for c in range(columns):
            i = r * columns + c
            matrix[i, i] += entries[r, c]
            links = [(i + 1, right[r, c])] if c + 1 < columns else []
            links += [(i + columns, below[r, c])] if r + 1 < rows else []
            for j, link in links:
                matrix[j, i] = link
                if structure == "grid":
                    matrix[i, j] = link
                    matrix[i, i] += link.abs()
                    matrix[j, j] += link.abs()
    return matrix if structure == "grid" else matrix @ matrix.T


@pytest.mark.parametrize(("structure", "rows", "columns"), CASES)
def test_agrees_with_the_dense_normal(structure, rows, columns):
    q, (loc, *parameters) = build(structure, rows, columns)
    matrix = precision(structure, parameters)
    dense = MultivariateNormal(loc, precision_matrix=matrix)
    value = torch.randn(6, rows * columns, dtype=torch.double)
    close = {"rtol": 1e-8, "atol": 1e-8}
    torch.testing.assert_close(q.precision(), matrix, **close)
    torch.testing.assert_close(q.covariance(), dense.covariance_matrix, **close)
    torch.testing.assert_close(q.log_prob(value), dense.log_prob(value), **close)
    torch.testing.assert_close(q.entropy(), dense.entropy(), **close)
    torch.testing.assert_close(q.mean, dense.mean)
    torch.testing.assert_close(q.variance, dense.variance, **close)
    torch.testing.assert_close(q.covariance_trace(), dense.covariance_matrix.trace(), **close)


@pytest.mark.parametrize(("structure", "rows", "columns"), CASES)
def test_divergences_agree_with_the_dense_ones(structure, rows, columns):
    q, (loc, *parameters) = build(structure, rows, columns)
    dense = MultivariateNormal(loc, precision_matrix=precision(structure, parameters))
    other_loc, other_scale = torch.randn_like(loc), torch.rand_like(loc) + 0.5
    for mean, scale in ((torch.zeros_like(loc), torch.ones_like(loc)), (other_loc, other_scale)):
        expected = kl_divergence(dense, MultivariateNormal(mean, torch.diag(scale.square())))
        torch.testing.assert_close(kl_divergence(q, Independent(Normal(mean, scale), 1)), expected)
        if (scale == 1).all():
            torch.testing.assert_close(q.kl_to_standard_normal(), expected)


@pytest.mark.parametrize(("structure", "rows", "columns"), CASES)
def test_gradients_agree_with_the_dense_ones(structure, rows, columns):
    q, (loc, *parameters) = build(structure, rows, columns)
    dense = MultivariateNormal(loc, precision_matrix=precision(structure, parameters))
    value = torch.randn(rows * columns, dtype=torch.double)
    standard = MultivariateNormal(torch.zeros_like(loc), torch.eye(rows * columns, dtype=torch.double))
    used = [t for t in (loc, *parameters) if t.numel()]
    for ours, theirs in (
        (q.log_prob(value), dense.log_prob(value)),
        (q.kl_to_standard_normal(), kl_divergence(dense, standard)),
        (q.covariance().square().sum(), dense.covariance_matrix.square().sum()),
    ):
        options = {"retain_graph": True, "allow_unused": True, "materialize_grads": True}
        expected = torch.autograd.grad(theirs, used, **options)
        for a, b in zip(torch.autograd.grad(ours, used, **options), expected, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(("structure", "rows", "columns"), CASES)
def test_samples_follow_the_density(structure, rows, columns):
    torch.manual_seed(0)
    q, _ = build(structure, rows, columns)
    with torch.no_grad():
        z = q.sample((20_000,))
        d = rows * columns
        # With C the Cholesky factor of the covariance, C⁻¹ (z − μ) is white.
        white = torch.linalg.solve_triangular(torch.linalg.cholesky(q.covariance()), (z - q.mean).T, upper=False)
        assert white.mean(1).abs().max() < 5 / math.sqrt(20_000)
        assert (white @ white.T / 20_000 - torch.eye(d)).abs().max() < 5 * math.sqrt(2 / 20_000)
        # The mean log-density is minus the entropy; its variance is that of half a chi-squared of d degrees.
        assert (q.log_prob(z).mean() + q.entropy()).abs() < 5 * math.sqrt(0.5 * d / 20_000)


@pytest.mark.parametrize("structure", STRUCTURES)
def test_the_pathwise_gradient_of_a_second_moment_is_that_of_the_covariance(structure):
    q, (_, *parameters) = build(structure, 1 if structure == "chain" else 2, 3)
    torch.manual_seed(0)
    z = q.rsample((40_000,)) - q.mean
    moment = (z.sum(-1).square()).mean()
    estimates = torch.autograd.grad(moment, parameters, retain_graph=True)
    expected = torch.autograd.grad(q.covariance().sum(), parameters)
    for a, b in zip(estimates, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=0.1, atol=0.1 * b.abs().max().item())


@pytest.mark.parametrize("structure", STRUCTURES)
def test_the_stochastic_trace_has_no_bias(structure):
    torch.manual_seed(0)
    q, _ = build(structure, 1 if structure == "chain" else 3, 4, (2,))
    with torch.no_grad():
        estimates = torch.stack([q.covariance_trace("stochastic", samples=50) for _ in range(200)])
        error = estimates.mean(0) - q.covariance_trace()
        assert (error.abs() < 5 * estimates.std(0) / math.sqrt(200)).all()
        torch.manual_seed(1)
        kl = q.kl_to_standard_normal("stochastic", samples=20_000)
        torch.testing.assert_close(kl, q.kl_to_standard_normal(), rtol=0.05, atol=0.05)
        independent = SparseNormal.chain(torch.zeros(5), torch.full((5,), 2.0), torch.zeros(4))
        assert independent.covariance_trace("stochastic").item() == pytest.approx(5 / 4)


def test_one_row_of_a_grid_is_a_chain():
    chain, (loc, diagonal, subdiagonal) = build("chain", 1, 9)
    none = torch.zeros(0, 9).double()
    row = SparseNormal.extended_grid(loc, diagonal[None], subdiagonal[None], none)
    column = SparseNormal.extended_grid(loc, diagonal[:, None], none.T, subdiagonal[:, None])
    for grid in (row, column):
        assert torch.equal(grid.precision(), chain.precision())
        torch.manual_seed(0)
        z = chain.sample((3,))
        torch.manual_seed(0)
        assert torch.equal(grid.sample((3,)), z)
        assert torch.equal(grid.log_prob(z), chain.log_prob(z))


@pytest.mark.parametrize("structure", STRUCTURES)
@pytest.mark.parametrize("size", [(1, 12), (3, 4)])
def test_float32_agrees_with_float64(structure, size):
    rows, columns = (1, 12) if structure == "chain" else size
    single, parameters = build(structure, rows, columns, (20,), dtype=torch.float32)
    constructor = getattr(SparseNormal, structure.replace("-", "_"))
    double = constructor(*(t.double() for t in parameters))
    z = single.sample()
    assert z.dtype == torch.float32
    for ours, exact in (
        (single.log_prob(z), double.log_prob(z.double())),
        (single.variance, double.variance),
        (single.kl_to_standard_normal(), double.kl_to_standard_normal()),
    ):
        torch.testing.assert_close(ours.double(), exact, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("structure", STRUCTURES)
def test_shapes_broadcast(structure):
    rows = 1 if structure == "chain" else 2
    q, (loc, *parameters) = build(structure, rows, 3, (4, 5))
    d = 3 * rows
    assert q.batch_shape == (4, 5)
    assert q.event_shape == (d,)
    assert q.rsample((2,)).shape == (2, 4, 5, d)
    assert q.log_prob(torch.zeros(7, 4, 5, d)).shape == (7, 4, 5)
    assert q.log_prob(torch.zeros(d)).shape == (4, 5)
    assert q.variance.shape == (4, 5, d)
    assert q.precision().shape == q.covariance().shape == (4, 5, d, d)
    torch.testing.assert_close(q.covariance()[1, 2], torch.linalg.inv(q.precision()[1, 2]))
    # One factor for many means: as if it were repeated.
    constructor = getattr(SparseNormal, structure.replace("-", "_"))
    shared = constructor(loc, *(t[0, 0] for t in parameters))
    repeated = constructor(loc, *(t[:1, :1].expand(4, 5, *t.shape[2:]) for t in parameters))
    value = torch.randn(7, 4, 5, d, dtype=torch.double)
    for a, b in ((shared, repeated), (shared.expand((3, 4, 5)), repeated.expand((3, 4, 5)))):
        v = value if a.batch_shape == (4, 5) else value[:, None]
        torch.testing.assert_close(a.log_prob(v), b.log_prob(v))
        torch.testing.assert_close(a.variance, b.variance)
        torch.testing.assert_close(a.entropy(), b.entropy())
        torch.testing.assert_close(a.kl_to_standard_normal(), b.kl_to_standard_normal())
        assert a.covariance().shape == b.covariance().shape
        assert a.sample((2,)).shape == (2, *a.batch_shape, d)
    assert Independent(q, 1).expand((3, 4)).log_prob(value[:, None]).shape == (7, 3, 4)


@pytest.mark.parametrize("structure", STRUCTURES)
@settings(deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([0.1, 1.0, 5.0, 100.0]))
def test_bounded_scales_are_bounds(structure, seed, said):
    torch.manual_seed(seed)
    q, _, scale = bounded(structure, said)
    ratio = q.variance / scale.square()
    assert (ratio < 1 + 1e-9).all()
    if structure == "chain":
        torch.testing.assert_close(ratio, torch.ones_like(ratio))


@pytest.mark.parametrize("structure", STRUCTURES)
def test_bounded_links_are_correlations_of_their_sign(structure):
    one = torch.ones(3, 4).double()
    links = [2 * one] if structure == "chain" else [2 * one, 2 * one]
    q = SparseNormal.bounded(structure, 0 * one, one, *links)
    assert (q.covariance() > 0).all()
    independent = SparseNormal.bounded(structure, 0 * one, 0.7 * one, *(0 * link for link in links))
    torch.testing.assert_close(independent.covariance(), 0.49 * torch.eye(12).double())


@pytest.mark.parametrize("structure", STRUCTURES)
@pytest.mark.parametrize("said", [0.0, 10.0, 1e3, 1e6, 1e15])
@pytest.mark.parametrize("size", [(3, 4), (20, 25)])
def test_bounded_is_finite_in_float32_whatever_a_network_says(structure, said, size):
    torch.manual_seed(0)
    q, numbers, _ = bounded(structure, said, *size, batch=(4,), dtype=torch.float32)
    z = q.rsample()
    log_prob, kl = q.log_prob(z), q.kl_to_standard_normal()
    assert z.isfinite().all()
    assert log_prob.isfinite().all()
    # The divergence grows with the square of the scale, beyond float32 where that is 1e15 for many latents.
    for loss in (log_prob, z, kl) if said < 1e15 else (log_prob, z):
        (gradient,) = torch.autograd.grad(loss.sum(), numbers, retain_graph=True)
        assert gradient.isfinite().all()


@pytest.mark.parametrize("structure", STRUCTURES)
def test_bounded_densities_of_strongly_linked_variables_are_precise_in_float32(structure):
    torch.manual_seed(0)
    numbers = [torch.randn(28, 28), torch.rand(28, 28) + 0.1, torch.full((28, 28), 1e4), torch.full((28, 28), 1e4)]
    links = 3 if structure == "chain" else 4
    q = SparseNormal.bounded(structure, *numbers[:links])
    exact = SparseNormal.bounded(structure, *(t.double() for t in numbers[:links]))
    z = q.sample((5,))
    torch.testing.assert_close(q.log_prob(z).double(), exact.log_prob(z.double()), rtol=1e-4, atol=0.1)
    torch.testing.assert_close(q.entropy().double(), exact.entropy(), rtol=1e-5, atol=1e-2)


@pytest.mark.parametrize(
    ("structure", "rows", "columns"), [("chain", 1, 20_000), ("extended-grid", 100, 200), ("grid", 10, 2000)]
)
def test_twenty_thousand_variables(structure, rows, columns):
    torch.manual_seed(0)
    q, numbers, _ = bounded(structure, 1.0, rows, columns, dtype=torch.float32)
    largest = []

    def note(tensor):
        largest.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        loss = q.log_prob(q.rsample()) + q.covariance_trace("stochastic")
    loss.backward()
    assert max(largest) <= 20_000 * min(rows, columns) * (structure == "grid") + 20_000
    assert numbers.grad.isfinite().all()


def test_inputs_are_not_changed_and_seeds_repeat():
    _, parameters = build("extended-grid", 3, 4)
    before = [t.clone() for t in parameters]
    q = SparseNormal.extended_grid(*parameters)
    torch.manual_seed(0)
    z = q.rsample((2,))
    torch.manual_seed(0)
    assert torch.equal(z, q.rsample((2,)))
    q.log_prob(z).sum().backward()
    assert all(torch.equal(a, b) for a, b in zip(before, parameters, strict=True))


ONE, GRID = torch.ones(4), torch.ones(2, 2)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: SparseNormal.chain(ONE, ONE, ONE), r"subdiagonal of shape \(…, d - 1\); got \(4,\) and \(4,\)"),
        (lambda: SparseNormal.chain(ONE, 0 * ONE, ONE[1:]), "diagonal to be positive; got 0.0"),
        (lambda: SparseNormal.chain(ONE[1:], ONE, ONE[1:]), r"loc of shape \(…, 4\); got \(3,\)"),
        (lambda: SparseNormal.chain(ONE * math.nan, ONE, ONE[1:]), "loc"),
        (
            lambda: SparseNormal.extended_grid(ONE, ONE, GRID, GRID),
            r"diagonal of shape \(…, rows, columns\); got \(4,\)",
        ),
        (lambda: SparseNormal.extended_grid(ONE, GRID, GRID, GRID[1:]), r"right of shape \(…, 2, 1\); got \(2, 2\)"),
        (lambda: SparseNormal.grid(ONE, GRID, GRID[:, 1:], GRID), r"below of shape \(…, 1, 2\); got \(2, 2\)"),
        (lambda: SparseNormal.grid(ONE, -GRID, GRID[:, 1:], GRID[1:]), "excess to be positive; got -1.0"),
        (lambda: SparseNormal.bounded("tree", GRID, GRID, GRID), "chain, grid, extended-grid; got 'tree'"),
        (lambda: SparseNormal.bounded("grid", GRID, GRID, GRID), "2 links for grid; got 1"),
        (lambda: SparseNormal.bounded("chain", GRID, GRID, GRID, GRID), "1 links for chain; got 2"),
        (lambda: build("chain", 1, 4)[0].covariance_trace("guess"), "exact, stochastic; got 'guess'"),
        (lambda: build("chain", 1, 4)[0].covariance_trace("stochastic", samples=0), "at least 1; got 0"),
        (lambda: build("chain", 1, 4)[0].log_prob(torch.full((4,), math.nan)), "support"),
        (lambda: build("chain", 1, 4)[0].log_prob(torch.zeros(5)), "5"),
    ],
)
def test_wrong_arguments_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_divergences_from_others_are_not_claimed():
    q, _ = build("chain", 1, 4)
    with pytest.raises(NotImplementedError):
        kl_divergence(q, Independent(torch.distributions.Laplace(torch.zeros(4), torch.ones(4)), 1))

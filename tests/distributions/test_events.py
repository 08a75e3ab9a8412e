"""Variables that are known to lie in an interval or a set: against enumeration, and against quadrature."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from oracles import random_pair, random_values
from scipy.stats import kstest, norm, truncnorm

from googol.distributions import Categorical, Interval, Normal, OneOf, TensorRing, truncated

NAN, INF = math.nan, math.inf
KINDS = ["n3", "c4", "n2", "c3"]
EVENTS = {0: Interval(-0.5, 1.2), 1: OneOf([0, 3]), 2: Interval(low=0.3), 3: Interval(0, 1)}
SUBSETS = [[0], [1], [2], [3], [0, 1], [1, 2, 3], [0, 1, 2, 3]]


@pytest.fixture(params=["ring", "train"])
def boundary(request):
    return request.param


def masses(truth, events) -> dict[int, np.ndarray]:
    """The probability of each event given every component."""
    found = {}
    for j, event in events.items():
        if truth.emissions[j] is None:
            found[j] = np.array([float(s in event) for s in range(truth.shape[j])])
        else:
            loc, scale = truth.emissions[j]
            found[j] = norm.cdf(event.high, loc, scale) - norm.cdf(event.low, loc, scale)
    return found


@pytest.mark.parametrize("subset", SUBSETS, ids=str)
def test_the_probability_of_events_with_and_without_values(boundary, subset):
    ring, truth = random_pair(KINDS, 3, boundary, seed=1)
    events = {j: EVENTS[j] for j in subset}
    value = random_values(KINDS, 8, missing=0.5, seed=2)
    value[:, subset] = NAN
    value = torch.cat([value, torch.full((1, 4), NAN, dtype=value.dtype)])
    expected = [
        np.log(truth.weighted(row, masses(truth, events)).sum()) - truth.log_normalizer for row in value.numpy()
    ]
    torch.testing.assert_close(ring().log_prob(value, within=events).detach(), torch.tensor(expected))


@pytest.mark.parametrize("subset", SUBSETS, ids=str)
def test_a_condition_divides_by_the_probability_of_its_events(boundary, subset):
    joint = random_pair(KINDS, 3, boundary, seed=3).ring()
    events = {j: EVENTS[j] for j in subset}
    nothing = torch.full((4,), NAN, dtype=torch.float64)
    inside = torch.tensor([0.1, 3.0, 0.7, 1.0], dtype=torch.float64)
    given_events = joint.condition(within=events)
    expected = joint.log_prob(inside) - joint.log_prob(nothing, within=events)
    torch.testing.assert_close(given_events.log_prob(inside), expected)
    for j in subset:
        outside = inside.clone()
        outside[j] = {0: 1.3, 1: 2.0, 2: 0.2, 3: 2.0}[j]
        assert given_events.log_prob(outside) == -INF


def test_events_come_in_any_order_and_twice(boundary):
    """Conditioning on events one after the other, or on smaller and smaller ones, is conditioning on all at once."""
    joint = random_pair(KINDS, 3, boundary, seed=4).ring()
    value = torch.tensor([0.1, 3.0, 0.7, 1.0], dtype=torch.float64)
    at_once = joint.condition(within=EVENTS)
    one_by_one = joint
    for j in (3, 0, 2, 1):
        one_by_one = one_by_one.condition(within={j: EVENTS[j]})
    wider = joint.condition(within={0: Interval(-1, 1.2), -1: OneOf([0, 1])}).condition(within=EVENTS)
    with_value = joint.condition(torch.tensor([NAN, 3.0, NAN, NAN], dtype=torch.float64), within=EVENTS)
    torch.testing.assert_close(one_by_one.log_prob(value), at_once.log_prob(value))
    torch.testing.assert_close(wider.log_prob(value), at_once.log_prob(value))
    observed = at_once.log_prob(torch.tensor([NAN, 3.0, NAN, NAN], dtype=torch.float64))
    torch.testing.assert_close(with_value.log_prob(value), at_once.log_prob(value) - observed)


def test_a_marginal_of_a_condition_is_the_condition_of_a_marginal(boundary):
    joint = random_pair(KINDS, 3, boundary, seed=5).ring()
    value = torch.tensor([0.1, 0.7, 1.0], dtype=torch.float64)
    events = {0: EVENTS[0], 2: EVENTS[2]}
    marginal = joint.condition(within=events).marginal([0, 2, 3])
    torch.testing.assert_close(
        marginal.log_prob(value),
        joint.marginal([0, 2, 3]).condition(within={0: EVENTS[0], 1: EVENTS[2]}).log_prob(value),
    )


def test_samples_and_moments_follow_the_density(boundary):
    """The goodness of fit of each variable to its own density, and moments by quadrature."""
    joint = random_pair(KINDS, 3, boundary, seed=6).ring().condition(within=EVENTS)
    torch.manual_seed(0)
    samples = joint.sample((4000,)).numpy()
    assert set(np.unique(samples[:, 1])) == {0, 3}
    assert set(np.unique(samples[:, 3])) == {0, 1}
    for j, (low, high) in {0: (-0.5, 1.2), 2: (0.3, 20.0)}.items():
        grid = torch.linspace(low, high, 20_001, dtype=torch.float64)
        density = joint.marginal([j]).log_prob(grid.unsqueeze(-1)).exp().detach()
        cumulated = torch.cumulative_trapezoid(density, grid).numpy()
        assert cumulated[-1] == pytest.approx(1, abs=1e-5)
        points = grid[1:].numpy()
        assert kstest(samples[:, j], lambda v, p=points, c=cumulated: np.interp(v, p, c)).pvalue > 1e-3
        mean = torch.trapezoid(density * grid, grid)
        variance = torch.trapezoid(density * (grid - mean).square(), grid)
        torch.testing.assert_close(joint.mean[j], mean, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(joint.variance[j], variance, rtol=1e-3, atol=1e-5)
    probs = np.exp([joint.marginal([1]).log_prob(torch.tensor([float(v)])).item() for v in (0, 3)])
    assert (samples[:, 1] == 0).mean() == pytest.approx(probs[0], abs=5 * 0.5 / 4000**0.5)


def test_gradients_agree_with_differences(boundary):
    ring = random_pair(KINDS, 3, boundary, seed=7).ring
    nothing = torch.full((4,), NAN, dtype=torch.float64)
    value = torch.tensor([NAN, NAN, 0.7, NAN], dtype=torch.float64)

    def log_probs(*parameters: torch.Tensor) -> torch.Tensor:
        names = [name for name, _ in ring.named_parameters()]
        joint = torch.func.functional_call(ring, dict(zip(names, parameters, strict=True)), ())
        return torch.stack([joint.log_prob(nothing, within=EVENTS), joint.condition(within=EVENTS).log_prob(value)])

    assert torch.autograd.gradcheck(log_probs, tuple(ring.parameters()), check_undefined_grad=False)


def test_samples_of_intervals_are_differentiable(boundary):
    ring = random_pair(["n3", "n2"], 3, boundary, seed=8).ring
    joint = ring().condition(within={0: Interval(-0.5, 1.2), 1: Interval(low=0.3)})
    torch.manual_seed(0)
    sample = joint.rsample((20_000,))
    assert (sample[:, 0] >= -0.5).all()
    assert (sample[:, 1] >= 0.3).all()
    (estimate,) = torch.autograd.grad(sample.mean(), ring.components[0]["loc"], retain_graph=True)
    step = 1e-3
    means = []
    for sign in (1, -1):
        with torch.no_grad():
            ring.components[0]["loc"][0, 0] += sign * step
            means.append(ring().condition(within={0: Interval(-0.5, 1.2), 1: Interval(low=0.3)}).mean.mean())
            ring.components[0]["loc"][0, 0] -= sign * step
    assert estimate[0, 0].item() == pytest.approx(((means[0] - means[1]) / (2 * step)).item(), abs=0.02)


def test_single_precision_agrees_with_double_far_out():
    """An interval 60 standard deviations from every component."""
    variables = [Normal(3, loc=[-1.0, 0.0, 1.0], scale=0.1), Categorical(2)]
    torch.manual_seed(0)
    double = TensorRing(variables, 3, dtype=torch.float64)
    single = TensorRing(variables, 3, cores=double.cores)
    value, events = torch.tensor([NAN, 1.0]), {0: Interval(7.0, 7.1)}
    expected = double().log_prob(value.double(), within=events)
    assert expected < -1500
    torch.testing.assert_close(single().log_prob(value, within=events).double(), expected, rtol=1e-6, atol=1e-3)
    drawn = single().condition(within=events).sample((1000,))[:, 0]
    assert ((drawn >= torch.tensor(7.0)) & (drawn <= torch.tensor(7.1))).all()
    assert single().condition(within=events).log_prob(torch.stack([drawn, torch.ones(1000)], -1)).isfinite().all()


def test_a_categorical_ring_needs_no_normal():
    joint = TensorRing([Categorical(4)] * 3, rank=2)().condition(within={0: Interval(1, 2), 2: OneOf([3])})
    samples = joint.sample((500,))
    assert set(samples[:, 0].tolist()) == {1.0, 2.0}
    assert set(samples[:, 2].tolist()) == {3.0}
    assert joint.mode[2] == 3


@pytest.mark.parametrize(
    ("within", "error", "message"),
    [
        ({0: OneOf([1])}, ValueError, "a continuous variable lies in an Interval"),
        ({0: Interval(1, 1)}, ValueError, "low < high"),
        ({1: OneOf([4])}, ValueError, "one of 0 … 3|cannot lie in"),
        ({1: OneOf([0, 4])}, ValueError, "must be one of 0 … 3, got 4"),
        ({1: Interval(0.2, 0.8)}, ValueError, "cannot lie in"),
        ({4: Interval(0, 1)}, ValueError, "positions from -4 to 3"),
        ({"a": Interval(0, 1)}, TypeError, r"positions \(ints\)"),
        ({0: (0, 1)}, TypeError, "an Interval or OneOf, got tuple"),
        ({1: OneOf([0]), -3: OneOf([0])}, ValueError, "two events of variable 1"),
    ],
)
def test_wrong_events_are_refused(within, error, message):
    joint = random_pair(KINDS, 2).ring()
    with pytest.raises(error, match=message):
        joint.condition(within=within)


def test_values_that_contradict_events_are_refused():
    joint = random_pair(KINDS, 2).ring()
    with pytest.raises(ValueError, match="observed value of variable 1 does not lie in"):
        joint.condition(torch.tensor([NAN, 1.0, NAN, NAN], dtype=torch.float64), within=EVENTS)
    with pytest.raises(ValueError, match="cannot lie in"):
        joint.condition(within={0: Interval(0, 1)}).condition(within={0: Interval(2, 3)})


@pytest.mark.parametrize("bounds", [(2.0, 1.0), (NAN, 1.0)])
def test_wrong_intervals_are_refused(bounds):
    with pytest.raises(ValueError, match="low ≤ high"):
        Interval(*bounds)


def test_wrong_sets_are_refused():
    with pytest.raises(ValueError, match="at least one value"):
        OneOf([])
    with pytest.raises(TypeError, match=r"indices \(ints\)"):
        OneOf([0.5])
    with pytest.raises(TypeError, match=r"indices \(ints\)"):
        OneOf(3)
    with pytest.raises(TypeError, match=r"indices \(ints\)"):
        OneOf([False, True])  # a mask
    with pytest.raises(TypeError, match=r"indices \(ints\)"):
        OneOf(torch.tensor([False, True]))


def test_an_event_that_is_true_of_the_evidence_of_some_rows():
    joint = TensorRing([Normal(3), Categorical(3), Categorical(2)], rank=2, dtype=torch.float64)()
    given = joint.condition(torch.tensor([[NAN, 0.0, NAN], [NAN, 2.0, NAN], [NAN, NAN, 1.0]]))
    value = torch.tensor([0.3, NAN, NAN], dtype=torch.float64)
    found = given.log_prob(value, within={1: OneOf([0, 1])})
    assert found[1] == -torch.inf
    torch.testing.assert_close(found[0], given.log_prob(value)[0])
    both = [given.log_prob(torch.tensor([0.3, label, NAN], dtype=torch.float64))[2] for label in (0.0, 1.0)]
    torch.testing.assert_close(found[2], torch.stack(both).logsumexp(0))


def test_evidence_at_the_end_of_an_interval_lies_in_it():
    """Single precision has no 0.1, and what it has instead is more."""
    joint = TensorRing([Normal(3), Normal(3)], rank=2, dtype=torch.float32)()
    given = joint.condition(torch.tensor([NAN, 0.1]))
    value = torch.tensor([0.3, NAN])
    torch.testing.assert_close(given.log_prob(value, within={1: Interval(0.0, 0.1)}), given.log_prob(value))


def test_masks_are_no_positions():
    joint = TensorRing([Normal(3), Categorical(3)], rank=2)()
    with pytest.raises(TypeError, match=r"positions \(ints\), got \[False, True\]"):
        joint.marginal([False, True])
    with pytest.raises(TypeError, match=r"positions \(ints\) as its keys, got True"):
        joint.condition(within={True: OneOf([0])})
    with pytest.raises(TypeError, match="a dictionary of events by positions, got"):
        joint.condition(within=[OneOf([0])])
    for subsets in ([], [0, 1]):
        with pytest.raises(ValueError, match="subsets must be sequences of positions, at least one"):
            joint.log_marginals(torch.zeros(2), subsets)


# -- the standard normal between two bounds


def variance_by_quadrature(a: float, b: float) -> float:
    """Of the standard normal between two bounds: from the end that is nearer to zero, as far as there is density."""
    a, b = (a, b) if a > -b else (-b, -a)
    a, b = max(a, -12.0), min(b, max(a, -12.0) + 60 / max(a, 2.5))
    nodes, weights = np.polynomial.legendre.leggauss(400)
    z = a + (nodes + 1) / 2 * (b - a)
    density = weights * np.exp(-(z**2 - max(a, 0.0) ** 2) / 2)
    mean = (density * z).sum() / density.sum()
    return (density * (z - mean) ** 2).sum() / density.sum()


@given(st.floats(-60, 60), st.floats(1e-3, 30))
def test_truncated_normals_agree_with_scipy(a, width):
    b = a + width
    low, high = torch.tensor([a, b], dtype=torch.float64)
    reference = truncnorm(a, b)
    log_mass = float(norm.logpdf(a) - reference.logpdf(a))
    assert truncated.log_mass(low, high).item() == pytest.approx(log_mass, rel=1e-9, abs=1e-9)
    mean, variance = truncated.moments(low, high)
    assert mean.item() == pytest.approx(reference.mean(), rel=1e-6, abs=1e-6)
    assert variance.item() == pytest.approx(variance_by_quadrature(a, b), rel=1e-7)
    for u in (0.0, 1e-3, 0.5, 0.999, 1.0):
        value = truncated.quantile(low, high, torch.tensor(u, dtype=torch.float64)).item()
        assert a <= value <= b
        assert value == pytest.approx(reference.ppf(u), rel=1e-6, abs=1e-6)


def test_unbounded_sides_have_finite_gradients():
    loc = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    low, high = torch.tensor([-INF, -INF, 1.0]), torch.tensor([INF, 1.0, INF])
    log_mass = truncated.log_mass(low.double() - loc, high.double() - loc)
    (gradient,) = torch.autograd.grad(log_mass.sum(), loc)
    torch.testing.assert_close(log_mass.detach().exp(), torch.tensor(norm.cdf([50, 1, -1])))
    hazard = norm.pdf(1) / norm.cdf([1, -1])
    torch.testing.assert_close(gradient, torch.tensor([0.0, -hazard[0], hazard[1]]))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"within": {2: OneOf([0])}}, {"within": {2: OneOf([1])}}),
        ({"within": {0: Interval(0, 1)}}, {"value": torch.tensor([5.0, torch.nan, torch.nan])}),
    ],
)
def test_what_contradicts_earlier_events_is_refused(before, after):
    torch.manual_seed(0)
    joint = TensorRing([Normal(3), Normal(3), Categorical(4)], rank=3)().condition(**before)
    with pytest.raises(ValueError, match="conditioned on before"):
        joint.condition(**after)
    if "within" in after:
        with pytest.raises(ValueError, match="what was conditioned on before"):
            joint.log_prob(torch.full((3,), torch.nan), **after)


def test_the_ends_of_an_interval_are_those_that_values_can_have():
    """In single precision 0.1 is a little more than 0.1."""
    torch.manual_seed(0)
    joint = TensorRing([Normal(3), Categorical(2)], rank=2)()
    value, within = torch.tensor([0.1, torch.nan]), {0: Interval(high=0.1)}
    assert joint.condition(value, within=within).mean[0] == value[0]
    assert joint.log_prob(value, within=within).isfinite()


@pytest.mark.parametrize("scale", [0.01, 0.1])
def test_truncated_densities_far_out_are_those_of_double_precision(scale):
    ring = TensorRing([Normal(1, loc=[0.0], scale=scale)], rank=1)
    values = (2 + scale**2 * torch.tensor([0.1, 0.5, 1.0, 3.0])).unsqueeze(-1)
    found = ring().condition(within={0: Interval(low=2.0)}).log_prob(values).double()
    expected = ring.double()().condition(within={0: Interval(low=2.0)}).log_prob(values.double())
    torch.testing.assert_close(found, expected, atol=1e-3, rtol=1e-5)

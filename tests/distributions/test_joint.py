"""The joint distribution against enumeration of all indices, and against its own laws."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from oracles import Pair, Truth, random_pair, random_values
from torch import Tensor

from googol.distributions import Categorical, Normal, TensorRing

NAN = float("nan")
BOUNDARIES = ["ring", "train"]
MIXES = [["n3"], ["c2"], ["n3", "c2"], ["c3", "c3", "c3"], ["n4", "c2", "n1", "c3"], ["c2", "n2", "n3", "c4", "n1"]]
RANKS = [1, 2, 8, 9]


@pytest.fixture(params=BOUNDARIES)
def boundary(request):
    return request.param


@pytest.fixture(params=MIXES, ids=" ".join)
def kinds(request):
    return request.param


@pytest.fixture(params=RANKS)
def pair(request, kinds, boundary) -> Pair:
    return random_pair(kinds, request.param, boundary, seed=request.param)


def truths(rows: Tensor, function) -> np.ndarray:
    return np.array([function(row) for row in rows.numpy()])


def close(actual: Tensor, expected: np.ndarray | Tensor) -> None:
    np.testing.assert_allclose(actual.detach(), expected, rtol=1e-9, atol=1e-10)


# -- enumeration


def test_log_normalizer(pair):
    assert pair.ring().log_normalizer.item() == pytest.approx(pair.truth.log_normalizer)


def test_log_prob_with_every_pattern_of_missing_values(pair, kinds):
    n = len(kinds)
    value = random_values(kinds, 2**n)
    patterns = torch.tensor([[bool(i >> j & 1) for j in range(n)] for i in range(2**n)])
    value[patterns] = NAN
    close(pair.ring().log_prob(value), truths(value, pair.truth.log_prob))
    assert pair.ring().log_prob(value[-1:]).item() == pytest.approx(0, abs=1e-12)


def test_conditionals_each_row_with_its_own_pattern(pair, kinds):
    given_, value = random_values(kinds, 9, missing=0.5, seed=1), random_values(kinds, 9, missing=0.3, seed=2)
    value = value.where(given_.isnan() | value.isnan(), given_)  # observed entries agree or are left out
    conditional = pair.ring().condition(given_)
    assert conditional.batch_shape == (9,)
    expected = [pair.truth.log_prob(v, g) for v, g in zip(value.numpy(), given_.numpy(), strict=True)]
    close(conditional.log_prob(value), np.array(expected))
    mean, variance = zip(*(pair.truth.moments(row) for row in given_.numpy()), strict=True)
    close(conditional.mean, np.array(mean))
    close(conditional.variance, np.array(variance))
    close(conditional.stddev.square(), np.array(variance))
    close(conditional.log_normalizer - pair.ring().log_normalizer, truths(given_, pair.truth.log_prob))


def test_component_probs(pair, kinds):
    value = random_values(kinds, 7, missing=0.5)
    for actual in (pair.ring().component_probs(value), pair.ring().condition(value).component_probs()):
        assert actual.shape == (7, len(kinds), max(pair.truth.shape))
        for row, probs in zip(value.numpy(), actual, strict=True):
            for expected, p in zip(pair.truth.component_probs(row), probs, strict=True):
                close(p[: len(expected)], expected)
                assert (p[len(expected) :] == 0).all()


def test_marginals_of_every_pair_and_single(pair, kinds):
    n = len(kinds)
    value = random_values(kinds, 5, missing=0.2)
    for kept in [[j] for j in range(n)] + [[i, j] for i in range(n) for j in range(i + 1, n)]:
        full = torch.full_like(value, NAN)
        full[:, kept] = value[:, kept]
        marginal = pair.ring().marginal(kept)
        assert marginal.event_shape == (len(kept),)
        close(marginal.log_prob(value[:, kept]), truths(full, pair.truth.log_prob))
        close(marginal.mean, pair.ring().mean[kept])
        close(marginal.log_normalizer, pair.ring().log_normalizer.detach())


def test_marginals_of_conditionals(pair, kinds):
    n = len(kinds)
    given_ = random_values(kinds, 6, missing=0.6, seed=3)
    value = random_values(kinds, 6, seed=4).where(given_.isnan(), given_)
    kept = sorted({0, n // 2, n - 1})
    marginal = pair.ring().condition(given_).marginal([k - n for k in kept])
    full = torch.full_like(value, NAN)
    full[:, kept] = value[:, kept]
    expected = [pair.truth.log_prob(v, g) for v, g in zip(full.numpy(), given_.numpy(), strict=True)]
    close(marginal.log_prob(value[:, kept]), np.array(expected))
    moments = [pair.truth.moments(row) for row in given_.numpy()]
    close(marginal.mean, np.array([mean for mean, _ in moments])[:, kept])
    close(marginal.variance, np.array([variance for _, variance in moments])[:, kept])
    assert marginal.component_probs().shape[:2] == (6, len(kept))


def test_a_density_integrates_to_one():
    pair = random_pair(["n3", "c2", "n2"], 3, seed=5)
    conditional = pair.ring().condition(torch.tensor([NAN, 1.0, NAN]))
    grid = torch.linspace(-12, 12, 400, dtype=torch.float64)
    x, y = torch.meshgrid(grid, grid, indexing="ij")
    density = conditional.log_prob(torch.stack([x, torch.ones_like(x), y], -1)).exp()
    total = torch.trapezoid(torch.trapezoid(density, grid), grid).item()
    assert total == pytest.approx(1, abs=1e-9)


# -- laws


@st.composite
def rings_with_values(draw):
    """A ring of up to seven variables, a value, and which entries of it belong to a, to b, or to neither."""
    kinds = draw(st.lists(st.sampled_from(["n1", "n2", "n4", "c1", "c2", "c3"]), min_size=1, max_size=7))
    rank, boundary, seed = draw(st.integers(1, 9)), draw(st.sampled_from(BOUNDARIES)), draw(st.integers(0, 99))
    pair = random_pair(kinds, rank, boundary, seed=seed)
    value = random_values(kinds, 1, seed=seed).squeeze(0)
    part = torch.tensor(draw(st.lists(st.sampled_from([0, 1, 2]), min_size=len(kinds), max_size=len(kinds))))
    return pair.ring(), value, part


@given(rings_with_values())
def test_chain_rule(case):
    joint, value, part = case
    a, b, both = (value.where(mask, NAN) for mask in (part == 1, part == 2, part != 0))
    whole = joint.log_prob(both)
    close(joint.log_prob(a) + joint.condition(a).log_prob(b), whole.detach())
    close(joint.log_prob(b) + joint.condition(b).log_prob(both), whole.detach())
    twice = joint.condition(a).condition(b)
    close(twice.mean, joint.condition(both).mean)
    close(twice.log_prob(value), joint.condition(both).log_prob(value).detach())


@given(rings_with_values())
def test_marginal_and_conditional_commute(case):
    joint, value, part = case
    kept = (part != 0).nonzero().flatten().tolist()
    if not kept:
        kept = [0]
    given_ = value.where(part == 1, NAN)
    there = joint.condition(given_).marginal(kept)
    back = joint.marginal(kept).condition(given_[kept])
    close(there.log_prob(value[kept]), back.log_prob(value[kept]).detach())
    close(there.mean, back.mean)
    close(there.variance, back.variance)


@given(rings_with_values())
def test_a_marginal_is_the_joint_summed(case):
    joint, value, part = case
    summed = [
        j for j, v in enumerate(joint.emissions.variables) if v.is_discrete and part[j] == 0 and v.components > 1
    ][:2]
    rows = value.unsqueeze(0)
    for j in summed:
        values = torch.arange(joint.emissions.variables[j].components, dtype=torch.float64)
        rows = rows.repeat_interleave(len(values), 0)
        rows[:, j] = values.repeat(len(rows) // len(values))
    missing = value.clone()
    missing[summed] = NAN
    close(joint.log_prob(rows).logsumexp(0), joint.log_prob(missing).detach())


@given(rings_with_values(), st.integers(-9, 9))
def test_a_ring_is_unchanged_by_a_cyclic_shift(case, shift):
    joint, value, part = case
    if joint.chain.boundary == "train":
        with pytest.raises(ValueError, match="only a ring can be shifted cyclically"):
            joint.roll(shift)
        return
    rolled = joint.roll(shift)
    close(rolled.log_prob(value.roll(shift)), joint.log_prob(value).detach())
    given_ = value.where(part == 1, NAN)
    close(joint.condition(given_).roll(shift).mean, joint.condition(given_).mean.roll(shift))


@pytest.mark.parametrize("kinds", [["n2"] * 5, ["c3"] * 4, ["n2", "c2", "n2", "n3"]])
def test_every_cyclic_shift_of_variables_of_a_kind(kinds):
    joint, value = random_pair(kinds, 3).ring(), random_values(kinds, 4, missing=0.3)
    for shift in range(len(kinds) + 1):
        rolled = joint.roll(shift)
        close(rolled.log_prob(value.roll(shift, -1)), joint.log_prob(value).detach())
        close(rolled.mean.roll(-shift), joint.mean)
        close(rolled.roll(-shift).log_prob(value), joint.log_prob(value).detach())


def test_long_joints_agree_in_both_precisions(boundary):
    torch.manual_seed(0)
    ring = TensorRing([Normal(4), Categorical(3)] * 50, 5, boundary)
    value = ring().sample((20,))
    value[torch.rand_like(value) < 0.3] = NAN
    single, double = ring(), copy.deepcopy(ring).double()()
    torch.testing.assert_close(single.log_prob(value).double(), double.log_prob(value.double()), rtol=1e-5, atol=1e-3)
    conditional, exact = single.condition(value), double.condition(value.double())
    torch.testing.assert_close(conditional.mean.double(), exact.mean, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(conditional.component_probs().double(), exact.component_probs(), rtol=1e-3, atol=1e-5)


# -- derivatives


@pytest.mark.parametrize("rank", [1, 2, 9])
def test_gradients_of_every_parameter_and_of_the_value(rank, boundary):
    kinds = ["n2", "c3", "n2", "n1"]
    ring = random_pair(kinds, rank, boundary, seed=rank).ring
    value = random_values(kinds, 3, seed=rank)
    value[0, 0] = value[1, 1] = value[2, 3] = NAN
    given_ = torch.tensor([[NAN, NAN, 0.3, NAN]] * 3, dtype=torch.float64)
    continuous = value[:, [0]].requires_grad_()

    def log_prob(continuous: Tensor, evidence: Tensor, *parameters: Tensor) -> Tensor:
        named = dict(zip(dict(ring.named_parameters()), parameters, strict=True))
        joint = torch.func.functional_call(ring, named, ())
        full = torch.cat([continuous, value[:, 1:]], 1)
        full = full.where(torch.arange(4) != 2, NAN)
        return torch.stack([joint.log_prob(value.detach()), joint.condition(evidence).log_prob(full)])

    parameters = [p.detach().clone().requires_grad_() for p in ring.parameters()]
    inputs = (continuous, given_.requires_grad_(), *parameters)
    assert torch.autograd.gradcheck(log_prob, inputs, atol=1e-6, fast_mode=rank > 2, check_undefined_grad=False)


@pytest.mark.parametrize("rows", [1, 7, 512, 1025])
def test_gradients_of_sums_are_sums_of_gradients(rows, boundary):
    """However the rows are weighted, and whichever of the inputs need a gradient."""
    kinds = ["n2", "c2", "n3"]
    ring = random_pair(kinds, 3, boundary).ring
    value = random_values(kinds, rows, missing=0.3)
    evidence = torch.tensor([NAN, 1.0, NAN], dtype=torch.float64)
    conditioned = torch.where(evidence.isnan(), value, evidence)
    for weights in (torch.ones(rows), torch.full((rows,), -0.5 / rows), torch.linspace(-1, 1, rows), torch.zeros(rows)):
        for joint, v in ((ring(), value), (ring().condition(evidence), conditioned)):
            v = v.clone().requires_grad_()
            inputs = (v, *ring.parameters())
            actual = torch.autograd.grad(joint.log_prob(v) @ weights.double(), inputs, retain_graph=True)
            logs = [(joint.log_prob(part) @ weights[i : i + 100].double()) for i, part in _chunks(v)]
            expected = torch.autograd.grad(sum(logs), inputs, retain_graph=True)
            for a, e in zip(actual, expected, strict=True):
                torch.testing.assert_close(a, e, rtol=1e-8, atol=1e-10)


def _chunks(value: Tensor) -> list[tuple[int, Tensor]]:
    return [(i, value[i : i + 100]) for i in range(0, len(value), 100)]


def test_a_missing_value_gets_no_gradient(boundary):
    ring = random_pair(["n2", "c2", "n3"], 3, boundary).ring
    value = torch.tensor([[NAN, 1.0, 0.3], [0.1, NAN, NAN]], dtype=torch.float64).requires_grad_()
    ring().log_prob(value).sum().backward()
    assert (value.grad[value.isnan()] == 0).all()
    assert (value.grad[[0, 1], [2, 0]] != 0).all()


# -- bonds


@pytest.mark.parametrize("link", range(4))
def test_bonds_against_enumeration(boundary, link):
    """The entries with one value of the bond alone, by setting to zero what leads to the others."""
    kinds, rank = ["n3", "c2", "n2", "c3"], 3
    pair = random_pair(kinds, rank, boundary, seed=11)
    value = random_values(kinds, 6, missing=0.4, seed=12)
    if boundary == "train" and link == 3:
        with pytest.raises(ValueError, match="no bond follows variable 3"):
            pair.ring().bond_probs(link, value)
        return
    shares = []
    for bond in range(rank):
        cores = [core.copy() for core in pair.truth.cores]
        cores[link][:, :, np.arange(rank) != bond] = 0
        part = Truth(cores, pair.truth.emissions, boundary)
        shares.append([part.weighted(row).sum() / pair.truth.weighted(row).sum() for row in value.numpy()])
    found = pair.ring().bond_probs(link, value)
    close(found, np.array(shares).T)
    close(pair.ring().condition(value).bond_probs(link), found)


def test_bonds_of_a_long_chain_do_not_underflow(boundary):
    torch.manual_seed(0)
    joint = TensorRing([Normal(3)] * 300, rank=4, boundary=boundary)()
    probs = joint.bond_probs(150, torch.randn(5, 300))
    torch.testing.assert_close(probs.sum(-1), torch.ones(5))
    with pytest.raises(ValueError, match="a position from -300 to 299"):
        joint.bond_probs(300)


def test_values_that_contradict_the_evidence_have_no_components():
    torch.manual_seed(0)
    joint = TensorRing([Normal(3), Normal(3), Categorical(4)], rank=3)().condition(
        torch.tensor([math.nan, math.nan, 1.0])
    )
    for ask in (joint.component_probs, lambda value: joint.bond_probs(0, value)):
        with pytest.raises(ValueError, match="value contradicts the evidence"):
            ask(torch.tensor([math.nan, math.nan, 2.0]))
        ask(torch.tensor([0.3, math.nan, 1.0]))


def test_an_empty_batch_of_several_subsets():
    joint = TensorRing([Normal(3), Normal(3), Categorical(4)], rank=3)()
    assert joint.log_marginals(torch.empty(0, 3), [range(3), range(2)]).shape == (2, 0)


def test_half_precision_tells_neighbouring_categories_apart():
    torch.manual_seed(0)
    joint = TensorRing([Normal(3), Categorical(400)], rank=3)()
    values = torch.tensor([[math.nan, 304.0], [0.5, 302.0]])
    torch.testing.assert_close(joint.log_prob(values.bfloat16()), joint.log_prob(values))


class Wide(Normal):
    """A normal variable with a factor on its width, a setting that its components have in common."""

    def __init__(self, components: int, factor: float) -> None:
        super().__init__(components)
        self.factor = factor

    def log_prob(self, parameters, value):
        return super().log_prob({**parameters, "log_scale": parameters["log_scale"] + math.log(self.factor)}, value)


def test_variables_of_one_family_with_settings_of_their_own():
    start = {"loc": torch.zeros(2), "log_scale": torch.zeros(2)}
    ring = TensorRing([Wide(2, 1.0), Wide(2, 5.0)], rank=1, cores=[torch.ones(2, 1, 1)] * 2)
    with torch.no_grad():
        for components in ring.components:
            for name, value in start.items():
                components[name].copy_(value)
    value = torch.tensor([[3.0, math.nan], [math.nan, 3.0]])
    expected = torch.stack([torch.distributions.Normal(0.0, scale).log_prob(torch.tensor(3.0)) for scale in (1.0, 5.0)])
    torch.testing.assert_close(ring().log_prob(value), expected)

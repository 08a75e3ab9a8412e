"""The module: parameters of its own, cores, copies, files, and what is refused."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from googol.distributions import Categorical, Normal, TensorRing

NAN = float("nan")
VARIABLES = [Normal(3), Categorical(2), Normal(4), Normal(3), Categorical(5)]
BOUNDARIES = ["ring", "train"]


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_save_and_load_are_equal_to_the_bit(boundary, tmp_path):
    torch.manual_seed(0)
    ring, other = TensorRing(VARIABLES, 3, boundary), TensorRing(VARIABLES, 3, boundary)
    save_file(ring.state_dict(), tmp_path / "ring.safetensors")
    other.load_state_dict(load_file(tmp_path / "ring.safetensors"))
    value = ring().sample((7,))
    assert torch.equal(ring().log_prob(value), other().log_prob(value))
    torch.manual_seed(1)
    sample = ring().sample((4,))
    torch.manual_seed(1)
    assert torch.equal(other().sample((4,)), sample)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_cores_round_trip(dtype):
    torch.manual_seed(0)
    cores = [torch.rand(v.components, 3, 3, dtype=dtype) * 10.0 ** (3 * j - 6) for j, v in enumerate(VARIABLES)]
    cores[0][1] = 0.0
    cores[3][:, 0, 2] = 0.0
    ring = TensorRing(VARIABLES, 3, cores=cores, dtype=dtype)
    for actual, core in zip(ring.cores, cores, strict=True):
        torch.testing.assert_close(actual.detach(), core, atol=0, rtol=1e-5)
        assert torch.equal(actual == 0, core == 0)
    again = TensorRing(VARIABLES, 3, cores=ring.cores, dtype=dtype)
    value = torch.tensor([0.3, 1.0, -1.0, NAN, 4.0], dtype=dtype)
    torch.testing.assert_close(again().log_prob(value), ring().log_prob(value))
    assert all(gradient.isfinite().all() for gradient in torch.autograd.grad(ring().log_prob(value), ring.log_cores))


def test_cores_carry_gradients_and_are_not_those_given():
    cores = [torch.rand(2, 2, 2) for _ in range(2)]
    ring = TensorRing([Categorical(2)] * 2, 2, cores=cores)
    kept = [core.clone() for core in cores]
    ring.cores[0].sum().backward()
    assert ring.log_cores[0].grad[0].abs().min() > 0
    with torch.no_grad():
        ring.log_cores[0].zero_()
    assert all(torch.equal(a, b) for a, b in zip(cores, kept, strict=True))


def test_cores_may_be_arrays_or_integers():
    ring = TensorRing([Categorical(2)], 1, cores=[torch.tensor([[[1]], [[3]]]).numpy()])
    torch.testing.assert_close(ring().log_prob(torch.tensor([1])).exp().item(), 0.75)


def test_only_the_shape_of_the_tensor_counts_not_the_scale_of_the_cores():
    torch.manual_seed(0)
    cores = [torch.rand(3, 4, 4) + 0.1 for _ in range(4)]
    value = torch.tensor([0, 1, 2, 1])
    reference = TensorRing([Categorical(3)] * 4, 4, cores=cores)()
    scaled = TensorRing([Categorical(3)] * 4, 4, cores=[1e-30 * core for core in cores])()
    torch.testing.assert_close(scaled.log_prob(value), reference.log_prob(value))
    shift = scaled.log_normalizer - reference.log_normalizer
    assert shift.item() == pytest.approx(4 * torch.tensor(1e-30).log().item(), rel=1e-6)


def test_repeated_variables_have_parameters_of_their_own():
    ring = TensorRing([Normal(3)] * 4, 2)
    assert ring.components[0]["loc"].shape == (4, 3)
    ring().log_prob(torch.tensor([0.1, NAN, NAN, NAN])).backward()
    gradient = ring.components[0]["loc"].grad
    assert (gradient[0] != 0).all()
    assert (gradient[1:] == 0).all()


def test_the_cores_of_every_variable_are_learned():
    torch.manual_seed(0)
    ring = TensorRing(VARIABLES, 3)
    ring().log_prob(ring().sample()).backward()
    for parameter in ring.parameters():
        assert parameter.grad.isfinite().all()
        assert (parameter.grad.flatten(1).abs().amax(1) > 0).all()


def test_deepcopy_shares_nothing():
    ring = TensorRing(VARIABLES, 3)
    value = ring().sample()
    other = copy.deepcopy(ring)
    assert torch.equal(other().log_prob(value), ring().log_prob(value))
    with torch.no_grad():
        other.log_cores[0].add_(torch.randn_like(other.log_cores[0]))
    assert not torch.equal(other().log_prob(value), ring().log_prob(value))


def test_moves_between_precisions():
    ring = TensorRing(VARIABLES, 3)
    value = ring().sample((5,))
    expected = ring().log_prob(value)
    for double in (copy.deepcopy(ring).double(), copy.deepcopy(ring).to(torch.float64)):
        assert double().sample().dtype == torch.float64
        assert double().log_prob(value).dtype == torch.float64
        torch.testing.assert_close(double().log_prob(value).float(), expected)
    assert TensorRing(VARIABLES, 3, dtype=torch.float64).log_cores[0].dtype == torch.float64


def test_everything_is_made_on_the_device_asked_for():
    ring = TensorRing(VARIABLES, 3, device="meta")
    assert {p.device.type for p in ring.parameters()} == {"meta"}
    ring = TensorRing(VARIABLES, 3).to("meta")
    assert {t.device.type for t in ring.state_dict().values()} == {"meta"}


def test_a_seed_repeats_the_start():
    rings = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        rings.append(TensorRing(VARIABLES, 3))
    assert torch.equal(rings[0].log_cores[0], rings[1].log_cores[0])
    assert not torch.equal(rings[0].log_cores[0], rings[2].log_cores[0])


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_one_variable_alone(boundary):
    joint = TensorRing([Categorical(3)], 2, boundary, cores=[torch.ones(3, 2, 2) * torch.arange(3.0)[:, None, None]])()
    torch.testing.assert_close(joint.log_prob(torch.tensor([[1.0], [2.0]])).exp(), torch.tensor([1 / 3, 2 / 3]))
    assert joint.log_prob(torch.tensor([0.0])) == -torch.inf


def test_repr_names_the_sizes():
    assert "5 variables, rank=3, boundary='train'" in repr(TensorRing(VARIABLES, 3, "train"))
    assert len(TensorRing(VARIABLES, 3)) == 5


@pytest.mark.parametrize("other", [{"boundary": "train"}, {"order": [1, 0, 2, 3, 4]}, {"swapped": True}])
def test_weights_are_not_loaded_into_a_ring_in_which_they_mean_something_else(other):
    state = TensorRing(VARIABLES, 3).state_dict()
    TensorRing(VARIABLES, 3).load_state_dict(state)
    swapped = [*VARIABLES[1::-1], *VARIABLES[2:]] if other.pop("swapped", False) else VARIABLES
    with pytest.raises(RuntimeError, match="the weights are of a ring with another boundary, order or variables"):
        TensorRing(swapped, 3, **other).load_state_dict(state)


def test_integers_of_numpy_are_integers():
    assert TensorRing([Normal(np.int64(2))], np.int64(3)).rank == 3


ONE = [Categorical(2)]
REFUSED = [
    (lambda: TensorRing([], 2), ValueError, "variables must hold at least one variable"),
    (
        lambda: TensorRing([Normal(2), 3], 2),
        TypeError,
        r"variables\[1\] must be a Variable such as googol\.distributions\.Normal\(10\), got builtins\.int",
    ),
    (
        lambda: TensorRing([torch.distributions.Normal(0, 1)], 2),
        TypeError,
        r"such as googol\.distributions\.Normal\(10\), got torch\.distributions\.normal\.Normal",
    ),
    (lambda: TensorRing([Normal], 2), TypeError, r"variables\[0\] must be a Variable"),
    (lambda: TensorRing(Normal(2), 2), TypeError, "variables must be a sequence of Variables, got Normal"),
    (lambda: TensorRing(ONE, 0), ValueError, "rank must be at least 1, got 0"),
    (lambda: TensorRing(ONE, -3), ValueError, "rank must be at least 1, got -3"),
    (lambda: TensorRing(ONE, 2.5), TypeError, "rank must be an int, got 2.5"),
    (lambda: TensorRing(ONE, True), TypeError, "rank must be an int, got True"),
    (lambda: TensorRing(ONE, 2, "circle"), ValueError, "boundary must be 'ring' or 'train', got 'circle'"),
    (lambda: TensorRing(ONE * 3, 2, order=[0, 2, 2]), ValueError, r"order must hold each of the positions 0 … 2 once"),
    (lambda: TensorRing(ONE, 2, cores=[]), ValueError, "cores must hold one tensor a variable, 1, got 0"),
    (
        lambda: TensorRing(ONE, 2, cores=[torch.ones(2, 2, 3)]),
        ValueError,
        r"cores\[0\] .* \(2, 2, 2\), got \(2, 2, 3\)",
    ),
    (lambda: TensorRing(ONE, 2, cores=[-torch.ones(2, 2, 2)]), ValueError, r"cores\[0\] must be non-negative and fin"),
    (lambda: TensorRing(ONE, 2, cores=[torch.full((2, 2, 2), NAN)]), ValueError, r"cores\[0\] must be non-negative"),
    (lambda: TensorRing(ONE, 2, cores=[torch.zeros(2, 2, 2)]), ValueError, r"cores\[0\] must have a positive entry"),
    (lambda: TensorRing(ONE, 2).fit_initial([[0.0]]), ValueError, r"samples must have the shape \(B, 1\).* got list"),
    (lambda: TensorRing(ONE, 2).fit_initial(torch.zeros(1, 1)), ValueError, r"B at least 2, got \(1, 1\)"),
    (lambda: TensorRing(ONE, 2).fit_initial(torch.zeros(5)), ValueError, r"samples must have the shape \(B, 1\)"),
    (lambda: TensorRing(ONE, 2).fit_initial(torch.zeros(5, 2)), ValueError, r"samples must have the shape \(B, 1\)"),
    (
        lambda: TensorRing(ONE, 2).fit_initial(torch.full((5, 1), NAN)),
        ValueError,
        r"an observed entry.*, none for \[0\]",
    ),
    (
        lambda: TensorRing(ONE, 2).fit_initial(torch.full((5, 1), torch.inf)),
        ValueError,
        "samples must be finite or NaN",
    ),
    (
        lambda: TensorRing(ONE, 2).fit_initial(torch.full((5, 1), 2.0)),
        ValueError,
        r"samples\[…, 0\] must be one of 0 … 1",
    ),
]


@pytest.mark.parametrize(("call", "error", "message"), REFUSED, ids=[message for *_, message in REFUSED])
def test_refusals(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_bad_samples_are_refused_where_validation_is_switched_off(monkeypatch):
    """Some libraries do that for everybody when they are imported."""
    monkeypatch.setattr(torch.distributions.Distribution, "_validate_args", False)
    with pytest.raises(ValueError, match="must be one of 0 … 1"):
        TensorRing(ONE, 2).fit_initial(torch.full((5, 1), 2.0))


def test_a_refused_start_changes_nothing():
    ring = TensorRing([Normal(2), Categorical(2)], 2)
    before = copy.deepcopy(ring.state_dict())
    with pytest.raises(ValueError, match="must be one of"):
        ring.fit_initial(torch.full((5, 2), 3.0))
    assert all(torch.equal(value, before[name]) for name, value in ring.state_dict().items())


@pytest.mark.parametrize("boundary", ["ring", "train"])
@pytest.mark.parametrize("order", [[3, 0, 4, 1, 2], [0, 2, 1, 3, 4]])
def test_an_order_along_the_chain_is_that_of_a_chain_of_permuted_variables(order, boundary):
    torch.manual_seed(0)
    variables = [Normal(3), Categorical(2), Normal(4), Categorical(3), Normal(3)]
    ours = TensorRing(variables, 3, boundary, order=order, dtype=torch.float64)
    permuted = TensorRing([variables[j] for j in order], 3, boundary, dtype=torch.float64)
    permuted._set_cores([ours.cores[j] for j in order])
    v = torch.tensor([[0.3, 1.0, -1.0, 2.0, NAN], [NAN, 0.0, 2.0, NAN, 0.1]], dtype=torch.float64)
    a, b = ours(), permuted()
    torch.testing.assert_close(a.log_prob(v), b.log_prob(v[:, order]))
    torch.testing.assert_close(a.component_probs(v)[:, order], b.component_probs(v[:, order]))
    torch.testing.assert_close(a.mean[order], b.mean)
    torch.testing.assert_close(a.condition(v).variance[:, order], b.condition(v[:, order]).variance)
    torch.testing.assert_close(a.condition(v).mode[:, order], b.condition(v[:, order]).mode)
    kept = a.marginal([0, 1, 3])
    others_open = v.index_fill(1, torch.tensor([2, 4]), NAN)
    torch.testing.assert_close(kept.log_prob(v[:, [0, 1, 3]]), b.log_prob(others_open[:, order]))
    of_marginal = a.condition(v).marginal([1, 4])
    assert of_marginal.event_shape == (2,)
    torch.testing.assert_close(of_marginal.mean, a.condition(v).mean[:, [1, 4]])
    sample = a.condition(v).sample((7,))
    assert torch.equal(sample[:, ~v.isnan()], v[~v.isnan()].expand(7, -1))
    assert bool((sample[..., 1] < 2).all())
    with pytest.raises(ValueError, match="in their own order" if boundary == "ring" else "this is a train"):
        a.roll(1)


def test_fit_initial_of_a_ring_with_an_order():
    torch.manual_seed(0)
    codes = torch.randn(500, 4)
    samples = torch.cat([codes, (codes[:, 1:2] > 0).float()], 1)
    for order in (None, [0, 4, 1, 2, 3]):
        ring = TensorRing([Normal(5)] * 4 + [Categorical(2)], 6, "train", order=order)
        ring.fit_initial(samples)
        samples_without = samples.clone()
        samples_without[:, -1] = NAN
        found = ring().component_probs(samples_without)[:, -1, :2].argmax(-1)
        assert (found == samples[:, -1]).float().mean() > 0.8


# -- shares of values


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("order", [None, [4, 0, 2, 1, 3]])
def test_marginals_are_matched_and_nothing_else_is_changed(boundary, order):
    torch.manual_seed(0)
    ring = TensorRing(VARIABLES, 3, boundary, order=order, dtype=torch.float64)
    value = ring().sample((6,))
    evidence = value.index_fill(1, torch.tensor([0, 2, 3]), NAN)
    before = ring().condition(evidence).log_prob(value).detach()
    odds = ring().component_probs(torch.full((5,), NAN, dtype=torch.float64))
    ring.match_marginals({1: torch.tensor([0.2, 0.8]), 4: torch.tensor([5, 1, 0, 2, 2])})
    after = ring().component_probs(torch.full((5,), NAN, dtype=torch.float64))
    expected = torch.tensor([0.5, 0.1, 0.0, 0.2, 0.2], dtype=torch.float64)
    torch.testing.assert_close(after[4, :5], expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(after[1, :2], torch.tensor([0.2, 0.8], dtype=torch.float64), atol=1e-5, rtol=0)
    possible = value[:, 4] != 2
    assert bool(possible.any())
    torch.testing.assert_close(ring().condition(evidence).log_prob(value)[possible], before[possible])
    # The association of the two conditions, as ratios of odds, is that of before.
    torch.manual_seed(0)
    old = TensorRing(VARIABLES, 3, boundary, order=order, dtype=torch.float64)
    tables = []
    for each in (old, ring):
        pairs = torch.cartesian_prod(torch.arange(2.0), torch.tensor([0.0, 1.0, 3.0, 4.0])).double()
        tables.append(each().marginal([1, 4]).log_prob(pairs).view(2, 4).detach())
    ratios = [table - table[:1] - table[:, :1] + table[0, 0] for table in tables]
    torch.testing.assert_close(ratios[1], ratios[0])
    assert not torch.allclose(after, odds)


@pytest.mark.parametrize(
    ("probs", "message"),
    [
        ({0: torch.ones(3)}, "discrete"),
        ({1: torch.ones(3)}, r"probs\[1\] must be 2 probabilities"),
        ({1: torch.tensor([-1.0, 2.0])}, "2 probabilities"),
        ({1: torch.tensor([NAN, 2.0])}, "2 probabilities"),
        ({1: torch.zeros(2)}, "2 probabilities"),
        ({7: torch.ones(2)}, "positions of 5 variables"),
    ],
)
def test_impossible_marginals_are_refused_and_change_nothing(probs, message):
    ring = TensorRing(VARIABLES, 3)
    before = copy.deepcopy(ring.state_dict())
    with pytest.raises(ValueError, match=message):
        ring.match_marginals({4: torch.ones(5)} | probs)
    assert all(torch.equal(value, before[name]) for name, value in ring.state_dict().items())

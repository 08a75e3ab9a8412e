"""A tensor ring's distribution as one of torch's: shapes, contexts, precisions, and what it refuses."""

from __future__ import annotations

import copy

import pytest
import torch
from oracles import random_pair, random_values
from torch.distributions import AffineTransform, Distribution, Independent, TransformedDistribution, constraints

from googol.distributions import Categorical, Normal, TensorRing, TensorRingDistribution

NAN = float("nan")
KINDS = ["n3", "c2", "n4", "c3"]
VALUE = torch.tensor([0.3, 1.0, -0.5, 2.0])


@pytest.fixture(params=["ring", "train"])
def ring(request) -> TensorRing:
    return random_pair(KINDS, 4, request.param, dtype=torch.float32).ring


@pytest.fixture
def joint(ring) -> TensorRingDistribution:
    return ring()


@pytest.fixture(autouse=True)
def validation(monkeypatch):
    """Some libraries switch it off for everybody when they are imported."""
    monkeypatch.setattr(Distribution, "_validate_args", True)


@pytest.fixture
def uninitialized_is_nan():
    """Memory that nobody wrote to is NaN and not, by chance, zero."""
    torch.use_deterministic_algorithms(True, warn_only=True)
    yield
    torch.use_deterministic_algorithms(False)


# -- shapes


SHAPES = [(), (1,), (5,), (2, 3), (0,), (2, 0)]


@pytest.mark.parametrize("batch_shape", SHAPES)
@pytest.mark.parametrize("sample_shape", SHAPES)
def test_shapes(joint, batch_shape, sample_shape):
    evidence = torch.tensor([NAN, 1.0, NAN, 0.0]).expand(*batch_shape, 4)
    for distribution in (joint.condition(evidence), joint.expand(batch_shape)):
        assert isinstance(distribution, Distribution)
        assert distribution.batch_shape == batch_shape
        assert distribution.event_shape == (4,)
        sample = distribution.sample(sample_shape)
        assert sample.shape == (*sample_shape, *batch_shape, 4)
        assert sample.dtype == torch.float32
        assert distribution.log_prob(sample).shape == (*sample_shape, *batch_shape)
        assert distribution.component_probs(sample).shape == (*sample_shape, *batch_shape, 4, 4)
        assert distribution.component_probs().shape == (*batch_shape, 4, 4)
        for name in ("mean", "variance", "stddev", "mode"):
            assert getattr(distribution, name).shape == (*batch_shape, 4)
        assert distribution.log_normalizer.shape == batch_shape
        assert distribution.marginal([1, 3]).sample(sample_shape).shape == (*sample_shape, *batch_shape, 2)
    assert joint.condition(evidence).rsample(sample_shape).shape == (*sample_shape, *batch_shape, 4)


def test_values_and_evidence_broadcast(joint):
    evidence = torch.tensor([[NAN, 1.0, NAN, NAN], [NAN, 0.0, NAN, 2.0], [0.3, NAN, NAN, NAN]])
    value = random_values(KINDS, 5).float()[:, None].where(evidence.isnan(), evidence)  # (5, 3, 4)
    conditional = joint.condition(evidence)
    expected = torch.stack([joint.condition(e).log_prob(v) for e, v in zip(evidence, value.unbind(1), strict=True)], 1)
    torch.testing.assert_close(conditional.log_prob(value), expected)
    assert conditional.log_prob(value[0, 0].where(evidence[0].isnan(), NAN)).shape == (3,)
    torch.testing.assert_close(joint.expand((2, 3)).log_prob(VALUE), joint.log_prob(VALUE).expand(2, 3))
    assert joint.expand((3,)).expand((2, 3)).batch_shape == (2, 3)


def test_many_rows_of_evidence_are_conditioned_on_in_blocks(joint):
    evidence = random_values(KINDS, 1025, missing=0.5).float()
    conditional = joint.condition(evidence)
    value = conditional.sample()
    torch.testing.assert_close(
        conditional.log_prob(value)[::171], joint.condition(evidence[::171]).log_prob(value[::171])
    )
    torch.testing.assert_close(conditional.mean[::171], joint.condition(evidence[::171]).mean)


@pytest.mark.parametrize("batch_shape", [(0,), (2, 0)])
def test_gradients_of_an_empty_batch_are_zero(ring, batch_shape, uninitialized_is_nan):
    empty = torch.zeros(*batch_shape, 4)
    for joint in (ring(), ring().condition(empty)):
        joint.log_prob(empty).sum().backward()
    assert all(not parameter.grad.any() for parameter in ring.parameters())


# -- conventions of torch.distributions


def test_support(joint):
    assert joint.support.event_dim == 1
    assert joint.support.check(torch.stack([VALUE, VALUE + 0.5])).tolist() == [True, False]
    assert joint.marginal([0, 2]).support.check(torch.tensor([0.2, 0.7]))


def test_has_rsample(joint):
    assert not joint.has_rsample
    assert joint.marginal([0, 2]).has_rsample
    assert joint.condition(torch.tensor([NAN, 1.0, NAN, 0.0])).has_rsample
    assert not joint.condition(torch.tensor([[NAN, 1.0, NAN, 0.0], [NAN, 1.0, NAN, NAN]])).has_rsample


def test_wraps_into_other_distributions(joint):
    values = random_values(KINDS, 3).float()
    torch.testing.assert_close(Independent(joint.expand((3,)), 1).log_prob(values), joint.log_prob(values).sum())
    latent = joint.marginal([0, 2])
    moved = TransformedDistribution(latent, AffineTransform(1.0, 2.0, event_dim=0))
    assert moved.event_shape == (2,)
    assert moved.rsample((3,)).shape == (3, 2)
    expected = latent.log_prob((VALUE[[0, 2]] - 1) / 2) - 2 * torch.tensor(2.0).log()
    torch.testing.assert_close(moved.log_prob(VALUE[[0, 2]]), expected)


def test_repr_is_short(joint):
    assert repr(joint) == "TensorRingDistribution()"


def test_a_module_is_a_prior_that_trains():
    prior = TensorRing([Normal(3)] * 2, 3)
    optimizer = torch.optim.Adam(prior.parameters(), 0.05)
    data = torch.randn(200, 2, generator=torch.Generator().manual_seed(0)) * 0.1 + 1
    losses = []
    for _ in range(60):
        loss = -prior().log_prob(data).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] - 1


# -- contexts and precisions


def test_autocast_does_not_touch_the_chain(ring):
    evidence = random_values(KINDS, 6, missing=0.5).float()
    complete = evidence.where(~evidence.isnan() | torch.tensor([True, False, True, False]), 1.0)

    def everything(use: bool) -> list[torch.Tensor]:
        torch.manual_seed(0)
        module = copy.deepcopy(ring)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=use):
            joint = module()
            conditional = joint.condition(evidence)
            results = [joint.log_prob(evidence), joint.marginal([0, 3]).log_prob(evidence[:, [0, 3]]), joint.mean]
            results += [conditional.mean, conditional.mode, conditional.sample((4,)), conditional.component_probs()]
            results += [joint.condition(complete).rsample((4,))]
        sum(result.sum() for result in results).backward()
        module.fit_initial(results[5].reshape(-1, 4).detach())
        return results + [p.grad for p in module.parameters()] + module.cores

    for actual, expected in zip(everything(True), everything(False), strict=True):
        assert torch.equal(actual, expected)


@pytest.mark.parametrize("boundary", ["ring", "train"])
def test_products_of_fewer_digits_do_not_touch_the_chain(monkeypatch, boundary):
    monkeypatch.setenv("GOOGOL_KERNELS", "0")
    module = TensorRing([Normal(10)] * 30, rank=32, boundary=boundary)
    values = torch.randn(200, 30)

    def everything() -> list[torch.Tensor]:
        module.zero_grad()
        log_prob = module().log_prob(values)
        (log_prob * torch.linspace(0, 1, 200)).sum().backward()
        return [log_prob.detach(), *(p.grad.clone() for p in module.parameters())]

    expected = everything()
    torch.set_float32_matmul_precision("medium")
    try:
        actual = everything()
        assert torch.get_float32_matmul_precision() == "medium"
        assert torch.backends.mkldnn.matmul.fp32_precision == "bf16"
    finally:
        torch.set_float32_matmul_precision("highest")
    for one, other in zip(actual, expected, strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
def test_without_gradients(ring, context):
    evidence = random_values(KINDS, 3, missing=0.5).float()

    def everything() -> list[torch.Tensor]:
        torch.manual_seed(0)
        joint = ring()
        conditional = joint.condition(evidence)
        results = [joint.log_prob(evidence), conditional.mean, conditional.variance, conditional.mode]
        results += [conditional.sample((2,)), conditional.component_probs(), conditional.marginal([0]).mean]
        return [*results, joint.marginal([0, 2]).rsample((2,)), joint.log_normalizer]

    expected = everything()
    with context():
        actual = everything()
    for a, e in zip(actual, expected, strict=True):
        assert torch.equal(a, e)
        assert not a.requires_grad


def test_moments_and_samples_carry_no_gradient(joint):
    for value in (joint.mean, joint.variance, joint.mode, joint.component_probs(), joint.sample()):
        assert not value.requires_grad
    assert joint.log_prob(VALUE).requires_grad
    assert joint.log_normalizer.requires_grad


def test_dtypes_of_values(joint):
    expected = joint.log_prob(torch.ones(4))
    for dtype in (torch.int64, torch.uint8, torch.bool, torch.bfloat16, torch.float16):
        torch.testing.assert_close(joint.log_prob(torch.ones(4, dtype=dtype)), expected)
    double = joint.log_prob(VALUE.double())
    assert double.dtype == torch.float64
    torch.testing.assert_close(double.float(), joint.log_prob(VALUE))


def test_evidence_of_another_precision_agrees_with_itself(joint):
    for dtype in (torch.float64, torch.bfloat16):
        evidence = torch.tensor([0.1, NAN, NAN, NAN], dtype=dtype)
        conditional = joint.condition(evidence)
        assert conditional.log_prob(evidence).item() == pytest.approx(0, abs=1e-5)
        assert conditional.condition(evidence).batch_shape == ()
        value = torch.tensor([NAN, 1.0, 0.5, NAN])
        torch.testing.assert_close(conditional.log_prob(value.to(dtype)).float(), conditional.log_prob(value))


def test_nothing_given_is_changed(joint):
    value = random_values(KINDS, 4, missing=0.4).float()
    before, positions = value.clone(), [0, 2]
    conditional = joint.condition(value)
    evidence = conditional.sample()
    kept = evidence.clone()
    for call in (joint.log_prob, joint.component_probs, joint.condition, conditional.condition, conditional.log_prob):
        call(value)
    joint.condition(evidence).sample((2,)).fill_(0)
    joint.condition(evidence).mean.fill_(0)
    joint.marginal(positions)
    assert torch.equal(value, before) or torch.equal(value.nan_to_num(), before.nan_to_num())
    assert torch.equal(evidence, kept)
    assert positions == [0, 2]


# -- what is refused


REFUSED = [
    (lambda j: j.log_prob([0.0] * 4), TypeError, r"value must be a tensor, got list"),
    (
        lambda j: j.log_prob(torch.zeros(4, dtype=torch.complex64)),
        TypeError,
        r"value must be real, got torch.complex64",
    ),
    (lambda j: j.log_prob(torch.tensor(0.0)), ValueError, r"value must have the shape \(…, 4\), got \(\)"),
    (lambda j: j.log_prob(torch.zeros(2, 3)), ValueError, r"value must have the shape \(…, 4\), got \(2, 3\)"),
    (lambda j: j.log_prob(VALUE * torch.inf), ValueError, r"value must be finite or NaN .* got an infinite entry"),
    (
        lambda j: j.log_prob(VALUE + torch.tensor([0, 1, 0, 0])),
        ValueError,
        r"value\[…, 1\] must be one of 0 … 1.* got 2",
    ),
    (
        lambda j: j.log_prob(VALUE - torch.tensor([0, 0, 0, 3])),
        ValueError,
        r"value\[…, 3\] must be one of 0 … 2.* got -1",
    ),
    (lambda j: j.log_prob(VALUE + 0.25), ValueError, r"value\[…, 1\] must be one of 0 … 1.* got 1.25"),
    (lambda j: j.condition(torch.zeros(5)), ValueError, r"value must have the shape \(…, 4\), got \(5,\)"),
    (lambda j: j.condition(VALUE + 9), ValueError, r"value\[…, 1\] must be one of"),
    (lambda j: j.component_probs(torch.zeros(1)), ValueError, r"value must have the shape"),
    (lambda j: j.condition(VALUE).condition(VALUE + torch.tensor([1.0, 0, 0, 0])), ValueError, r"value contradicts"),
    (lambda j: j.marginal([]), ValueError, r"variables must be positions from -4 to 3, at least one, got \[\]"),
    (lambda j: j.marginal([0, 4]), ValueError, r"variables must be positions from -4 to 3, at least one, got \[0, 4\]"),
    (lambda j: j.marginal([-5]), ValueError, r"variables must be positions from -4 to 3"),
    (lambda j: j.marginal([2, 1]), ValueError, r"variables must be increasing, got \[2, 1\]"),
    (lambda j: j.marginal([1, -3]), ValueError, r"variables must be increasing, got \[1, -3\]"),
    (lambda j: j.marginal([0.5]), TypeError, r"variables must be a sequence of positions \(ints\), got \[0.5\]"),
    (lambda j: j.marginal(0), TypeError, r"variables must be a sequence of positions \(ints\), got 0"),
    (lambda j: j.sample((2, -1)), ValueError, r"sample_shape must not have a negative size, got \(2, -1\)"),
    (lambda j: j.marginal([0]).rsample((-3,)), ValueError, r"sample_shape must not have a negative size, got \(-3,\)"),
    (lambda j: j.sample(temperature=-0.5), ValueError, r"temperature must be at least 0 and finite, got -0.5"),
    (lambda j: j.rsample(), ValueError, r"rsample needs continuous variables, but variables \[1, 3\] are discrete"),
    (lambda j: j.marginal([2, 3]).rsample(), ValueError, r"but variables \[1\] are discrete"),
    (lambda j: j.condition(VALUE).marginal([0]).roll(1), ValueError, r"shifted"),
]


@pytest.mark.parametrize(("call", "error", "message"), REFUSED, ids=[message for *_, message in REFUSED])
def test_refusals_say_what_was_expected_and_what_came(joint, call, error, message):
    with pytest.raises(error, match=message):
        call(joint)


def test_a_value_against_the_evidence_has_no_density(joint):
    conditional = joint.condition(torch.tensor([NAN, 1.0, NAN, NAN]))
    assert conditional.log_prob(VALUE).isfinite()
    assert conditional.log_prob(VALUE - torch.tensor([0, 1.0, 0, 0])) == -torch.inf


def test_validation_can_be_switched_off(joint):
    unchecked = TensorRingDistribution(joint.chain, joint.emissions, validate_args=False)
    assert unchecked.log_prob(VALUE + 0.25) == -torch.inf
    assert unchecked.condition(VALUE).marginal([0])._validate_args is False
    with pytest.raises(ValueError, match="must have the shape"):
        unchecked.log_prob(torch.zeros(3))


def test_support_is_that_of_the_variables():
    assert Normal(2).support is constraints.real
    assert Categorical(3).support.check(torch.tensor([-1.0, 0.0, 0.5, 2.0, 3.0])).tolist() == [
        False,
        True,
        False,
        True,
        False,
    ]

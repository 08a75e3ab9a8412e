"""Variables and their emissions: parameters, densities, samples, and what is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from oracles import random_values
from scipy.stats import kstest, norm

from googol.distributions import Categorical, Normal, TensorRing
from googol.distributions.emissions import Emissions
from googol.distributions.variables import Variable

NAN = float("nan")


def emissions_of(variables: list[Variable], dtype: torch.dtype = torch.float64) -> Emissions:
    return TensorRing(variables, 2, dtype=dtype)().emissions


def test_emissions_of_a_mix_are_in_the_order_of_the_variables():
    kinds = ["n3", "c2", "n2", "n3", "c4", "c2"]
    random = np.random.default_rng(0)
    parameters = [(random.normal(0, 2, int(k[1:])), random.uniform(0.3, 2, int(k[1:]))) for k in kinds]
    variables = [
        Categorical(int(k[1:])) if k[0] == "c" else Normal(int(k[1:]), loc=loc, scale=scale)
        for k, (loc, scale) in zip(kinds, parameters, strict=True)
    ]
    value = random_values(kinds, 5, missing=0.3)
    actual = emissions_of(variables).log_prob(value).detach()
    assert actual.shape == (6, 5, 4)
    for j, (kind, (loc, scale)) in enumerate(zip(kinds, parameters, strict=True)):
        for b, v in enumerate(value[:, j].tolist()):
            with np.errstate(divide="ignore"):
                expected = norm.logpdf(v, loc, scale) if kind[0] == "n" else np.log(np.arange(int(kind[1:])) == v)
            expected = np.zeros_like(expected) if math.isnan(v) else expected
            np.testing.assert_allclose(actual[j, b, : len(expected)], expected)


def test_selected_emissions():
    variables = [Normal(2, loc=[float(j), -1.0], scale=1.0) for j in range(4)] + [Categorical(3)]
    emissions = emissions_of(variables)
    value = random_values(["n2"] * 4 + ["c3"], 3)
    whole = emissions.log_prob(value)
    for kept in ([0], [1, 4], [3, 0, 2], [4]):
        part = emissions.select(kept)
        torch.testing.assert_close(part.log_prob(value[:, kept]), whole[kept, :, : part.components])


def test_double_precision_only_where_it_is_needed():
    emissions = emissions_of([Normal(3, scale=1.0)] * 2, torch.float32)
    assert emissions.log_prob(torch.tensor([[3.0, NAN]])).dtype == torch.float32
    far = emissions.log_prob(torch.tensor([[3000.0, NAN]]))
    assert far.dtype == torch.float64
    np.testing.assert_allclose(far[0, 0].detach(), norm.logpdf(3000.0, [-2.0, 0.0, 2.0], 1.0), rtol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("of_value", [torch.bfloat16, torch.float32, torch.float64])
def test_never_less_precise_than_the_parameters(dtype, of_value):
    for variables in ([Categorical(2)] * 2, [Normal(2), Categorical(2)]):
        ring = TensorRing(variables, 3, dtype=dtype)
        expected = ring().log_prob(torch.ones(3, 2, dtype=dtype))
        actual = ring().log_prob(torch.ones(3, 2, dtype=of_value))
        assert actual.dtype == torch.promote_types(dtype, of_value)
        torch.testing.assert_close(actual.to(dtype), expected)


def test_samples_of_components():
    torch.manual_seed(0)
    emissions = emissions_of([Normal(2, loc=[-3.0, 5.0], scale=[0.5, 2.0]), Categorical(3)])
    index = torch.tensor([[1], [2]]).expand(2, 5000)
    sample = emissions.sample(index)
    assert sample.shape == (5000, 2)
    assert kstest(sample[:, 0], norm(5.0, 2.0).cdf).pvalue > 1e-5
    assert (sample[:, 1] == 2).all()


def test_moments_of_components():
    mean, variance = emissions_of([Normal(2, loc=[-3.0, 5.0], scale=[0.5, 2.0]), Categorical(3)]).moments()
    torch.testing.assert_close(mean[0, :2], torch.tensor([-3.0, 5.0], dtype=torch.float64))
    torch.testing.assert_close(variance[0, :2], torch.tensor([0.25, 4.0], dtype=torch.float64))
    assert mean[1].tolist() == [0, 1, 2]
    assert variance[1].tolist() == [0, 0, 0]


@pytest.mark.parametrize("loc", [[-1.0, 0.0, 1.0], (-1, 0, 1), np.array([-1.0, 0, 1]), torch.tensor([-1.0, 0, 1])])
@pytest.mark.parametrize("scale", [0.5, [0.5, 0.5, 0.5], torch.tensor(0.5)])
def test_components_to_start_from(loc, scale):
    start = Normal(3, loc=loc, scale=scale).initial_parameters()
    torch.testing.assert_close(start["loc"].double(), torch.tensor([-1.0, 0, 1], dtype=torch.float64))
    torch.testing.assert_close(start["log_scale"].exp().double(), torch.full((3,), 0.5, dtype=torch.float64))


def test_numbers_given_keep_their_digits_in_a_double_ring():
    ring = TensorRing([Normal(2, loc=[0.1, 0.2], scale=0.3)], 2, dtype=torch.float64)
    assert ring.components[0]["loc"].tolist() == [[0.1, 0.2]]
    np.testing.assert_allclose(ring.components[0]["log_scale"].detach().exp(), 0.3, rtol=1e-15)


def test_what_is_given_is_copied():
    loc = torch.tensor([0.0, 1.0], requires_grad=True)
    variable = Normal(2, loc=loc)
    with torch.no_grad():
        loc.add_(1)
    assert variable.loc.tolist() == [0.0, 1.0]
    ring = TensorRing([variable], 1)
    with torch.no_grad():
        ring.components[0]["loc"].add_(5)
    assert variable.loc.tolist() == [0.0, 1.0]


@pytest.mark.parametrize("components", [1, 2, 10, 100])
def test_default_components_cover_the_standard_normal_range(components):
    variable = Normal(components)
    assert variable.loc.shape == (components,)
    assert variable.loc.abs().max() <= 2
    assert (variable.scale > 0).all()
    if components > 1:
        assert variable.loc.diff().max() <= 4 * variable.scale.max()  # no gaps


REFUSED = [
    (lambda: Normal(0), ValueError, "components must be at least 1, got 0"),
    (lambda: Categorical(-1), ValueError, "components must be at least 1, got -1"),
    (lambda: Normal(2.5), TypeError, "components must be an int, got 2.5 of type float"),
    (lambda: Categorical(True), TypeError, "components must be an int, got True of type bool"),
    (lambda: Categorical("3"), TypeError, "components must be an int, got '3' of type str"),
    (lambda: Normal(3, loc=[0.0, 1.0]), ValueError, r"loc must have the shape \(3,\), got \(2,\)"),
    (lambda: Normal(2, scale=[[1.0, 1.0]]), ValueError, r"scale must have the shape \(2,\), got \(1, 2\)"),
    (lambda: Normal(2, loc=[0.0, NAN]), ValueError, r"loc must be finite, got \[0.0, nan\]"),
    (lambda: Normal(2, scale=[1.0, math.inf]), ValueError, r"scale must be finite, got \[1.0, inf\]"),
    (lambda: Normal(2, scale=0.0), ValueError, r"scale must be positive, got \[0.0, 0.0\]"),
    (lambda: Normal(2, scale=[1.0, -1.0]), ValueError, r"scale must be positive, got \[1.0, -1.0\]"),
    (lambda: Normal(2, loc="ab"), TypeError, "loc must be numbers, got 'ab'"),
    (lambda: Normal(2, [0.0, 1.0]), TypeError, "positional"),
]


@pytest.mark.parametrize(("call", "error", "message"), REFUSED, ids=[message for *_, message in REFUSED])
def test_refusals(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_repr():
    assert repr([Normal(3), Categorical(2)]) == "[Normal(3), Categorical(2)]"

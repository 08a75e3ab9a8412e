"""Starting from data: where components go, what the cores say, and that it is a better start than chance."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from googol.distributions import Categorical, Normal, TensorRing
from googol.distributions.initial import fit_latent_classes

NAN = float("nan")
BOUNDARIES = ["ring", "train"]
VARIABLES = [Normal(5), Categorical(3), Normal(4), Categorical(2)]


@pytest.fixture(params=BOUNDARIES)
def boundary(request):
    return request.param


def clusters(rows: int, seed: int = 0) -> Tensor:
    """Three well separated clusters in which all four variables depend on each other."""
    random = np.random.default_rng(seed)
    cluster = random.integers(3, size=rows)
    first = np.array([-30.0, 10.0, 50.0])[cluster] + random.normal(0, 2, rows)
    third = np.array([0.5, -0.3, 0.1])[cluster] + random.normal(0, 0.05, rows)
    flipped = random.random(rows) < 0.1
    return torch.from_numpy(np.stack([first, cluster, third, (cluster == 1) ^ flipped], -1)).float()


def fitted(samples: Tensor, rank: int = 4, boundary: str = "ring", seed: int = 0, variables=VARIABLES) -> TensorRing:
    torch.manual_seed(seed)
    ring = TensorRing(variables, rank, boundary)
    ring.fit_initial(samples)
    return ring


def sound(ring: TensorRing, samples: Tensor) -> None:
    """No entry is zero, every number is finite, and training can begin."""
    for core in ring.cores:
        assert (core > 0).all()
        assert core.isfinite().all()
    log_prob = ring().log_prob(samples)
    assert log_prob.isfinite().all()
    gradients = torch.autograd.grad(log_prob.sum(), tuple(ring.parameters()))
    assert all(gradient.isfinite().all() for gradient in gradients)


def test_components_are_placed_on_the_data(boundary):
    samples = clusters(2000)
    ring = fitted(samples, boundary=boundary)
    sound(ring, samples)
    means, variances = ring().emissions.moments()
    for column in (0, 2):
        loc, scale = (of[column, : VARIABLES[column].components].detach() for of in (means, variances.sqrt()))
        low, high = samples[:, column].min(), samples[:, column].max()
        assert (loc >= low).all()
        assert (loc <= high).all()
        assert (loc.diff() > 0).all()
        distance = (samples[:, column, None] - loc).abs() / scale
        assert distance.amin(1).quantile(0.95) < 3


def test_a_better_start_than_chance(boundary):
    train, test = clusters(2000, seed=1), clusters(500, seed=2)
    started = fitted(train, boundary=boundary)
    placed_only = fitted(train, boundary=boundary)  # components on the data, cores at random
    with torch.no_grad():
        for log_core in placed_only.log_cores:
            log_core.normal_()
    default = TensorRing(VARIABLES, 4, boundary)
    scores = [ring().log_prob(test).mean().item() for ring in (started, placed_only, default)]
    assert scores[0] > scores[1] + 1
    assert scores[0] > scores[2] + 10
    # The start knows what depends on what.
    conditional = started().condition(torch.tensor([50.0, NAN, NAN, NAN]))
    assert conditional.marginal([1]).log_prob(torch.tensor([2.0])).exp() > 0.8


def test_missing_values_are_skipped(boundary):
    samples = clusters(2000)
    holed = samples.clone()
    holed[torch.rand(samples.shape, generator=torch.Generator().manual_seed(0)) < 0.5] = NAN
    ring = fitted(holed, boundary=boundary)
    sound(ring, samples)
    assert ring().log_prob(samples).mean() > TensorRing(VARIABLES, 4, boundary)().log_prob(samples).mean() + 10
    complete = fitted(samples, boundary=boundary)
    means = [of().emissions.moments()[0][0, :5] for of in (ring, complete)]
    torch.testing.assert_close(*means, atol=2.0, rtol=0.2)


def test_a_variable_seen_once_and_rows_without_any():
    samples = torch.full((10, 4), NAN)
    samples[:5] = clusters(5)
    samples[1:, 2] = NAN
    sound(fitted(samples), clusters(3))


@pytest.mark.parametrize("rank", [1, 3, 8, 30])
@pytest.mark.parametrize("rows", [2, 3, 12])
def test_fewer_samples_than_classes(rows, rank, boundary):
    samples = clusters(rows)
    sound(fitted(samples, rank, boundary), samples)
    sound(fitted(samples, rank, boundary), clusters(5, seed=9))


def test_constant_columns(boundary):
    samples = torch.tensor([[0.0, 1.0, -1e4, 0.0]]).expand(50, -1)
    ring = fitted(samples, boundary=boundary)
    sound(ring, samples)
    assert (ring().log_prob(samples) > ring().log_prob(samples + torch.tensor([1.0, 0, 1000, 0]))).all()


def test_values_that_were_never_seen_can_happen(boundary):
    samples = clusters(300)
    samples[:, 1] = 0.0
    ring = fitted(samples, boundary=boundary)
    sound(ring, clusters(20))
    probability = ring().marginal([1]).log_prob(torch.tensor([[0.0], [1.0], [2.0]])).exp()
    assert probability[0] > 0.98
    assert (probability[1:] > 1e-5).all()


@pytest.mark.parametrize("scale", [1e-7, 1e-3, 1.0, 1e6])
def test_the_start_follows_the_scale_of_the_data(scale):
    samples = clusters(500)[:, [0, 2]]
    variables = [Normal(5), Normal(5)]
    plain = fitted(samples, variables=variables)().log_prob(samples)
    scaled = fitted(scale * samples, variables=variables)().log_prob(scale * samples)
    torch.testing.assert_close(scaled + 2 * np.log(scale), plain, atol=0.2, rtol=0)


def learned(samples: Tensor, unit: Tensor) -> Tensor:
    """log p of samples after a few steps of Adam, in their first unit whatever they were learned in."""
    ring = fitted(samples * unit, variables=[Normal(5), Normal(5)])
    optimizer = torch.optim.Adam(ring.parameters(), lr=0.02)
    for _ in range(10):
        optimizer.zero_grad()
        (-ring().log_prob(samples * unit).mean()).backward()
        optimizer.step()
    return ring().log_prob(samples * unit).detach() + unit.log().sum()


def test_training_takes_the_same_way_in_all_units():
    samples = clusters(300)[:, [0, 2]]
    plain, others = learned(samples, torch.ones(2)), learned(samples, torch.tensor([1e6, 1e-5]))
    assert plain.mean() > fitted(samples, variables=[Normal(5), Normal(5)])().log_prob(samples).mean() + 0.05
    torch.testing.assert_close(others, plain, atol=0.02, rtol=0)


def test_one_component_takes_the_moments_of_the_data():
    samples = clusters(400)[:, :1]
    ring = fitted(samples, variables=[Normal(1)])
    torch.testing.assert_close(ring().mean.squeeze(), samples.mean())
    torch.testing.assert_close(ring().stddev.squeeze(), samples.std(correction=0))


def test_a_seed_repeats_the_start_and_samples_are_left_alone():
    samples = clusters(200)
    kept = samples.clone()
    one, same, other = (fitted(samples, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(samples, kept)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), same.parameters(), strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(one.log_cores, other.log_cores, strict=True))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_samples_of_any_real_type(dtype):
    torch.manual_seed(0)
    ring = TensorRing(VARIABLES, 3, dtype=dtype)
    samples = clusters(100)
    ring.fit_initial(samples.to(torch.float64))
    assert {parameter.dtype for parameter in ring.parameters()} == {dtype}
    sound(ring, samples.to(dtype))
    torch.manual_seed(0)
    whole = TensorRing([Categorical(3), Categorical(2)], 3, dtype=dtype)
    whole.fit_initial(samples[:, [1, 3]].long())
    sound(whole, samples[:, [1, 3]])


def test_the_start_can_be_trained_on(boundary):
    samples = clusters(500)
    ring = fitted(samples, boundary=boundary)
    optimizer = torch.optim.Adam(ring.parameters(), 0.02)
    start = ring().log_prob(samples).mean().item()
    for _ in range(30):
        optimizer.zero_grad()
        loss = -ring().log_prob(samples).mean()
        loss.backward()
        optimizer.step()
    assert -loss.item() > start + 0.05


def test_latent_classes_are_found():
    """Two classes of three binary variables, told apart by which values go together."""
    random = np.random.default_rng(0)
    classes = random.random(4000) < 0.3
    probability = np.where(classes[:, None], [0.9, 0.2, 0.8], [0.1, 0.7, 0.3])
    values = torch.from_numpy(random.random((4000, 3)) < probability).long()
    weights = torch.nn.functional.one_hot(values, 2).float().transpose(0, 1)
    torch.manual_seed(0)
    tables, shares = fit_latent_classes(weights, 2)
    torch.testing.assert_close(tables.sum(1), torch.ones(3, 2))
    assert shares.sum().item() == pytest.approx(1, abs=1e-5)
    order = shares.argsort()
    assert shares[order[0]].item() == pytest.approx(0.3, abs=0.1)
    np.testing.assert_allclose(tables[:, 1, order[0]], [0.9, 0.2, 0.8], atol=0.12)
    np.testing.assert_allclose(tables[:, 1, order[1]], [0.1, 0.7, 0.3], atol=0.12)

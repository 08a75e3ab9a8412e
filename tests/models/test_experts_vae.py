"""The VAE with a product of experts against quadrature over its one latent."""

import math

import pytest
import torch
from linear_parts import CODES, NAN, STEP, Flat, Pixels, X, Y, coding, repeated, within
from torch import Tensor
from torch.distributions import Normal

from googol.distributions import Interval
from googol.models import ExpertsVAE
from googol.networks import MLP
from googol.posteriors import DiagonalNormal, ProductOfExperts

Z = CODES.unsqueeze(-1)


def make(**options) -> ExpertsVAE:
    torch.manual_seed(0)
    code = coding()
    posterior = ProductOfExperts(DiagonalNormal(Flat(1, 2, 3.0), 1), code)
    for network in posterior.conditions:  # wide experts, so that few weights are large
        network[-1].bias.data[-1] -= 2
    return ExpertsVAE(posterior, Pixels(1), MLP(1, code.outputs, hidden=(4,)), **options).double()


@torch.no_grad()
def bound(model: ExpertsVAE, x: Tensor | None, y: Tensor | None, weight: float = 1.0) -> Tensor:
    """L(S) of one object: the bound of log p(S), with a weight on the conditions."""
    q = model.posterior(None if x is None else x.unsqueeze(0), None if y is None else y.unsqueeze(0))
    log_likelihood = torch.zeros(len(Z), dtype=torch.float64)
    if x is not None:
        log_likelihood = log_likelihood + model.likelihood(Z).log_prob(x)
    if y is not None:
        log_likelihood = log_likelihood + weight * model.coding.read(model.heads(Z)).log_prob(y)
    log_q = q.log_prob(Z)
    return (log_q.exp() * STEP * (log_likelihood + model.log_prior(Z) - log_q)).sum()


@torch.no_grad()
def log_joint(model: ExpertsVAE, x: Tensor, y: Tensor) -> Tensor:
    log_likelihood = model.likelihood(Z).log_prob(x) + model.coding.read(model.heads(Z)).log_prob(y)
    return (log_likelihood + model.log_prior(Z) + math.log(STEP)).logsumexp(0)


def exact(model: ExpertsVAE) -> Tensor:
    return torch.stack([log_joint(model, x, y) for x, y in zip(X, Y, strict=True)])


@torch.no_grad()
def test_the_elbo_agrees_with_quadrature_whatever_is_observed():
    model = make()
    torch.manual_seed(1)
    expected = torch.stack([bound(model, x, y) for x, y in zip(X, Y, strict=True)])
    assert within(model.elbo(*repeated(5000)).view(-1, 4), expected)
    assert (expected < exact(model)).all()


@torch.no_grad()
def test_the_bound_tends_to_the_log_density_and_the_answers_to_bayes_rule():
    model = make()
    torch.manual_seed(1)
    found, (categories, numbers) = model.importance_impute(X, 50_000, Y)
    torch.testing.assert_close(found, exact(model), atol=0.03, rtol=0)
    torch.manual_seed(1)
    torch.testing.assert_close(model.importance_bound(X, 50_000, Y), found)
    for row in (1, 3):
        asked = [Y[row].index_fill(0, torch.tensor(0), value) for value in (0.0, 1.0, 2.0)]
        expected = torch.stack([log_joint(model, X[row], y) for y in asked]).softmax(0)
        torch.testing.assert_close(categories[row], expected, atol=0.02, rtol=0)
    torch.testing.assert_close(numbers[0], Y[0, 1:])


@torch.no_grad()
def test_the_terms_of_the_bound_of_an_image_alone():
    model = make()
    torch.manual_seed(1)
    log_likelihood, divergence = model.elbo_terms(X)
    torch.manual_seed(1)
    torch.testing.assert_close(model.elbo(X), log_likelihood - divergence)


@torch.no_grad()
@pytest.mark.parametrize("weight", [1.0, 5.0])
def test_the_loss_is_the_sum_of_the_bounds_of_the_subsets(weight):
    model = make(label_weight=weight)
    torch.manual_seed(1)
    expected = torch.zeros((), dtype=torch.float64)
    for x, y in zip(X, Y, strict=True):
        expected += bound(model, x, None)
        if not y.isnan().all():
            expected += bound(model, x, y, weight)
        for j in (~y.isnan()).nonzero().flatten():
            alone = torch.full_like(y, NAN)
            alone[j] = y[j]
            expected += bound(model, None, alone, weight)
    draws = torch.stack([model.loss(*repeated(300))["loss"] for _ in range(40)])
    assert within(draws, -expected / len(X))


def test_the_terms_are_the_same_whatever_is_observed():
    model = make()
    nothing = model.loss(X, torch.full_like(Y, NAN))
    assert nothing.keys() == model.loss(X, Y).keys()
    assert nothing["both"] == nothing["conditions"] == 0
    torch.testing.assert_close(nothing["loss"], nothing["reconstruction"] + nothing["kl"])


def test_every_parameter_gets_a_finite_gradient():
    model = make()
    model.loss(X, Y)["loss"].backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().sum() > 0, name


@torch.no_grad()
def test_generating_keeps_what_is_given_and_draws_the_rest_given_the_code():
    model = make()
    torch.manual_seed(2)
    given = torch.tensor([NAN, 1.0], dtype=torch.float64)
    images, conditions = model.generate(20_000, given)
    assert images.shape == (20_000, 1, 1, 2)
    assert (conditions[:, 1] == 1).all()
    density = model.posterior(y=given).log_prob(Z).exp() * STEP
    probs = density @ model.coding.read(model.heads(Z)).parts[0].probs
    found = conditions[:, 0].long().bincount(minlength=3) / 20_000
    torch.testing.assert_close(found.double(), probs, atol=0.015, rtol=0)
    expected = (density.view(-1, 1, 1, 1) * model.likelihood(Z).mean).sum(0)
    assert within(images, expected)
    _, conditions = model.generate(4, Y)
    assert conditions[~Y.isnan()].equal(Y[~Y.isnan()])
    assert conditions.isfinite().all()


@torch.no_grad()
def test_without_conditions_codes_come_from_the_prior():
    model = make()
    torch.manual_seed(2)
    density = Normal(0.0, 1.0).log_prob(CODES).exp() * STEP
    expected = (density.view(-1, 1, 1, 1) * model.likelihood(Z).mean).sum(0)
    assert within(model.sample(20_000), expected)


@torch.no_grad()
def test_imputation_averages_over_the_posterior_and_keeps_what_is_known():
    model = make()
    torch.manual_seed(3)
    categories, numbers = model.impute(X, Y, draws=4000)
    said = model.coding.read(model.heads(Z))
    for row in (1, 3):
        density = model.posterior(X[row].unsqueeze(0), Y[row].unsqueeze(0)).log_prob(Z).exp() * STEP
        torch.testing.assert_close(categories[row], density @ said.parts[0].probs, atol=0.02, rtol=0)
    torch.testing.assert_close(categories[2], torch.tensor([0.0, 0, 1], dtype=torch.float64))
    torch.testing.assert_close(numbers[0], Y[0, 1:])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: make(label_weight=0.0), "label_weight must be positive, got 0.0"),
        (lambda: make().sample(3, torch.zeros(3)), r"given must have the shape \(2,\) or \(3, 2\), got \(3,\)"),
        (lambda: make().sample(3, torch.tensor([7.0, NAN])), "must be one of 0 … 2, or NaN .* got 7"),
        (lambda: make().sample(3, within={1: Interval(0, 1)}), "exact values alone, not for ranges or sets"),
        (lambda: make().loss(X, Y[:, :1]), r"y must have the shape \(4, 2\), got \(4, 1\)"),
        (lambda: make().elbo(X, torch.full_like(Y, math.inf)), "must be one of 0 … 2, or NaN .* got inf"),
        (lambda: make().importance_bound(X, 0), "k must be at least 1, got 0"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()

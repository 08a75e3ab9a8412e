"""The conditional VAE against sums over its missing conditions and quadrature over its one latent."""

import math

import pytest
import torch
from linear_parts import CODES, NAN, STEP, Flat, Pixels, X, Y, coding, completions, repeated, within
from torch import Tensor

from googol.distributions import Categorical, Interval, Normal, OneOf, TensorRing
from googol.models import CVAE
from googol.networks import ConditionCoding
from googol.posteriors import ConditionedPosterior, DiagonalNormal
from googol.priors import NormalMixture, StandardNormal


def make(**options) -> CVAE:
    torch.manual_seed(0)
    code = coding()
    posterior = ConditionedPosterior(DiagonalNormal(Flat(1 + code.inputs, 2, 1.0), 1), Flat(1, code.outputs, 1.0), code)
    ring = TensorRing([Categorical(3), Normal(2, loc=[-1.0, 1.5], scale=0.9)], rank=2)
    return CVAE(StandardNormal(1), posterior, Pixels(1 + code.inputs), ring, **options).double()


@torch.no_grad()
def exact(model: CVAE, x: Tensor, y: Tensor) -> dict[str, Tensor]:
    """log p(x, y_ob), its bound, and the bound without what conditions say, for one object."""
    predicted = model.posterior.predict(x.unsqueeze(0))
    log_joint, elbo, of_image = [], 0.0, 0.0
    for rows, volume in completions(y):
        z = CODES.view(-1, 1, 1).expand(-1, len(rows), 1)
        decoded = model.likelihood(torch.cat([z, model.coding.write(rows).expand(len(CODES), -1, -1)], -1))
        log_x, log_z = decoded.log_prob(x), model.log_prior(z)
        log_y = model.condition_prior().log_prob(rows)
        q = model.posterior(x.expand(len(rows), *x.shape), rows)
        log_r = predicted.log_prob(rows.masked_fill(~y.isnan(), NAN))
        weights = (q.log_prob(z) + log_r).exp() * STEP * volume
        image = log_x + log_z - q.log_prob(z)
        of_image = of_image + (weights * image).sum()
        elbo = elbo + (weights * (image + log_y - log_r)).sum()
        log_joint.append((log_x + log_z + log_y + math.log(STEP * volume)).flatten())
    return {"log_prob": torch.cat(log_joint).logsumexp(0), "elbo": elbo, "of_image": of_image}


def over_rows(model: CVAE, name: str) -> Tensor:
    return torch.stack([exact(model, x, y)[name] for x, y in zip(X, Y, strict=True)])


@torch.no_grad()
def test_the_elbo_agrees_with_quadrature_whatever_is_observed():
    model = make()
    torch.manual_seed(1)
    assert within(model.elbo(*repeated(5000)).view(-1, 4), over_rows(model, "elbo"))


@torch.no_grad()
def test_the_bound_tends_to_the_log_density_from_below():
    model = make()
    torch.manual_seed(1)
    exactly = over_rows(model, "log_prob")
    torch.testing.assert_close(model.importance_bound(X, 50_000, Y), exactly, atol=0.03, rtol=0)
    assert (over_rows(model, "elbo") < exactly).all()


@torch.no_grad()
def test_the_terms_of_the_bound_of_an_image_alone():
    model = make()
    torch.manual_seed(1)
    log_likelihood, divergence = model.elbo_terms(X)
    torch.manual_seed(1)
    torch.testing.assert_close(model.elbo(X, torch.full_like(Y, NAN)), log_likelihood - divergence)


@torch.no_grad()
def test_the_weighted_answers_tend_to_bayes_rule():
    model = make()
    torch.manual_seed(1)
    bound, (categories, numbers) = model.importance_impute(X, 50_000, Y)
    torch.testing.assert_close(bound, over_rows(model, "log_prob"), atol=0.03, rtol=0)
    for row in (1, 3):
        asked = [Y[row].index_fill(0, torch.tensor(0), value) for value in (0.0, 1.0, 2.0)]
        log_joint = torch.stack([exact(model, X[row], y)["log_prob"] for y in asked])
        torch.testing.assert_close(categories[row], log_joint.softmax(0), atol=0.02, rtol=0)
    torch.testing.assert_close(categories[2], torch.tensor([0.0, 0, 1], dtype=torch.float64))
    torch.testing.assert_close(numbers[:2], Y[:2, 1:])


def test_the_loss_agrees_with_quadrature_for_every_row_alone_and_together():
    model = make()
    torch.manual_seed(1)
    with torch.no_grad():
        draws = torch.stack([model.loss(*repeated(300))["loss"] for _ in range(40)])
        about_conditions = model.condition_prior().log_prob(Y) + model.posterior.predict(X).log_prob(Y)
        assert within(draws, -(over_rows(model, "of_image") + about_conditions).mean())


def test_every_parameter_gets_a_finite_gradient():
    model = make()
    model.loss(X, Y)["loss"].backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().sum() > 0, name


def test_the_predictor_and_the_ring_learn_from_what_is_observed_alone():
    model = make()
    model.loss(X, torch.full_like(Y, NAN))["loss"].backward()
    parts = [model.posterior.predictor, model.condition_prior]
    gradients = [p.grad for part in parts for p in part.parameters() if p.grad is not None]
    assert all((gradient.abs() < 1e-12).all() for gradient in gradients)
    assert model.likelihood.linear.weight.grad.abs().sum() > 0


def test_generating_keeps_what_is_given_and_draws_the_rest_from_the_ring():
    model = make()
    torch.manual_seed(2)
    images, conditions = model.generate(20_000, torch.tensor([NAN, 1.0]))
    assert images.shape == (20_000, 1, 1, 2)
    assert (conditions[:, 1] == 1).all()
    probs = model.condition_prior().component_probs(torch.tensor([NAN, 1.0], dtype=torch.float64))[0]
    found = conditions[:, 0].long().bincount(minlength=3) / 20_000
    torch.testing.assert_close(found.double(), probs, atol=0.015, rtol=0)
    _, conditions = model.generate(1000, within={0: OneOf([0, 2]), 1: Interval(0, 1)})
    assert set(conditions[:, 0].tolist()) == {0.0, 2.0}
    assert 0 <= conditions[:, 1].min() < conditions[:, 1].max() <= 1
    _, conditions = model.generate(4, Y.float())
    known = ~Y.isnan()
    assert conditions[known].float().equal(Y[known].float())
    assert conditions.isfinite().all()
    assert model.sample(3).shape == (3, 1, 1, 2)


def test_the_images_are_of_the_conditions_that_come_with_them():
    model = make()
    torch.manual_seed(3)
    images, conditions = model.generate(50_000)
    by_hand = model.likelihood(torch.cat([torch.zeros(50_000, 1), model.coding.write(conditions)], -1)).mean
    difference = images - by_hand  # the code's share, which is centred and does not depend on the conditions
    assert within(difference.detach(), torch.zeros(()))
    assert abs(torch.corrcoef(torch.stack([difference.flatten(1)[:, 0], conditions[:, 1]]))[0, 1]) < 0.02


def test_imputing_says_what_the_predictor_says_but_of_known_conditions():
    model = make()
    categories, numbers = model.impute(X)
    r = model.posterior.predict(X)
    torch.testing.assert_close(categories, r.parts[0].probs)
    torch.testing.assert_close(numbers, r.parts[1].mean.unsqueeze(-1))
    known, of_numbers = model.impute(X, Y)
    torch.testing.assert_close(known[0], torch.tensor([1.0, 0, 0], dtype=torch.float64))
    torch.testing.assert_close(known[1], categories[1])
    assert of_numbers[0] == 1.2


def test_numbers_and_the_ring_start_from_the_training_data():
    model = make()
    torch.manual_seed(4)
    y = torch.stack([torch.randint(3, (400,)).double(), 50 + 7 * torch.randn(400).double()], 1)
    y[::3, 1] = NAN
    x = torch.rand(400, 1, 1, 2, dtype=torch.float64)
    assert not model.on_epoch_start(0, lambda: zip(x.split(100), y.split(100), strict=True))
    known = y[~y[:, 1].isnan(), 1]
    torch.testing.assert_close(model.coding.loc[1], known.mean())
    torch.testing.assert_close(model.coding.scale[1], known.std(correction=0))
    assert abs(model.condition_prior().mean[1] - 50) < 2
    before = {name: value.clone() for name, value in model.state_dict().items()}
    model.on_epoch_start(1, lambda: iter([(x, y + 1)]))
    assert all(before[name].equal(value) for name, value in model.state_dict().items())


def test_a_prior_that_learns_can_start_from_the_codes():
    torch.manual_seed(0)
    code = ConditionCoding([3, None])
    posterior = ConditionedPosterior(DiagonalNormal(Flat(1 + code.inputs, 2), 1), Flat(1, code.outputs), code)
    ring = TensorRing([Categorical(3), Normal(2)], rank=2)
    mixture = NormalMixture(1, components=2)
    model = CVAE(mixture, posterior, Pixels(1 + code.inputs), ring, warmup_epochs=1).double()
    batches = lambda: iter([(X.repeat(20, 1, 1, 1), Y.repeat(20, 1))])  # noqa: E731
    model.on_epoch_start(0, batches)
    torch.manual_seed(5)
    terms = model.loss(X, Y)
    torch.manual_seed(5)
    model.prior = StandardNormal(1).double()
    torch.testing.assert_close(model.loss(X, Y)["kl"], terms["kl"])
    model.prior = mixture
    before = mixture().mean.clone()
    assert model.on_epoch_start(1, batches)
    assert not mixture().mean.equal(before)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: make().sample(3, torch.zeros(3)), r"given must have the shape \(2,\) or \(3, 2\), got \(3,\)"),
        (lambda: make().sample(3, torch.tensor([7.0, NAN])), "must be one of 0 … 2, or NaN"),
        (lambda: make().loss(X, Y[:, :1]), r"y must have the shape \(4, 2\), got \(4, 1\)"),
        (lambda: make().loss(X, Y.masked_fill(Y == 2, 3.0)), "must be one of 0 … 2, or NaN .* got 3"),
        (lambda: make().importance_bound(X, 0), "k must be at least 1, got 0"),
        (lambda: make(warmup_epochs=-1), "warmup_epochs must not be negative, got -1"),
        (
            lambda: CVAE(
                StandardNormal(1), make().posterior, Pixels(5), TensorRing([Categorical(2), Normal(2)], rank=2)
            ),
            r"condition_prior must have the variables .* of sizes \(3, None\), got \(2, None\)",
        ),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()

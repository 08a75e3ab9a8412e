"""The joint VAE against quadrature over its one latent, and its stages of training."""

import math

import pytest
import torch
from joint_parts import GRID, NAN, STEP, Decoder, Encoder, X, Y, make, over_grid

from googol.distributions import Categorical, TensorRing
from googol.distributions import Normal as NormalVariable
from googol.models import JointVAE
from googol.models.reading import log_read_back


def test_the_elbo_agrees_with_quadrature_whatever_is_observed():
    model = make()
    torch.manual_seed(1)
    draws = torch.stack([model.elbo(X, Y) for _ in range(3000)]).detach()
    expected = torch.stack([over_grid(model, x, y)["elbo"] for x, y in zip(X, Y, strict=True)]).detach()
    assert ((draws.mean(0) - expected).abs() < 4 * draws.std(0) / math.sqrt(3000)).all()


def test_the_importance_bound_tends_to_the_log_density():
    model = make()
    torch.manual_seed(1)
    with torch.no_grad():
        bound = model.importance_bound(X, 100_000, Y)
        expected = torch.stack([over_grid(model, x, y)["log_prob"] for x, y in zip(X, Y, strict=True)])
    torch.testing.assert_close(bound, expected, atol=0.03, rtol=0)


def test_without_labels_the_bound_is_that_of_the_object_alone():
    model = make()
    nothing = torch.full_like(Y, NAN)
    torch.manual_seed(1)
    one = model.importance_bound(X, 20)
    torch.manual_seed(1)
    torch.testing.assert_close(one, model.importance_bound(X, 20, nothing))


@pytest.mark.parametrize("weight", [0.0, 5.0])
def test_the_loss_agrees_with_quadrature(weight):
    model = make(label_weight=weight)
    torch.manual_seed(1)
    draws = torch.stack([model.loss(X, Y)["loss"] for _ in range(3000)]).detach()
    terms = [over_grid(model, x, y) for x, y in zip(X, Y, strict=True)]
    log_p_y = [(over_grid_of_prior(model, y)).log() for y in Y]
    expected = -sum(t["elbo"] + weight * (t["label"] + p) for t, p in zip(terms, log_p_y, strict=True)) / len(X)
    assert (draws.mean() - expected).abs() < 4 * draws.std() / math.sqrt(3000)


def over_grid_of_prior(model: JointVAE, y: torch.Tensor) -> torch.Tensor:
    """p(y), integrated over z."""
    return model.prior().log_prob(torch.cat([GRID, y.expand(len(GRID), -1)], -1)).exp().sum().detach() * STEP


def test_the_prior_may_weigh_labels_less_than_the_codes():
    """Each half has the gradient that it would have if its weight were that of both."""
    gradients = {}
    for weights in ((8.0, 2.0), (8.0, None), (2.0, None)):
        model = make(label_weight=weights[0], prior_label_weight=weights[1])
        torch.manual_seed(1)
        model.loss(X, Y)["loss"].backward()
        gradients[weights] = {name: p.grad for name, p in model.named_parameters()}
    for name, found in gradients[8.0, 2.0].items():
        torch.testing.assert_close(found, gradients[2.0 if name.startswith("prior") else 8.0, None][name])
    different = [name for name, g in gradients[8.0, None].items() if not g.allclose(gradients[2.0, None][name])]
    assert {name.split(".")[0] for name in different} == {"prior", "posterior"}


def test_a_single_categorical_condition_has_its_shares_set_in_the_end_instead():
    torch.manual_seed(0)
    ring = TensorRing([NormalVariable(3), Categorical(3)], rank=3, dtype=torch.float64)
    assert "log_p_y" not in JointVAE(ring, Encoder(), Decoder(), label_weight=5.0).loss(X, Y[:, :1])
    assert "log_p_y" in make(label_weight=5.0).loss(X, Y)
    assert "log_p_y" not in make().loss(X, Y)


def test_the_weight_of_the_divergence_rises():
    model = make(kl_warmup_epochs=4)
    model.on_epoch_start(0, lambda: iter(()))
    torch.manual_seed(0)
    early = model.loss(X, Y)
    model.on_epoch_start(3, lambda: iter(()))
    torch.manual_seed(0)
    late = model.loss(X, Y)
    torch.testing.assert_close(late["loss"] - early["loss"], 0.75 * early["kl"])


def test_every_parameter_gets_a_finite_gradient():
    model = make(label_weight=2.0)
    model.loss(X, Y)["loss"].backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().sum() > 0, name


def test_reading_back_agrees_with_quadrature_and_spares_the_reader():
    model = make(consistency_weight=3.0)
    torch.manual_seed(5)
    joint = model.prior()
    expected = 0.0
    for first in range(3):
        for second in range(2):
            label = torch.tensor([first, second], dtype=torch.float64)
            rows = torch.cat([GRID, label.expand(len(GRID), -1)], -1)
            density = joint.log_prob(rows).exp() * STEP  # p(z, y)
            images = model.likelihood(GRID).mean
            read = model.posterior(images).base_dist
            codes = read.loc + read.scale * torch.linspace(-4, 4, 81, dtype=torch.float64)  # (grid, 81)
            weights = torch.distributions.Normal(0.0, 1.0).log_prob((codes - read.loc) / read.scale).softmax(-1)
            both = torch.cat([codes.unsqueeze(-1), label.expand(*codes.shape, 2)], -1)
            alone = torch.cat([codes.unsqueeze(-1), torch.full((*codes.shape, 2), NAN)], -1)
            log_label = joint.log_prob(both) - joint.log_prob(alone)
            expected = expected + (density * (weights * log_label).sum(-1)).sum()
    drawn = torch.stack([log_read_back(model, joint, model.label_distribution(), 500) for _ in range(20)])
    assert (drawn.mean() - expected).abs() < 5 * drawn.std() / math.sqrt(20)

    model.zero_grad()
    log_read_back(model, model.prior(), model.label_distribution(), 50).backward()
    assert model.posterior.slope.grad is None
    assert model.likelihood.slope.grad.abs().sum() > 0
    assert all(parameter.grad.abs().sum() > 0 for parameter in model.prior.log_cores)
    terms = model.loss(X, Y)
    label = 1 * terms["log_p_y_given_z"]
    torch.testing.assert_close(terms["loss"], terms["reconstruction"] + terms["kl"] - label + 3 * terms["consistency"])


def test_the_ring_starts_from_the_data_when_the_warm_up_is_over():
    model = make(warmup_epochs=2)

    def batches():
        yield X.repeat(50, 1), Y.repeat(50, 1)

    before = {name: value.clone() for name, value in model.prior.state_dict().items()}
    assert set(model.loss(X, Y)) == {"loss", "reconstruction", "kl"}
    assert not model.on_epoch_start(0, batches)
    assert not model.on_epoch_start(1, batches)
    assert all(torch.equal(before[name], value) for name, value in model.prior.state_dict().items())
    assert model.on_epoch_start(2, batches)
    assert any(not torch.equal(before[name], value) for name, value in model.prior.state_dict().items())
    assert "log_p_y_given_z" in model.loss(X, Y)
    assert not model.on_epoch_start(3, batches)
    other = make(warmup_epochs=2)
    other.load_state_dict(model.state_dict())
    assert "log_p_y_given_z" in other.loss(X, Y)


def test_the_first_stage_is_a_vae_with_a_standard_normal_prior():
    model = make(warmup_epochs=1)
    torch.manual_seed(4)
    terms = model.loss(X, Y)
    torch.manual_seed(4)
    q = model.posterior(X)
    z = q.rsample()
    kl = (q.log_prob(z) - torch.distributions.Normal(0.0, 1.0).log_prob(z).sum(-1)).mean()
    torch.testing.assert_close(terms["kl"], kl)


def test_a_pretrained_autoencoder_is_left_alone():
    model = make(warmup_epochs=1, freeze_autoencoder=True, consistency_weight=1.0)
    model.on_epoch_start(1, lambda: iter([(X.repeat(10, 1), Y.repeat(10, 1))]))
    model.loss(X, Y)["loss"].backward()
    assert all(p.grad is None for p in [*model.posterior.parameters(), *model.likelihood.parameters()])
    assert all(p.grad is not None for p in model.prior.log_cores)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: make(freeze_autoencoder=True), "freeze_autoencoder needs warmup_epochs of at least 1"),
        (lambda: make(consistency_weight=NAN), "consistency_weight must not be negative, got nan"),
        (lambda: make(label_weight=-1.0), "label_weight must not be negative, got -1.0"),
        (lambda: make().sample(3, torch.zeros(3)), r"given must have the shape \(2,\) or \(3, 2\), got \(3,\)"),
        (lambda: make().sample(3, torch.tensor([7.0, NAN])), "must be one of 0 … 2"),
        (lambda: make().edit(X, Y, Y[0, :1]), r"new must have the shape \(2,\) or \(4, 2\), got \(1,\)"),
        (lambda: make().edit(X, Y[:, :1], Y), r"old must have the shape \(2,\) or \(4, 2\), got \(4, 1\)"),
        (
            lambda: JointVAE(TensorRing([NormalVariable(2)], rank=2), Encoder(), Decoder()),
            "prior must have more variables than posterior has latents, got 1 and 1",
        ),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_self_training_adds_the_density_of_what_the_model_is_sure_of():
    """By hand: of each code, the most probable value of each missing condition, where its probability is large."""
    model = make(self_training_weight=3.0).train()
    with torch.no_grad():  # so that a value is nearly certain on either side of zero
        model.prior.log_cores[1][0, 0] += torch.tensor([6.0, 0.0, 0.0], dtype=torch.float64)
    plain = make()
    plain.load_state_dict(model.state_dict())
    losses = []
    for each in (model, plain.train()):
        torch.manual_seed(2)
        losses.append(each.loss(X, Y)["loss"])
    torch.manual_seed(2)
    z = model.posterior(X).rsample()
    joint, expected, filled = model.prior(), 0.0, 0
    for code, known in zip(z, Y, strict=True):
        row = torch.cat([code, known])
        sure = torch.full_like(row, NAN)
        for j, count in ((1, 3), (2, 2)):
            if not row[j].isnan():
                continue
            values = row.repeat(count, 1)
            values[:, j] = torch.arange(count)
            chances = (joint.log_prob(values) - joint.log_prob(row)).exp()
            if chances.max() >= 0.95:
                sure[j], filled = chances.argmax(), filled + 1
        sure[0] = code[0].detach()
        alone = torch.cat([sure[:1], torch.tensor([NAN, NAN], dtype=torch.float64)])
        expected += (joint.log_prob(sure) - joint.log_prob(alone)) / len(X)
    assert filled
    torch.testing.assert_close(losses[1] - losses[0], 3.0 * expected)
    losses[0].backward()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())


def test_self_training_plays_no_part_in_validation():
    found = []
    for weight in (0.0, 3.0):
        model = make(self_training_weight=weight).eval()
        torch.manual_seed(2)
        found.append(model.loss(X, Y)["loss"])
    assert torch.equal(*found)


def test_in_the_end_conditions_have_the_shares_of_the_data():
    model = make()
    y = torch.tensor([[0.0, NAN], [0.0, NAN], [2.0, NAN], [NAN, NAN], [0.0, NAN]], dtype=torch.float64)
    second = model.label_distribution().component_probs(torch.full((2,), NAN, dtype=torch.float64))[1]
    codes = model.conditional(torch.tensor([2.0, 1.0])).marginal([0]).log_prob(GRID[::100])
    model.on_train_end(y)
    shares = model.label_distribution().component_probs(torch.full((2,), NAN, dtype=torch.float64))
    torch.testing.assert_close(shares[0], torch.tensor([4.0, 1.0, 2.0], dtype=torch.float64) / 7, atol=1e-5, rtol=0)
    after = model.conditional(torch.tensor([2.0, 1.0])).marginal([0]).log_prob(GRID[::100])
    torch.testing.assert_close(after, codes)
    assert not torch.equal(shares[1], second)  # of which nothing was seen: it follows the first


def test_a_model_in_its_warm_up_keeps_its_shares():
    model = make(warmup_epochs=1)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    model.on_train_end(Y)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())

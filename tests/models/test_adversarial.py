"""Adversarial models: their losses by hand, and gradients of the prior against exact ones."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from googol.distributions import Normal, TensorRing
from googol.models import GAN, WGAN, WGANGP
from googol.models.adversarial import score_function, with_spectral_normalization
from googol.networks import MLP, MLPDecoder, MLPEncoder
from googol.posteriors import DiagonalNormal
from googol.priors import FlowPrior, HypersphericalUniform, NormalMixture, StandardNormal, VampPrior

SHAPE = (1, 4, 4)
KINDS = {"gan": GAN, "wgan": WGAN, "wgan-gp": WGANGP}


def networks(latents: int = 2) -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(0)
    return nn.Sequential(MLPDecoder(latents, SHAPE, hidden=(8,)), nn.Sigmoid()), MLPEncoder(SHAPE, 1, hidden=(8,))


def priors() -> dict[str, nn.Module]:
    torch.manual_seed(1)
    mixture = NormalMixture(2, components=3)
    return {
        "ring": TensorRing([Normal(3), Normal(2)], rank=2),
        "train": TensorRing([Normal(3), Normal(2)], rank=2, boundary="train"),
        "mixture": mixture,
    }


def quadrature(prior: nn.Module, value: Callable[[Tensor], Tensor]) -> Tensor:
    """The expectation of a function of two latents, by a sum over a fine grid."""
    ticks = torch.linspace(-9, 9, 361, dtype=torch.float64)
    z = torch.cartesian_prod(ticks, ticks)
    with torch.no_grad():
        values = value(z)
    return (prior().log_prob(z).exp() * values).sum() * (ticks[1] - ticks[0]) ** 2


@pytest.mark.parametrize("estimator", ["pathwise", "score"])
@pytest.mark.parametrize("name", ["ring", "train", "mixture"])
def test_both_gradients_of_the_prior_are_unbiased(name: str, estimator: str) -> None:
    generator, critic = networks()
    prior = priors()[name]
    model = WGAN(prior, generator, critic, prior_gradient=estimator).double()
    exact = torch.autograd.grad(
        quadrature(prior, lambda z: -critic(2 * generator(z) - 1).squeeze(-1)), list(prior.parameters())
    )
    repeats, batch = 60, 400
    torch.manual_seed(2)
    draws = [torch.autograd.grad(model._generator_loss(batch), list(prior.parameters())) for _ in range(repeats)]
    for parameter, true in enumerate(exact):
        estimates = torch.stack([draw[parameter] for draw in draws])
        error = estimates.std(0) / math.sqrt(repeats)
        # Of a hundred entries, the farthest lies 2.6 standard errors away on average.
        assert ((estimates.mean(0) - true).abs() <= 4.5 * error + 1e-12).all()
        assert (true.abs() > 3 * error).any()  # so that the test could tell


def test_the_baseline_of_the_score_function_is_without_bias() -> None:
    """With two samples the published factor 1/l would halve the gradient."""
    loc = torch.zeros((), dtype=torch.float64, requires_grad=True)
    torch.manual_seed(0)
    z = torch.randn(100_000, 2, dtype=torch.float64)
    gradients = []
    for pair in z[:20_000]:
        log_p = torch.distributions.Normal(loc, 1.0).log_prob(pair)
        gradients.append(torch.autograd.grad(score_function(log_p, 3 * pair + 100), loc)[0])
    assert torch.stack(gradients).mean() == pytest.approx(3, abs=0.1)


@pytest.mark.parametrize("shape", [(1,), (3, 1)])
def test_the_score_function_needs_two_samples_with_a_value_each(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="at least two samples with a value each"):
        score_function(torch.zeros(shape), torch.zeros(shape))


def test_losses_of_the_gan_by_hand() -> None:
    generator, critic = networks()
    x, generated = torch.rand(2, 5, *SHAPE)
    for objective in ("non-saturating", "minimax"):
        model = GAN(StandardNormal(2), generator, critic, objective=objective)
        model._generate = lambda z: generated  # type: ignore[method-assign]
        real, fake = (torch.sigmoid(critic(2 * images - 1)) for images in (x, generated))
        terms = model.loss(x, torch.zeros(5, 0), "critic")
        torch.testing.assert_close(terms["loss"], -real.log().mean() - (1 - fake).log().mean())
        torch.testing.assert_close(terms["gap"], (real.logit() - fake.logit()).mean())
        expected = (1 - fake).log().mean() if objective == "minimax" else -fake.log().mean()
        torch.testing.assert_close(model.loss(x, torch.zeros(5, 0), "generator")["loss"], expected)


def test_the_penalty_of_a_linear_critic_is_that_of_its_slope() -> None:
    generator, _ = networks()
    critic = nn.Sequential(nn.Flatten(), nn.Linear(16, 1))
    model = WGANGP(StandardNormal(2), generator, critic, penalty=7.0)
    terms = model.loss(torch.rand(5, *SHAPE), torch.zeros(5, 0), "critic")
    norm = critic[1].weight.norm()
    torch.testing.assert_close(terms["penalty"], (norm - 1).square())
    torch.testing.assert_close(terms["loss"], 7 * (norm - 1).square() - terms["gap"])
    terms["loss"].backward()
    (slope,) = torch.autograd.grad(7 * (critic[1].weight.norm() - 1).square(), critic[1].weight)
    assert not torch.allclose(critic[1].weight.grad, torch.zeros_like(slope))


def test_the_penalty_is_over_the_whole_image_of_each() -> None:
    """Of a critic that looks at one pixel squared: gradients differ between images, and there is one norm for each."""

    class Square(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.flatten(1).square().sum(1, keepdim=True)

    model = WGANGP(StandardNormal(2), networks()[0], Square())
    x = torch.rand(4, *SHAPE)
    # Between an image and itself there is nothing but it.
    terms = model._critic_terms(x, x)
    expected = (2 * x.flatten(1).norm(dim=1) - 1).square().mean()
    torch.testing.assert_close(terms["penalty"], expected)


def test_clipping_bounds_the_weights_of_the_critic_alone() -> None:
    model = WGAN(NormalMixture(2, components=3), *networks(), clip=0.01)
    before = [parameter.clone() for parameter in model.generator.parameters()]
    model.on_update("generator")
    assert max(p.abs().max() for p in model.critic.parameters()) > 0.01
    model.on_update("critic")
    assert max(p.abs().max() for p in model.critic.parameters()) <= 0.01
    assert all(torch.equal(a, b) for a, b in zip(before, model.generator.parameters(), strict=True))


@pytest.mark.parametrize("kind", KINDS)
def test_each_player_learns_from_its_own_loss(kind: str) -> None:
    model = KINDS[kind](priors()["ring"], *networks())
    x, y = torch.rand(6, *SHAPE), torch.zeros(6, 0)
    for player, parameters in model.players.items():
        gradients = torch.autograd.grad(model.loss(x, y, player)["loss"], parameters)
        # A last bias moves what the critic says of all images alike, which a difference does not see.
        assert sum(bool((gradient != 0).any()) for gradient in gradients) >= len(parameters) - 1
    moved = {id(parameter) for parameters in model.players.values() for parameter in parameters}
    assert moved == {id(parameter) for parameter in model.parameters()}
    assert list(model.turns) == ["critic"] * model.critic_steps + ["generator"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "prior",
    [
        StandardNormal(2),
        NormalMixture(2, components=3),
        TensorRing([Normal(3)] * 2, rank=2),
        FlowPrior(StandardNormal(2), 2, transforms=1, hidden=(4,)),
        FlowPrior(TensorRing([Normal(3)] * 2, rank=2), 2, transforms=1, hidden=(4,)),
        HypersphericalUniform(2),
    ],
)
def test_any_prior(kind: str, prior: nn.Module) -> None:
    model = KINDS[kind](prior, *networks())
    images = model.sample(3)
    assert images.shape == (3, *SHAPE)
    assert ((images >= 0) & (images <= 1)).all()
    model.loss(torch.rand(4, *SHAPE), torch.zeros(4, 0), "generator")["loss"].backward()
    assert all(parameter.grad.isfinite().all() for parameter in prior.parameters())
    assert all(value.isfinite() for value in model.loss(torch.rand(4, *SHAPE), torch.zeros(4, 0)).values())


def test_a_fixed_prior_gets_no_gradient() -> None:
    prior = TensorRing([Normal(3)] * 2, rank=2).requires_grad_(False)
    for estimator in ("pathwise", "score"):
        model = GAN(prior, *networks(), prior_gradient=estimator)
        model.loss(torch.rand(4, *SHAPE), torch.zeros(4, 0), "generator")["loss"].backward()
        assert all(parameter.grad is None for parameter in prior.parameters())


def test_diversity_and_diagnosis() -> None:
    generator, critic = networks()
    model = GAN(StandardNormal(2), generator, critic)
    x = torch.rand(1000, *SHAPE)
    assert model.loss(x[:1], torch.zeros(1, 0))["diversity"] == 1
    model._generate = lambda z: 0.5 * torch.rand(len(z), *SHAPE)  # type: ignore[method-assign]
    terms = {name: value.item() for name, value in model.loss(x, torch.zeros(1000, 0)).items()}
    assert terms["diversity"] == pytest.approx(0.5, abs=0.03)
    assert terms["prior_entropy"] == pytest.approx(1 + math.log(2 * math.pi), abs=0.1)
    assert model.diagnose(terms, [terms]) is None
    start = terms
    for modes in (1, 2, 10):  # each of them an image that comes over and over, with a little noise
        images = torch.rand(modes, *SHAPE)
        model._generate = lambda z, images=images: (  # type: ignore[method-assign]
            images[torch.randint(len(images), (len(z),))] + 0.01 * torch.rand(len(z), *SHAPE)
        )
        terms = {name: value.item() for name, value in model.loss(x, torch.zeros(1000, 0)).items()}
        found = [model.diagnose(terms, [before]) for before in (start, terms)]
        assert [each and each[0] for each in found] == [
            "the generator has collapsed",
            "the generator has not come to vary yet",
        ]


GOOD = {"diversity": 0.9, "prior_entropy": 3.3, "train_critic_gradient_norm": 4.0}


@pytest.mark.parametrize(("change", "problem"), [
    ({}, None),
    ({"prior_entropy": -0.6}, None),  # as narrow as 25 modes, each a twentieth of their distance wide
    ({"prior_entropy": -0.8}, "the prior has collapsed: its entropy is 4.1 nats below that at the start"),
    ({"prior_entropy": 9.0}, None),
    ({"train_critic_gradient_norm": 300.0}, None),
    ({"train_critic_gradient_norm": 500.0},
     "the critic has diverged: the norm of its gradient rose from 4, its median, to 500"),
    ({"diversity": 0.05}, "the generator has collapsed: its images are 0.05 times as far apart as those of the data"),
])  # fmt: skip
def test_what_is_wrong_is_told_from_what_was_before(change: dict[str, float], problem: str | None) -> None:
    model = GAN(StandardNormal(2), *networks())
    start = {"diversity": 0.01, "prior_entropy": 3.3}
    epochs = [start, *(GOOD | {"train_critic_gradient_norm": norm} for norm in (0.1, 4.0, 4.0, 80.0))]
    found = model.diagnose(GOOD | change, epochs)
    assert (found and ": ".join(found)) == problem


def test_spectral_normalization_bounds_the_slope_of_a_critic() -> None:
    torch.manual_seed(0)
    critic = with_spectral_normalization(MLP(5, 1, hidden=(20, 20)))
    for _ in range(100):
        critic(torch.randn(2, 5))
    x = torch.randn(50, 5, requires_grad=True)
    (slope,) = torch.autograd.grad(critic(x).sum(), x)
    assert slope.norm(dim=1).max() < 1.1**3  # the slope of SiLU is at most 1.1


def test_the_optimisers_are_the_published_ones() -> None:
    made = {
        kind: model(StandardNormal(2), *networks()).make_optimizer([{"params": [nn.Parameter(torch.zeros(1))]}])
        for kind, model in KINDS.items()
    }
    assert isinstance(made["wgan"], torch.optim.RMSprop)
    assert made["gan"].param_groups[0]["betas"] == (0.5, 0.999)
    assert made["wgan-gp"].param_groups[0]["betas"] == (0.0, 0.9)


class WithoutPathwise(nn.Module):
    """A prior that is learned, whose samples have no gradient."""

    def __init__(self) -> None:
        super().__init__()
        self.logit = nn.Parameter(torch.zeros(2))

    def forward(self) -> torch.distributions.Distribution:
        return torch.distributions.Independent(torch.distributions.Bernoulli(logits=self.logit), 1)


MISTAKES = [
    (lambda: GAN(StandardNormal(2), *networks(), critic_steps=0), "critic_steps must be at least 1, got 0"),
    (lambda: GAN(StandardNormal(2), *networks(), objective="max"), "objective must be one of"),
    (lambda: GAN(StandardNormal(2), *networks(), prior_gradient="path"), "prior_gradient must be one of"),
    (lambda: GAN(WithoutPathwise(), *networks()), "no pathwise gradient: use prior_gradient='score'"),
    (
        lambda: GAN(StandardNormal(2), *networks()).loss(torch.zeros(2, *SHAPE), torch.zeros(2, 0), "judge"),
        "got 'judge'",
    ),
    (lambda: WGAN(StandardNormal(2), *networks(), clip=0.0), "clip must be positive, got 0.0"),
    (lambda: WGANGP(StandardNormal(2), *networks(), penalty=-1.0), "penalty must not be negative, got -1.0"),
]


@pytest.mark.parametrize(("make", "message"), MISTAKES)
def test_mistakes(make, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_a_prior_of_discrete_codes_learns_by_the_score_function() -> None:
    prior = WithoutPathwise()
    model = GAN(prior, *networks(), prior_gradient="score")
    model.loss(torch.rand(16, *SHAPE), torch.zeros(16, 0), "generator")["loss"].backward()
    assert prior.logit.grad.abs().min() > 0
    assert softplus(prior.logit).isfinite().all()


def test_a_flow_over_samples_without_a_gradient_is_refused_like_these() -> None:
    prior = FlowPrior(WithoutPathwise(), 2, transforms=1, hidden=(4,))
    with pytest.raises(ValueError, match="samples of FlowPrior have no pathwise gradient"):
        WGANGP(prior, *networks())


def test_a_prior_that_shares_the_posterior_of_an_autoencoder_is_refused() -> None:
    prior = VampPrior(DiagonalNormal(MLPEncoder((1, 8, 8), 4), 2), (1, 8, 8), components=3)
    with pytest.raises(TypeError, match="prior must not be a VampPrior"):
        GAN(prior, *networks())

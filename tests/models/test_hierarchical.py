"""Models of several stochastic layers against exact values where all is linear and Gaussian."""

import math

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Independent, MultivariateNormal, Normal

from googol.distributions import Categorical, TensorRing
from googol.distributions import Normal as NormalVariable
from googol.likelihoods import Bernoulli, Hierarchical, LatentLayer
from googol.models import VAE, JointVAE
from googol.networks import MLP, JoinedEncoder, MLPDecoder, MLPEncoder
from googol.posteriors import DiagonalNormal, InverseAutoregressiveFlow, PlanarFlow, SparseNormal, SylvesterFlow
from googol.priors import StandardNormal, VampPrior

SIZES = (2, 1, 2)  # latents of each layer, from the top
PIXELS = 3
NOISE = 0.7
SHAPE = (1, 6, 5)


class Linear(nn.Module):
    """N(A v + b, diag s²) of an image (or of a vector, without a shape), given other vectors side by side."""

    def __init__(
        self, inputs: int, outputs: int, scale: float, shape: tuple[int, ...] | None = None, *, gain: float = 0.6
    ) -> None:
        super().__init__()
        self.matrix = nn.Parameter(gain * torch.randn(outputs, inputs, dtype=torch.float64))
        self.scale, self.shape, self.latents = scale, shape or (outputs,), outputs

    def forward(self, *inputs: Tensor) -> Independent:
        flat = [v.flatten(-3) if v.shape[-3:] == (1, 1, PIXELS) else v for v in inputs]
        batch = torch.broadcast_shapes(*(v.shape[:-1] for v in flat))
        v = torch.cat([v.expand(*batch, -1) for v in flat], -1)
        return Independent(Normal((v @ self.matrix.mT).unflatten(-1, self.shape), self.scale), len(self.shape))


def linear_model(layers: int) -> VAE:
    """Its posteriors are wider than the exact ones, so that no weight is large."""
    torch.manual_seed(layers)
    sizes = SIZES[:layers]
    above = [sum(sizes[: number + 1]) for number in range(layers)]
    below = [
        LatentLayer(Linear(seen, size, 0.8), Linear(PIXELS + seen, size, 0.9, gain=0.1))
        for seen, size in zip(above, sizes[1:], strict=False)
    ]
    likelihood = Linear(above[-1], PIXELS, NOISE, (1, 1, PIXELS))
    return VAE(
        StandardNormal(sizes[0]).double(), Linear(PIXELS, sizes[0], 1.0, gain=0.1), Hierarchical(below, likelihood)
    )


def exact(model: VAE, x: Tensor) -> Tensor:
    """log p(x): all codes and pixels are one normal, whose covariance the chain of linear maps gives."""
    top = model.posterior.latents
    covariance = torch.eye(top, dtype=x.dtype)
    parts = [*(layer.prior for layer in model.likelihood.layers), model.likelihood.likelihood]
    for part in parts:
        cross = part.matrix @ covariance
        noise = part.scale**2 * torch.eye(len(part.matrix), dtype=x.dtype)
        covariance = torch.cat(
            [torch.cat([covariance, cross.mT], 1), torch.cat([cross, cross @ part.matrix.mT + noise], 1)]
        )
    pixels = covariance[-PIXELS:, -PIXELS:]
    return MultivariateNormal(torch.zeros(PIXELS, dtype=x.dtype), pixels).log_prob(x.flatten(-3))


def images() -> Tensor:
    return torch.randn(4, 1, 1, PIXELS, generator=torch.Generator().manual_seed(5), dtype=torch.float64)


@pytest.mark.parametrize("layers", [1, 2, 3])
@torch.no_grad()
def test_the_importance_bound_rises_to_the_exact_value(layers):
    model, x = linear_model(layers), images()
    truth = exact(model, x)
    torch.manual_seed(0)
    bounds = [
        torch.stack([model.importance_bound(x, k) for _ in range(n)]).mean() for k, n in ((1, 2000), (8, 400), (64, 80))
    ]
    assert bounds[0] < bounds[1] < bounds[2] < truth.mean() + 0.01
    torch.testing.assert_close(model.importance_bound(x, 200_000), truth, atol=0.03, rtol=0)


@pytest.mark.parametrize("layers", [2, 3])
def test_the_loss_is_the_bound_in_the_terms_of_its_layers(layers):
    model, x = linear_model(layers), images()
    torch.manual_seed(1)
    bound = model.elbo(x).mean()
    torch.manual_seed(1)
    terms = model.eval().loss(x, torch.empty(4, 0))
    torch.manual_seed(1)
    log_likelihood, kl = model.elbo_terms(x)
    torch.testing.assert_close(terms["loss"], -bound)
    torch.testing.assert_close(terms["reconstruction"], -log_likelihood.mean())
    torch.testing.assert_close(terms["kl"], kl.mean())
    torch.testing.assert_close(sum(terms[f"kl_{number}"] for number in range(1, layers + 1)), terms["kl"])
    assert f"kl_{layers + 1}" not in terms


def test_each_layer_has_its_free_bits_in_training_alone():
    model, x = linear_model(2), images()
    model.free_bits = free = 1e3
    terms = model.train().loss(x, torch.empty(4, 0))
    torch.testing.assert_close(terms["loss"], terms["reconstruction"] + 2 * free)
    terms["loss"].backward()
    assert all(
        layer.prior.matrix.grad is None or not layer.prior.matrix.grad.any() for layer in model.likelihood.layers
    )
    model.kl_warmup_epochs = 4
    model.on_epoch_start(0, lambda: iter(()))
    terms = model.loss(x, torch.empty(4, 0))
    torch.testing.assert_close(terms["loss"], terms["reconstruction"] + 0.25 * 2 * free)
    model.free_bits = 1e-3
    terms = model.loss(x, torch.empty(4, 0))
    each = [terms[name].clamp(min=1e-3) for name in ("kl_1", "kl_2")]
    torch.testing.assert_close(terms["loss"], terms["reconstruction"] + 0.25 * sum(each))
    terms = model.eval().loss(x, torch.empty(4, 0))
    torch.testing.assert_close(terms["loss"], terms["reconstruction"] + terms["kl"])


def test_samples_of_all_layers_follow_the_model():
    model = linear_model(3)
    torch.manual_seed(0)
    with torch.no_grad():
        z = model.prior().sample((100_000,))
        drawn = model.likelihood(z).sample().flatten(1)
        shown = model.sample(100_000).flatten(1)
        at = images()[:1]
        density = exact(model, at)
        precision = MultivariateNormal(torch.zeros(PIXELS, dtype=at.dtype), drawn.mT.cov()).log_prob(at.flatten(1))
    torch.testing.assert_close(precision, density, atol=0.02, rtol=0)
    # What is shown are means: all but the noise of the pixels.
    torch.testing.assert_close(
        shown.mT.cov() + NOISE**2 * torch.eye(PIXELS, dtype=at.dtype), drawn.mT.cov(), atol=0.05, rtol=0.03
    )
    assert model.likelihood(z[:5]).event_shape == (1, 1, PIXELS)
    assert not model.sample(2).requires_grad


def test_a_reconstruction_goes_through_the_codes_of_the_image_in_every_layer():
    model, x = linear_model(2), images()
    (layer,) = model.likelihood.layers
    top = model.posterior(x).mean
    both = torch.cat([top, layer.posterior(x, top).mean], -1)
    torch.testing.assert_close(model.reconstruct(x), model.likelihood.likelihood(both).mean)


# -- with networks


def network_layer(above: int, latents: int, posterior=DiagonalNormal, **options) -> LatentLayer:
    outputs = posterior.encoder_outputs(latents, **options)
    joined = JoinedEncoder(MLPEncoder(SHAPE, 12, hidden=()), MLP(above, 12, hidden=()), MLP(24, outputs, hidden=(12,)))
    prior = DiagonalNormal(MLP(above, 2 * latents, hidden=(12,)), latents)
    return LatentLayer(prior, posterior(joined, latents, **options))


def networks(sizes: tuple[int, ...], posterior=DiagonalNormal, **options) -> Hierarchical:
    layers = [
        network_layer(sum(sizes[:number]), size, posterior, **options) for number, size in enumerate(sizes) if number
    ]
    return Hierarchical(layers, Bernoulli(MLPDecoder(sum(sizes), SHAPE, hidden=(16,))))


def stripes(n: int) -> Tensor:
    """Rows or columns, each white or black."""
    lines = torch.randint(2, (n, 1, 6, 5)).float()
    return torch.where(
        torch.rand(n, 1, 1, 1) < 0.5, lines[..., :1].expand_as(lines), lines[..., :1, :].expand_as(lines)
    )


@pytest.mark.parametrize("sizes", [(3, 4), (2, 3, 4)])
@pytest.mark.parametrize("top", ["vamp", "ring"])
def test_models_of_two_and_three_layers_learn(sizes, top):
    torch.manual_seed(0)
    posterior = DiagonalNormal(MLPEncoder(SHAPE, 2 * sizes[0], hidden=(16,)), sizes[0])
    ring = TensorRing([NormalVariable(3)] * sizes[0], rank=2)
    prior = VampPrior(posterior, SHAPE, components=5) if top == "vamp" else ring
    model = VAE(prior, posterior, networks(sizes))
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    x, other = stripes(512), stripes(256)
    before = model.importance_bound(other, 20).mean().item()
    for _ in range(150):
        optimizer.zero_grad()
        model.loss(x, torch.empty(len(x), 0))["loss"].backward()
        optimizer.step()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())
    after = model.importance_bound(other, 20).mean().item()
    # Independent pixels, the best without codes, have 30 log 2 = 20.8.
    assert after > max(before, -20.8) + 5


@pytest.mark.parametrize(
    ("posterior", "options"),
    [
        (SparseNormal, {}),
        (SylvesterFlow, {"flows": 2}),
        (PlanarFlow, {"flows": 2}),
        (InverseAutoregressiveFlow, {"flows": 2, "hidden": (8,), "context": 3}),
    ],
)
def test_any_posterior_in_the_lower_layer(posterior, options):
    torch.manual_seed(0)
    top = DiagonalNormal(MLPEncoder(SHAPE, 2 * 3), 3)
    model, x = VAE(StandardNormal(3), top, networks((3, 4), posterior, **options)), stripes(6)
    assert model.importance_bound(x, 5).shape == (6,)
    assert model.reconstruct(x).shape == x.shape
    model.loss(x, torch.empty(6, 0))["loss"].backward()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())


# -- under conditions


def joint(**options) -> JointVAE:
    torch.manual_seed(0)
    ring = TensorRing([NormalVariable(4)] * 2 + [Categorical(2)], rank=3)
    return JointVAE(ring, DiagonalNormal(MLPEncoder(SHAPE, 2 * 2, hidden=(16,)), 2), networks((2, 4)), **options)


def test_a_joint_model_of_the_top_codes_and_labels_learns_and_generates_under_them():
    model = joint(label_weight=10.0, consistency_weight=1.0)
    label = torch.randint(2, (256,)).float()
    x = (torch.rand(256, *SHAPE) < 0.1).float()
    x[label == 1, :, :3] = 1 - x[label == 1, :, :3]  # the upper half is white, or nothing is
    known = torch.where(torch.rand(len(x)) < 0.5, label, math.nan).unsqueeze(1)
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(200):
        optimizer.zero_grad()
        model.loss(x, known)["loss"].backward()
        optimizer.step()
    (answers,) = model.impute(x)
    assert (answers.argmax(1) == label).float().mean() > 0.95
    for value in (0.0, 1.0):
        made = model.sample(200, torch.tensor([value]))
        assert ((made[:, :, :3] > 0.5).float().mean((1, 2, 3)).round() == value).float().mean() > 0.8
        assert made[:, :, 3:].mean() < 0.3


def test_an_edit_that_changes_nothing_keeps_the_codes_of_the_image_in_every_layer():
    model, x = joint(), stripes(5)
    y = torch.randint(2, (5, 1)).float()
    torch.testing.assert_close(model.edit(x, y, y), model.reconstruct(x), rtol=1e-3, atol=1e-3)


def test_a_frozen_autoencoder_has_no_gradient_in_any_layer():
    model = joint(consistency_weight=1.0, warmup_epochs=1, freeze_autoencoder=True)
    model.started.fill_(True)
    model.loss(stripes(8), torch.zeros(8, 1))["loss"].backward()
    assert all(p.grad is None for part in (model.posterior, model.likelihood) for p in part.parameters())
    assert any(p.grad is not None and p.grad.any() for p in model.prior.parameters())

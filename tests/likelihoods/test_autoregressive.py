"""The autoregressive likelihood: probabilities of all images, samples, and its place in models."""

import math

import pytest
import torch
from scipy.stats import chisquare
from torch import nn

from googol.distributions import Categorical, TensorRing
from googol.distributions import Normal as NormalVariable
from googol.likelihoods import Autoregressive, Bernoulli, DiscretizedLogistic, Hierarchical
from googol.likelihoods.autoregressive import links
from googol.models import VAE, JointVAE, PixelCNN
from googol.networks import GatedPixelCNN, MLPDecoder, MLPEncoder
from googol.posteriors import DiagonalNormal
from googol.priors import StandardNormal


def make(shape, pixels=Bernoulli, *, latents: int = 0, linked: bool = False) -> Autoregressive:
    torch.manual_seed(0)
    outputs = shape[0] * pixels.outputs_per_channel() + (links(shape[0]) if linked else 0)
    network = GatedPixelCNN(shape, outputs, context=3 if latents else 0, width=6, layers=2, first_kernel=3)
    for parameter in network.parameters():  # far from even
        parameter.data += 0.4 * torch.randn_like(parameter)
    return Autoregressive(
        network, pixels(nn.Identity()), MLPDecoder(latents, (3, *shape[1:])) if latents else None
    ).double()


def binary_images(shape) -> torch.Tensor:
    pixels = math.prod(shape)
    return torch.cartesian_prod(*[torch.tensor([0.0, 1.0], dtype=torch.float64)] * pixels).view(-1, *shape)


@pytest.mark.parametrize("latents", [0, 2])
@pytest.mark.parametrize(
    ("shape", "linked"),
    [
        ((1, 2, 2), False),
        ((1, 2, 3), False),
        ((1, 3, 2), False),
        ((1, 3, 3), False),
        ((2, 2, 2), False),
        ((2, 2, 2), True),
        ((3, 1, 3), True),
    ],
)
@torch.no_grad()
def test_the_probabilities_of_all_images_sum_to_one(shape, linked, latents):
    likelihood, x = make(shape, latents=latents, linked=linked), binary_images(shape)
    p = likelihood(torch.randn(4, 1, latents, dtype=torch.float64)) if latents else likelihood()
    probabilities = p.log_prob(x).exp()
    assert probabilities.shape == ((4, len(x)) if latents else (len(x),))
    torch.testing.assert_close(probabilities.sum(-1), torch.ones(probabilities.shape[:-1], dtype=torch.float64))
    assert probabilities.max() > 3 / len(x)
    if latents:
        assert (probabilities[0] - probabilities[1]).abs().max() > 1e-3


@torch.no_grad()
def test_the_probabilities_of_all_grey_levels_sum_to_one():
    likelihood = make((1, 1, 2), DiscretizedLogistic)
    levels = torch.arange(256, dtype=torch.float64) / 255
    x = torch.cartesian_prod(levels, levels).view(-1, 1, 1, 2)
    probabilities = likelihood().log_prob(x).exp()
    assert probabilities.sum().item() == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize("shape", [(1, 2, 3), (3, 1, 2)])
@torch.no_grad()
def test_samples_agree_with_the_probabilities(shape):
    likelihood, x = make(shape, latents=2, linked=True), binary_images(shape)
    z = torch.randn(2, dtype=torch.float64)
    torch.manual_seed(1)
    drawn = likelihood(z).sample((5000,))
    powers = 2 ** torch.arange(5, -1, -1, dtype=torch.float64)
    counts = (drawn.flatten(1) @ powers).long().bincount(minlength=64)
    expected = likelihood(z).log_prob(x).exp() * 5000
    order = expected.argsort()
    rare = expected[order].cumsum(0) < 10  # the least probable ones as one
    few = [part[order][rare].sum().view(1) for part in (counts, expected)]
    observed, hoped = (
        torch.cat([part[order][~rare].double(), one]) for part, one in zip((counts, expected), few, strict=True)
    )
    assert chisquare(observed.numpy(), hoped.numpy()).pvalue > 1e-3


def test_links_between_channels_learn_colours():
    torch.manual_seed(0)
    colours = torch.tensor([[1.0, 0.0, 1.0], [0.0, 1.0, 1.0]]).view(2, 3, 1, 1)
    x = colours[torch.randint(2, (64, 2))].transpose(1, 2).reshape(64, 3, 1, 2)
    linked = make((3, 1, 2), linked=True).float()
    optimizer = torch.optim.Adam(linked.parameters(), 5e-2)
    for _ in range(150):
        optimizer.zero_grad()
        (-linked().log_prob(x).mean()).backward()
        optimizer.step()
    assert linked().log_prob(x).mean() > -2 * math.log(2) - 0.1  # one of two colours for each of two pixels
    drawn = linked().sample((200,))
    one = (drawn.transpose(1, 3).reshape(400, 1, 3) == colours.view(2, 3)).all(-1).any(-1)
    assert one.float().mean() > 0.95


def test_numbers_of_outputs_are_checked():
    with pytest.raises(ValueError, match="network must give 6 outputs, or 9 with links between channels, got 7"):
        Autoregressive(GatedPixelCNN((3, 4, 4), 7, width=4, layers=1), DiscretizedLogistic(nn.Identity()))


@pytest.mark.parametrize(("context", "decoder"), [(0, MLPDecoder(3, (2, 4, 4))), (2, None)])
def test_codes_that_nothing_would_see_are_refused(context, decoder):
    network = GatedPixelCNN((1, 4, 4), 1, context=context, width=4, layers=1)
    with pytest.raises(ValueError, match=f"network has a context of {context} channels, and there is"):
        Autoregressive(network, Bernoulli(nn.Identity()), decoder)


@pytest.mark.parametrize("latents", [0, 2])
def test_a_distribution_of_images_is_expanded(latents):
    likelihood = make((1, 3, 3), latents=latents)
    p = likelihood(torch.randn(5, 2, dtype=torch.float64)) if latents else likelihood()
    expanded = p.expand((4, *p.batch_shape))
    x = torch.rand(4, *p.batch_shape, 1, 3, 3, dtype=torch.float64).round()
    torch.testing.assert_close(expanded.log_prob(x), p.log_prob(x))
    assert expanded.sample((2,)).shape == (2, 4, *p.batch_shape, 1, 3, 3)


def test_shapes_and_parts_of_large_batches():
    likelihood = make((1, 3, 3), latents=2)
    p = likelihood(torch.randn(5, 2, dtype=torch.float64))
    assert p.batch_shape == (5,)
    assert p.event_shape == (1, 3, 3)
    assert p.sample((2,)).shape == (2, 5, 1, 3, 3)
    with pytest.raises(NotImplementedError):
        _ = p.mean
    x = torch.rand(700, 1, 1, 3, 3, dtype=torch.float64).round()
    whole = p.log_prob(x)
    assert whole.shape == (700, 5)
    with torch.no_grad():
        torch.testing.assert_close(p.log_prob(x), whole.detach())


def test_single_precision_agrees_with_double():
    likelihood, x = make((1, 3, 3), latents=2), binary_images((1, 3, 3))[:50]
    z = torch.randn(50, 2, dtype=torch.float64)
    double = likelihood(z).log_prob(x)
    torch.testing.assert_close(likelihood.float()(z.float()).log_prob(x.float()).double(), double, atol=1e-4, rtol=1e-4)


def test_alone_its_bounds_are_the_exact_value():
    model, x = PixelCNN(make((1, 3, 3))), binary_images((1, 3, 3))[:20]
    exact = model.likelihood().log_prob(x)
    for found in (model.log_prob(x), model.elbo(x), model.importance_bound(x, 7), model.elbo_terms(x)[0]):
        torch.testing.assert_close(found, exact)
    torch.testing.assert_close(model.loss(x, torch.empty(20, 0))["loss"], -exact.mean())
    with pytest.raises(ValueError, match="k must be at least 1, got 0"):
        model.importance_bound(x, 0)
    with pytest.raises(ValueError, match="no decoder"):
        PixelCNN(make((1, 3, 3), latents=2))


def bars(n: int) -> tuple[torch.Tensor, torch.Tensor]:
    """A white row or column of a 4 × 4 image, and which of the two."""
    label = torch.randint(2, (n,))
    line = torch.nn.functional.one_hot(torch.randint(4, (n,)), 4).float()
    rows, columns = line[:, None, :, None].expand(n, 1, 4, 4), line[:, None, None, :].expand(n, 1, 4, 4)
    return torch.where(label.view(n, 1, 1, 1) == 0, rows, columns), label.float()


def test_it_learns_what_independent_pixels_cannot():
    torch.manual_seed(0)
    model = PixelCNN(Autoregressive(GatedPixelCNN((1, 4, 4), 1, width=8, layers=2), Bernoulli(nn.Identity())))
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    x, _ = bars(256)
    for _ in range(150):
        optimizer.zero_grad()
        model.loss(x, torch.empty(256, 0))["loss"].backward()
        optimizer.step()
    assert model.log_prob(x).mean() > -math.log(8) - 0.1  # the best there is
    made = model.sample(100)
    known = {tuple(image.flatten().tolist()) for image in x}
    assert sum(tuple(image.flatten().tolist()) in known for image in made) > 90


@pytest.mark.parametrize("hierarchical", [False, True])
def test_a_joint_model_draws_images_under_conditions(hierarchical):
    torch.manual_seed(0)
    shape = (1, 4, 4)
    network = GatedPixelCNN(shape, 1, context=2, width=8, layers=2)
    likelihood: nn.Module = Autoregressive(network, Bernoulli(nn.Identity()), MLPDecoder(2, (2, 4, 4), hidden=(16,)))
    if hierarchical:
        likelihood = Hierarchical([], likelihood)
    ring = TensorRing([NormalVariable(3)] * 2 + [Categorical(2)], rank=3)
    posterior = DiagonalNormal(MLPEncoder(shape, 2 * 2, hidden=(16,)), 2)
    model = JointVAE(ring, posterior, likelihood, label_weight=10.0, free_bits=1.0)
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    x, label = bars(256)
    known = torch.where(torch.rand(256) < 0.5, label, math.nan).unsqueeze(1)
    for _ in range(250):
        optimizer.zero_grad()
        model.loss(x, known)["loss"].backward()
        optimizer.step()
    for value in (0.0, 1.0):
        images, conditions = model.generate(100, torch.tensor([value]))
        assert set(images.unique().tolist()) == {0.0, 1.0}  # images, no means
        assert (conditions == value).all()
        is_row = (images[:, 0].sum(2).amax(1) == 4).float()
        assert (is_row == 1 - value).float().mean() > 0.8
    assert (model.impute(x)[0].argmax(1) == label).float().mean() > 0.9
    assert model.reconstruct(x[:5]).shape == (5, *shape)


def test_consistency_needs_images_with_a_gradient():
    ring = TensorRing([NormalVariable(3)] * 2 + [Categorical(2)], rank=3)
    posterior = DiagonalNormal(MLPEncoder((1, 3, 3), 4), 2)
    with pytest.raises(ValueError, match="consistency_weight must be 0 with an autoregressive likelihood"):
        JointVAE(ring, posterior, make((1, 3, 3), latents=2), consistency_weight=1.0)


def test_a_vae_of_it_has_bounds_and_samples():
    torch.manual_seed(0)
    likelihood = make((1, 3, 3), latents=2).float()
    model = VAE(StandardNormal(2), DiagonalNormal(MLPEncoder((1, 3, 3), 4), 2), likelihood)
    x = binary_images((1, 3, 3))[:20].float()
    assert model.importance_bound(x, 5).shape == (20,)
    model.loss(x, torch.empty(20, 0))["loss"].backward()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())
    assert model.sample(6).shape == (6, 1, 3, 3)
    assert model.reconstruct(x).shape == x.shape

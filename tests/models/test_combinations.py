"""Any prior with any posterior, likelihood and network: a step of training, bounds, samples, the file of weights."""

import dataclasses
import gc
import itertools
from typing import get_args

import pytest
import torch

from googol.data import Condition
from googol.experiments import config

SHAPE = (1, 8, 8)
RING = config.TensorRing(rank=2, components=3)
PRIORS = [
    config.StandardNormal(),
    config.NormalMixture(components=3),
    config.VampPrior(components=4),
    config.VampPrior(components=4, start="data", learnable=False),
    RING,
    config.Flow(base=RING, transforms=2, hidden=(8,)),
]
SPHERE = [config.HypersphericalUniform(), config.VampPrior(components=4)]
POSTERIORS = [
    config.Diagonal(),
    config.Householder(flows=2),
    config.SparseNormal(),
    config.SparseNormal(structure="grid"),
    config.SparseNormal(structure="extended-grid"),
    config.Planar(flows=2),
    config.IAF(flows=2, hidden=(8,), context=3),
    config.Sylvester(flows=2, columns=2),
    config.Sylvester(flows=2, orthogonalization="householder", reflections=2),
    config.Sylvester(flows=2, orthogonalization="triangular"),
]
PIXEL_BY_PIXEL = config.Autoregressive(pixels=config.DiscretizedLogistic(), context=2, width=4, layers=2)
LIKELIHOODS = [
    config.Bernoulli(),
    config.Normal(),
    config.DiscretizedLogistic(),
    config.LogitNormal(precision="grid"),
    PIXEL_BY_PIXEL,
]
NETWORKS = [
    config.MLP(hidden=(9,)),
    config.MLP(hidden=(9,), activation="gated"),
    config.Conv(width=4),
    config.GatedConv(width=4, hidden=9),
    config.DCGAN(width=4),
]
PAIRS = [*itertools.product(PRIORS, POSTERIORS), *itertools.product(SPHERE, [config.VonMisesFisher()])]


@pytest.mark.parametrize(
    ("choices", "union"),
    [
        ([*PRIORS, *SPHERE], config.Prior),
        ([*POSTERIORS, config.VonMisesFisher()], config.Posterior),
        (LIKELIHOODS, config.Likelihood),
        (NETWORKS, config.Network),
    ],
    ids=["priors", "posteriors", "likelihoods", "networks"],
)
def test_no_choice_is_left_out_here(choices, union):
    assert {type(choice) for choice in choices} == set(get_args(union))


def name(choice: object) -> str:
    return "-".join(str(value) for value in (type(choice).__name__, *vars(choice).values()) if isinstance(value, str))


@pytest.mark.parametrize(("prior", "posterior"), PAIRS, ids=name)
def test_a_step_bounds_and_samples(prior, posterior):
    # Every likelihood and network meets many of the pairs.
    number = PAIRS.index((prior, posterior))
    likelihood, network = LIKELIHOODS[number % len(LIKELIHOODS)], NETWORKS[number // 3 % len(NETWORKS)]
    torch.manual_seed(0)
    choice = config.VAE(latents=4, prior=prior, posterior=posterior, likelihood=likelihood, network=network)
    check(choice)


# Three layers, with another posterior in the lower ones than on top.
HIERARCHIES = [
    config.HVAE(
        latents=(4, 3, 2),
        prior=PRIORS[number % len(PRIORS)],
        posterior=posterior,
        lower=POSTERIORS[(number + 3) % len(POSTERIORS)],
        likelihood=LIKELIHOODS[number % len(LIKELIHOODS)],
        network=NETWORKS[number % len(NETWORKS)],
    )
    for number, posterior in enumerate([*POSTERIORS, *POSTERIORS])
]


@pytest.mark.parametrize("choice", HIERARCHIES, ids=range(len(HIERARCHIES)))
def test_models_of_several_layers_too(choice):
    check(choice)


@pytest.mark.parametrize(
    "choice",
    [
        config.HVAE(latents=(3,), network=config.MLP(hidden=(9,))),
        config.HVAE(latents=(4, 3), lower=config.VonMisesFisher(), network=config.MLP(hidden=(9,))),
        config.ConvHVAE(latents=(4, 3), network=config.GatedConv(width=4, hidden=9)),
        config.PixelHVAE(latents=(4, 3), likelihood=PIXEL_BY_PIXEL, network=config.GatedConv(width=4, hidden=9)),
        config.PixelHVAE(latents=(4,), likelihood=PIXEL_BY_PIXEL, network=config.MLP(hidden=(9,))),
        config.PixelCNN(likelihood=PIXEL_BY_PIXEL),
    ],
    ids=name,
)
def test_the_models_by_name(choice):
    check(choice)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: config.HVAE(latents=()), "latents must be at least 1, got 0"),
        (lambda: config.HVAE(latents=(3, 0)), "latents must be at least 1, got 0"),
        (lambda: config.HVAE(free_bits=-1.0), "free_bits must be at least 0"),
        (lambda: config.Autoregressive(kernel=4), "kernel must be odd and at least 3, got 4"),
        (lambda: config.HVAE(network=config.MLP(hidden=())).build(SHAPE, ()), "at least one hidden layer"),
        (lambda: config.JointVAE(likelihood=config.Autoregressive()), "consistency_weight must be 0"),
        (lambda: config.JointVAE(lower_latents=(0,)), "lower_latents must be at least 1, got 0"),
    ],
)
def test_choices_that_make_no_sense(make, message):
    with pytest.raises(ValueError, match=message):
        make()


# Of zuko's flows, a few tensors do.
COLLECTED = [
    *(config.VAE(latents=4, prior=prior) for prior in PRIORS if not isinstance(prior, config.Flow)),
    *(config.VAE(latents=4, posterior=posterior) for posterior in POSTERIORS if not isinstance(posterior, config.IAF)),
    *(config.VAE(latents=4, likelihood=likelihood) for likelihood in LIKELIHOODS),
    config.HVAE(latents=(4, 3)),
    *(kind(latents=4) for kind in (config.JointVAE, config.CVAE, config.ExpertsVAE)),
]


@pytest.mark.parametrize("choice", COLLECTED, ids=lambda choice: type(choice).__name__)
def test_no_tensor_waits_for_the_garbage_collector(choice):
    conditional = getattr(choice, "takes_conditions", False)
    schema = (Condition("side", ("heads", "tails")), Condition("age", None)) if conditional else ()
    choice = dataclasses.replace(choice, network=config.MLP(hidden=(9,)))
    model = choice.build(SHAPE, schema)
    x, y = torch.rand(7, *SHAPE), torch.zeros(7, len(schema))

    def use():
        model.loss(x, y)["loss"].backward()
        with torch.no_grad():
            model.importance_bound(x, 3)
            model.sample(2)

    counts = []
    for _ in range(3):  # what earlier tests left comes along once
        gc.collect()
        gc.set_debug(gc.DEBUG_SAVEALL)
        try:
            use()
            gc.collect()
            counts.append(sum(isinstance(thing, torch.Tensor) for thing in gc.garbage))
        finally:
            gc.set_debug(0)
            gc.garbage.clear()
    assert min(counts) == 0


def check(choice):
    """A step of training, bounds, samples, and the file of weights."""
    model = choice.build(SHAPE, ())
    x, y = (torch.rand(7, *SHAPE) * 255 + 0.5) / 256, torch.empty(7, 0)
    if hasattr(model, "on_epoch_start"):
        model.on_epoch_start(0, lambda: iter([(x, y)]))
    model.loss(x, y)["loss"].backward()
    for parameter_name, parameter in model.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert parameter.grad.isfinite().all(), parameter_name
    with torch.no_grad():
        assert model.importance_bound(x, 3).isfinite().all()
        assert model.elbo(x).shape == (7,)
    check_samples(model)
    if hasattr(model, "reconstruct"):
        assert model.reconstruct(x).shape == x.shape
    again = choice.build(SHAPE, ())
    again.load_state_dict(model.state_dict())
    torch.manual_seed(1)
    bound = model.importance_bound(x, 2)
    torch.manual_seed(1)
    assert torch.equal(bound, again.importance_bound(x, 2))


def check_samples(model):
    """Any number of images in [0, 1], none included, and the same from the same seed; a negative number is refused."""
    for n in (5, 0):
        assert model.sample(n).shape == (n, *SHAPE)
    torch.manual_seed(2)
    images = model.sample(3)
    assert 0 <= images.min() <= images.max() <= 1
    torch.manual_seed(2)
    assert torch.equal(images, model.sample(3))
    with pytest.raises(ValueError, match="n must be at least 0, got -1"):
        model.sample(-1)


ADVERSARIAL = [
    model(latents=4, prior=prior, prior_gradient=gradient, network=network)
    for model, (prior, gradient), network in zip(
        itertools.cycle([config.GAN, config.WGAN, config.WGANGP]),
        [
            (config.StandardNormal(), "pathwise"),
            (config.NormalMixture(components=3), "pathwise"),
            (config.NormalMixture(components=3), "score"),
            (RING, "pathwise"),
            (RING, "score"),
            (config.Flow(base=RING, transforms=2, hidden=(8,)), "score"),
            (config.HypersphericalUniform(), "pathwise"),
            *[(RING, "pathwise")] * 3,
        ],
        itertools.cycle(NETWORKS),
    )
]


@pytest.mark.parametrize("choice", ADVERSARIAL, ids=name)
def test_players_take_their_turns_with_any_prior_and_network(choice):
    torch.manual_seed(0)
    model = choice.build(SHAPE, ())
    x, y = torch.rand(7, *SHAPE), torch.empty(7, 0)
    for player, parameters in model.players.items():
        model.loss(x, y, player)["loss"].backward()
        assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in parameters)
    model.eval()
    check_samples(model)
    assert all(term.isfinite() for term in model.loss(x, y).values())
    again = choice.build(SHAPE, ()).eval()
    again.load_state_dict(model.state_dict())
    torch.manual_seed(1)
    images = model.sample(4)
    torch.manual_seed(1)
    assert torch.equal(images, again.sample(4))


@pytest.mark.parametrize("posterior", POSTERIORS, ids=name)
def test_a_joint_model_takes_any_posterior(posterior):
    check_joint(posterior=posterior)


@pytest.mark.parametrize(
    "options",
    [
        {"lower_latents": (3,)},
        {"lower_latents": (3, 2), "lower": config.Planar(flows=2), "free_bits": 1.0},
        {"likelihood": PIXEL_BY_PIXEL, "consistency_weight": 0.0},
        {"likelihood": PIXEL_BY_PIXEL, "consistency_weight": 0.0, "lower_latents": (3,)},
    ],
    ids=str,
)
def test_a_joint_model_takes_several_layers_and_paints_pixel_by_pixel(options):
    check_joint(**options)


def check_joint(**options):
    torch.manual_seed(0)
    schema = (Condition("digit", ("0", "1", "2")), Condition("thickness", None))
    ring = config.TensorRing(rank=3, components=3)
    choice = config.JointVAE(latents=4, prior=ring, network=config.MLP(hidden=(9,)), **options)
    model = choice.build(SHAPE, schema)
    x, y = torch.rand(30, *SHAPE), torch.stack([torch.arange(30.0) % 3, torch.randn(30)], 1)
    y[::2, 0] = torch.nan
    model.on_epoch_start(choice.warmup_epochs, lambda: iter([(x, y)]))
    model.loss(x, y)["loss"].backward()
    for parameter_name, parameter in model.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert parameter.grad.isfinite().all(), parameter_name
    assert model.sample(5, given=torch.tensor([1.0, torch.nan])).shape == (5, *SHAPE)
    check_samples(model)
    digits, _ = model.impute(x, y)
    torch.testing.assert_close(digits.sum(-1), torch.ones(30))
    torch.testing.assert_close(digits[1, 1], torch.tensor(1.0))  # it is known


SCHEMA = (Condition("digit", ("0", "1", "2")), Condition("thickness", None))


def partly_labelled() -> tuple[torch.Tensor, torch.Tensor]:
    x, y = (torch.rand(30, *SHAPE) * 255 + 0.5) / 256, torch.stack([torch.arange(30.0) % 3, 5 + torch.randn(30)], 1)
    y[::2, 0] = torch.nan
    y[::3, 1] = torch.nan
    return x, y


@pytest.mark.parametrize(
    "choice",
    [
        *(config.CVAE(latents=4, prior=prior, network=config.MLP(hidden=(9,))) for prior in PRIORS),
        *(config.CVAE(latents=4, posterior=posterior, network=config.Conv(width=4)) for posterior in POSTERIORS[1:]),
        *(config.CVAE(latents=4, likelihood=each, network=config.MLP(hidden=(9,))) for each in LIKELIHOODS[1:]),
        *(config.ExpertsVAE(latents=4, likelihood=each, network=config.MLP(hidden=(9,))) for each in LIKELIHOODS),
        *(config.ExpertsVAE(latents=4, network=network) for network in NETWORKS[1:]),
    ],
    ids=name,
)
def test_models_that_are_told_conditions_take_any_parts(choice):
    torch.manual_seed(0)
    model = choice.build(SHAPE, SCHEMA)
    x, y = partly_labelled()
    model.on_epoch_start(0, lambda: iter([(x, y)]))
    model.loss(x, y)["loss"].backward()
    for parameter_name, parameter in model.named_parameters():
        assert not parameter.requires_grad or parameter.grad is not None, parameter_name
        assert parameter.grad is None or parameter.grad.isfinite().all(), parameter_name
    with torch.no_grad():
        assert model.importance_bound(x, 3, y).isfinite().all()
        assert model.reconstruct(x).shape == x.shape
    images, conditions = model.generate(5, given=torch.tensor([1.0, torch.nan]))
    assert images.shape == (5, *SHAPE)
    assert (conditions[:, 0] == 1).all()
    check_samples(model)
    digits, thickness = model.impute(x, y)
    assert thickness.shape == (30, 1)
    torch.testing.assert_close(digits.sum(-1), torch.ones(30))
    torch.testing.assert_close(digits[1, 1], torch.tensor(1.0))  # it is known
    again = choice.build(SHAPE, SCHEMA)
    again.load_state_dict(model.state_dict())
    torch.manual_seed(1)
    bound = model.importance_bound(x, 2, y)
    torch.manual_seed(1)
    assert torch.equal(bound, again.importance_bound(x, 2, y))


@pytest.mark.parametrize("choice", [config.JointVAE(), config.CVAE(), config.ExpertsVAE()], ids=name)
def test_a_model_of_conditions_needs_some(choice):
    with pytest.raises(ValueError, match="needs data with conditions, and these have none"):
        choice.build(SHAPE, ())


@pytest.mark.parametrize("choice", [config.JointVAE(), config.CVAE(), config.ExpertsVAE()], ids=name)
@pytest.mark.parametrize("method", ["loss", "elbo", "impute"])
def test_conditions_of_another_shape_are_refused(choice, method):
    x, y = partly_labelled()
    ask = getattr(choice.build(SHAPE, SCHEMA), method)
    for wrong in (y[:, :1], y[:7], y[0]):
        expected, got = r"\(30, 2\)", str(tuple(wrong.shape)).replace("(", r"\(").replace(")", r"\)")
        with pytest.raises(ValueError, match=f"y must have the shape {expected}, got {got}"):
            ask(x, y=wrong)


def test_the_channels_of_a_coloured_pixel_are_linked():
    model = config.PixelCNN(likelihood=PIXEL_BY_PIXEL).build((3, 4, 4), ())
    assert model.likelihood.network.outputs == 2 * 3 + 3
    assert model.sample(2).shape == (2, 3, 4, 4)


@pytest.mark.parametrize(
    "prior", [config.NormalMixture(), config.VampPrior(start="data"), RING, config.Flow(base=RING)]
)
def test_a_prior_that_is_not_learned_gets_no_gradient(prior):
    fixed = type(prior)(**{**vars(prior), "learnable": False})
    model = config.VAE(latents=3, prior=fixed, network=config.MLP(hidden=(9,))).build(SHAPE, ())
    assert not any(parameter.requires_grad for parameter in model.prior.parameters())
    model.on_epoch_start(0, lambda: iter([(torch.rand(600, *SHAPE), torch.empty(600, 0))]))
    model.loss(torch.rand(5, *SHAPE), torch.empty(5, 0))["loss"].backward()
    assert all(parameter.grad is None for parameter in model.prior.parameters())
    assert all(parameter.grad is not None for parameter in model.posterior.parameters())


@pytest.mark.parametrize(
    ("prior", "posterior"),
    [(config.StandardNormal(), config.VonMisesFisher()), (config.HypersphericalUniform(), config.Diagonal())],
)
def test_the_sphere_and_the_space_around_it_do_not_mix(prior, posterior):
    with pytest.raises(ValueError, match="expected prior and posterior on the same space"):
        config.VAE(latents=3, prior=prior, posterior=posterior).build(SHAPE, ())


def test_there_is_no_warm_up_on_the_sphere():
    choice = config.VAE(
        latents=3, prior=config.HypersphericalUniform(), posterior=config.VonMisesFisher(), warmup_epochs=1
    )
    with pytest.raises(ValueError, match="warmup_epochs must be 0 on the unit sphere, where no code is normal, got 1"):
        choice.build(SHAPE, ())

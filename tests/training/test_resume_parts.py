"""A run of any parts that was stopped goes on to the very same numbers."""

import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pandas import DataFrame
from safetensors.torch import load_file
from torch import Tensor

from googol import models
from googol.experiments import Experiment, config, resume, train
from googol.training import TrainingInterrupted, TrainingSettings

MODELS = {
    "vamp": config.VAE(prior=config.VampPrior(components=5, start="data"), posterior=config.IAF(hidden=(8,), flows=2)),
    "ring": config.VAE(
        prior=config.TensorRing(rank=2, components=3),
        posterior=config.Sylvester(flows=2),
        network=config.Conv(width=4),
        warmup_epochs=1,
    ),
    "reflected": config.VAE(
        posterior=config.Householder(flows=2), likelihood=config.Normal(), network=config.DCGAN(width=2)
    ),
    "chain": config.VAE(posterior=config.SparseNormal(), likelihood=config.DiscretizedLogistic()),
    "flow": config.VAE(
        prior=config.Flow(base=config.NormalMixture(components=3), transforms=2, hidden=(8,)),
        posterior=config.SparseNormal(structure="extended-grid"),
        likelihood=config.LogitNormal(precision="grid"),
        warmup_epochs=1,
        kl_warmup_epochs=3,
    ),
    "sphere": config.VAE(prior=config.HypersphericalUniform(), posterior=config.VonMisesFisher()),
    "gated": config.ConvHVAE(
        latents=(4, 3),
        posterior=config.Sylvester(flows=2, orthogonalization="householder", reflections=2),
        lower=config.Sylvester(flows=2, orthogonalization="triangular"),
        network=config.GatedConv(width=2, hidden=9),
    ),
    "pixels": config.PixelCNN(likelihood=config.Autoregressive(width=4, layers=2)),
    "layers": config.HVAE(
        latents=(4, 3),
        prior=config.TensorRing(rank=2, components=3),
        lower=config.Planar(flows=2),
        likelihood=config.Autoregressive(context=2, width=4, layers=2),
        network=config.MLP(hidden=(9,)),
        warmup_epochs=1,
        kl_warmup_epochs=3,
        free_bits=1.0,
    ),
    "told": config.CVAE(prior=config.NormalMixture(components=3), warmup_epochs=1),
    "experts": config.ExpertsVAE(),
    "gan": config.GAN(prior=config.NormalMixture(components=3), prior_gradient="score", spectral_normalization=True),
    "wgan": config.WGAN(prior=config.TensorRing(rank=2, components=3), critic_steps=2),
    "tabular": config.Tabular(prior=config.TensorRing(rank=3, components=4)),
    "wgan-gp": config.WGANGP(
        prior=config.Flow(base=config.TensorRing(rank=2, components=3), transforms=1, hidden=(4,))
    ),
}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("stopped_at", [3, 11])
def test_stop_and_resume(name: str, stopped_at: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    choice, data = MODELS[name], "digits"
    if isinstance(choice, config.Tabular):
        data = str(tmp_path / "table.csv")
        rows = np.random.default_rng(0).normal(size=(1500, 2)).round(1)
        DataFrame({"a": rows[:, 0], "b": rows.sum(1), "c": rows[:, 1] > 0}).to_csv(data, index=False)
    else:
        small = {"latents": 4, "network": config.MLP(hidden=(9,))}
        default = vars(type(choice)())
        same = {name for name, value in vars(choice).items() if value == default[name]}
        choice = replace(choice, **{name: value for name, value in small.items() if name in same})
    settings = TrainingSettings(epochs=3, batch_size=200, accelerator="cpu", figure_every=None, average_weights=0.5)
    experiment = Experiment(data=data, model=choice, training=settings, missing=0.6)
    train(experiment, tmp_path / "whole")

    made = getattr(models, type(choice).__name__, models.VAE)
    original, calls = made.loss, 0

    def loss(self: models.VAE, x: Tensor, y: Tensor, *player: str) -> dict[str, Tensor]:
        nonlocal calls
        calls += 1
        if calls == stopped_at:
            signal.raise_signal(signal.SIGTERM)
        return original(self, x, y, *player)

    with monkeypatch.context() as patch:
        patch.setattr(made, "loss", loss)
        with pytest.raises(TrainingInterrupted):
            train(experiment, tmp_path / "stopped")
    resume(tmp_path / "stopped")
    first, second = (load_file(tmp_path / run / "model.safetensors") for run in ("whole", "stopped"))
    assert first.keys() == second.keys()
    assert all(first[key].equal(second[key]) for key in first)

"""Experiments as plain data: what is written is what is read, and damage is told."""

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from googol.experiments import config, plain
from googol.experiments.experiment import Experiment

networks = st.builds(config.Conv, width=st.integers(1, 99)) | st.builds(
    config.MLP, hidden=st.lists(st.integers(1, 99), max_size=3).map(tuple)
)
rings = st.builds(
    config.TensorRing,
    rank=st.integers(1, 99),
    components=st.integers(1, 99),
    boundary=st.sampled_from(["ring", "train"]),
)
likelihoods = st.sampled_from([config.Bernoulli(), config.Normal(scale=0.25), config.DiscretizedLogistic()])
joint_vaes = st.builds(
    config.JointVAE,
    latents=st.integers(1, 99),
    label_weight=st.floats(0, 1e3),
    consistency_weight=st.floats(0, 1e3),
    warmup_epochs=st.integers(1, 9),
    freeze_autoencoder=st.booleans(),
    prior=rings,
    likelihood=likelihoods,
    network=networks,
)
vaes = st.builds(config.VAE, latents=st.integers(1, 99), prior=rings | st.just(config.StandardNormal()))


@given(joint_vaes | vaes)
def test_what_is_written_is_what_is_read(model) -> None:
    written = yaml.safe_dump(plain.to_plain(model))
    assert plain.from_plain(config.Model, yaml.safe_load(written)) == model


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"kind": "vea"}, "did you mean 'vae'"),
        ({"kind": "vae", "latent": 3}, "latent"),
        ({"kind": "vae", "latents": "many"}, "latents must be"),
        ({"kind": "vae", "latents": 0}, "latents must be at least 1, got 0"),
        ({"kind": "vae", "prior": {"kind": "tensor-ring", "boundary": "open"}}, "boundary must be one of"),
        ({"kind": "gan", "prior": {"kind": "tensor-ring", "scale": 0.0}}, "scale must be positive, got 0.0"),
        ({"kind": "gan", "prior": {"kind": "normal-mixture", "scale": -1.0}}, "scale must be positive, got -1.0"),
        ([], "must have a kind"),
    ],
)
def test_damage_is_told(content, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        plain.from_plain(config.Model, content, "model")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"missing": 2.0}, "missing must be a share"),
        ({"missing_seed": -1}, "missing_seed must be at least 0"),
        ({"model": config.JointVAE(warmup_epochs=10)}, "epochs must be more than the 10 of the warm-up"),
    ],
)
def test_wrong_experiments_are_refused(changes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Experiment(**{"data": "digits", "model": config.VAE(), **changes})

"""Folders of runs: one process at a time trains in each."""

from pathlib import Path

import pytest
from torch import Tensor

from googol import models
from googol.experiments import Experiment, config, resume, train
from googol.experiments.experiment import read_config
from googol.training import TrainingSettings


def experiment(latents: int) -> Experiment:
    settings = TrainingSettings(epochs=1, batch_size=1000, accelerator="cpu", figure_every=None)
    return Experiment(
        data="digits", model=config.VAE(latents=latents, network=config.MLP(hidden=(9,))), training=settings
    )


def test_only_one_process_trains_in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another one is told so, and leaves everything as it was."""
    first, second, out = experiment(3), experiment(5), tmp_path / "run"
    complaints: list[str] = []
    original = models.VAE.loss

    def loss(self: models.VAE, x: Tensor, y: Tensor | None) -> dict[str, Tensor]:
        for start in (lambda: train(second, out), lambda: resume(out)):
            with pytest.raises(ValueError, match=str(out)) as caught:
                start()
            complaints.append(str(caught.value))
        return original(self, x, y)

    with monkeypatch.context() as patch:
        patch.setattr(models.VAE, "loss", loss)
        train(first, out)
    assert f"{out} already holds a run" in complaints[0]
    assert complaints[1] == f"another process is training in {out}: wait for it, or choose another folder"
    assert read_config(out / "config.yaml")[0].model.latents == 3
    with pytest.raises(ValueError, match=r"is finished: there is nothing to resume"):
        resume(out)


def test_a_mixture_that_starts_from_codes_needs_as_many_images(tmp_path: Path) -> None:
    choice = config.VAE(prior=config.NormalMixture(components=5000), warmup_epochs=1, network=config.MLP(hidden=(9,)))
    with pytest.raises(ValueError, match="at least components = 5000 codes to start from; got 1206"):
        train(Experiment(data="digits", model=choice, training=TrainingSettings()), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_two_that_start_at_once_do_not_mix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder was free when the second one looked, before it read its data."""
    first, second = experiment(3), experiment(5)
    out, original = tmp_path / "run", Experiment.load

    def load(self: Experiment, split: str) -> object:
        if self is second and split == "train":
            train(first, out)
        return original(self, split)

    with monkeypatch.context() as patch:
        patch.setattr(Experiment, "load", load)
        with pytest.raises(ValueError, match="already holds a run"):
            train(second, out)
    assert read_config(out / "config.yaml")[0].model.latents == 3

"""Folders of runs: one process at a time trains in each."""

from pathlib import Path

import numpy as np
import pytest
from torch import Tensor

from googol import models
from googol.data import load
from googol.experiments import Experiment, config, evaluate, open_run, resume, train
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


def test_a_run_that_could_not_begin_is_none(tmp_path: Path) -> None:
    train_part = load("digits", "train")
    np.savez(tmp_path / "mine.npz", images=train_part.images[:, 0].numpy(), split=np.array(["train"] * len(train_part)))
    choice = Experiment(data=str(tmp_path / "mine.npz"), model=config.VAE(network=config.MLP(hidden=(9,))))
    for _ in range(2):
        with pytest.raises(ValueError, match="none for the split 'valid'"):
            train(choice, tmp_path / "run")


def test_images_that_are_not_divided_are_judged_by_those_of_the_run(tmp_path: Path) -> None:
    settings = TrainingSettings(epochs=2, figure_every=None)
    model = config.JointVAE(latents=2, warmup_epochs=1, network=config.MLP((8,)), prior=config.TensorRing(rank=2))
    train(Experiment(data="digits", model=model, training=settings), tmp_path / "run")
    test_part = load("digits", "test")
    np.savez(
        tmp_path / "mine.npz",
        images=test_part.images[:, 0].numpy(),
        conditions=test_part.conditions.numpy(),
        condition_names=np.array(["digit"]),
        values_digit=np.array(test_part.schema[0].values),
        split=np.array(["test"] * len(test_part)),
    )
    found = evaluate(open_run(tmp_path / "run"), ["imputation_accuracy", "fid"], data=str(tmp_path / "mine.npz"), n=100)
    assert found["classifier_accuracy"] > 0.9


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

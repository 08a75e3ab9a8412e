"""Training of a game: whose turn it is, what each moves, and which weights are kept."""

import csv
import os
import re
import signal
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning_fabric import Fabric
from safetensors.torch import load_file
from tiny_run import tiny_data
from torch import Tensor, nn

from googol.models import WGAN
from googol.networks import MLPDecoder, MLPEncoder
from googol.priors import NormalMixture
from googol.training import TrainingInterrupted, TrainingSettings, fit, load_checkpoint, load_config
from googol.training.learner import Learner, batches_per_step

SHAPE = (1, 4, 4)


class Recording(WGAN):
    """Notes whose turn it was, with which images, and the weights of both players before it."""

    def __init__(self, **options: Any) -> None:
        torch.manual_seed(0)
        generator = nn.Sequential(MLPDecoder(2, SHAPE, hidden=(6,)), nn.Sigmoid())
        super().__init__(NormalMixture(2, components=3), generator, MLPEncoder(SHAPE, 1, hidden=(6,)), **options)
        self.turns_taken: list[tuple[str, int, list[Tensor]]] = []

    def loss(self, x: Tensor, y: Tensor, player: str | None = None) -> dict[str, Tensor]:
        if player is not None:
            weights = [torch.cat([p.detach().flatten() for p in each]) for each in self.players.values()]
            self.turns_taken.append((player, len(x), weights))
        return super().loss(x, y, player)


def settings(**options: Any) -> TrainingSettings:
    return TrainingSettings(accelerator="cpu", figure_every=None, **{"epochs": 2, "batch_size": 10} | options)


def test_players_take_turns_and_move_their_own_weights(tmp_path: Path) -> None:
    model = Recording(critic_steps=3)
    assert batches_per_step(model) == 3
    fit(model, tiny_data(60), tiny_data(20, seed=1), tmp_path / "run", settings())
    turns = model.turns_taken
    # 60 images are two steps of three batches of ten, in each of two epochs.
    assert [player for player, _, _ in turns] == ["critic", "critic", "critic", "generator"] * 4
    assert {count for _, count, _ in turns} == {10}
    for (player, _, before), (_, _, after) in pairwise(turns):
        moved = {name: not torch.equal(a, b) for name, a, b in zip(model.players, before, after, strict=True)}
        assert moved == {"critic": player == "critic", "generator": player == "generator"}
        if player == "critic":
            assert after[0].abs().max() <= model.clip
    with (tmp_path / "run" / "metrics.csv").open() as stream:
        row = next(row for row in csv.DictReader(stream) if row["split"] == "train")
    assert {"critic_loss", "critic_gap", "critic_gradient_norm", "loss", "gradient_norm"} <= row.keys()


def test_a_model_is_trained_again_and_goes_on_after_an_interruption(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whose turn it was when the training ended leaves no trace in the model."""
    model, train, valid = Recording(), tiny_data(60), tiny_data(20, seed=1)
    fit(model, train, valid, tmp_path / "first", settings())
    assert all(parameter.requires_grad for parameter in model.parameters())
    fit(model, train, valid, tmp_path / "second", settings())
    original = Recording.loss

    def loss(self: Recording, x: Tensor, y: Tensor, player: str | None = None) -> dict[str, Tensor]:
        if player == "generator":
            signal.raise_signal(signal.SIGTERM)
        return original(self, x, y, player)

    with monkeypatch.context() as patch:
        patch.setattr(Recording, "loss", loss)
        with pytest.raises(TrainingInterrupted):
            fit(model, train, valid, tmp_path / "third", settings())
    fit(model, train, valid, tmp_path / "third", settings(), resume=True)


def test_too_few_images_for_the_turns_of_a_step_are_refused(tmp_path: Path) -> None:
    message = "a step takes 3 batches, one for each turn of the critic: 7 training images in batches of 1 are too few"
    with pytest.raises(ValueError, match=message):
        fit(Recording(critic_steps=3), tiny_data(7), tiny_data(2), tmp_path / "run", settings(batch_size=1))


def test_a_batch_of_one_image_is_enough(tmp_path: Path) -> None:
    """One image does not tell whether a generator varies, nor one sample whether it is better than others."""
    model = Recording(critic_steps=1, prior_gradient="score")
    result = fit(model, tiny_data(3), tiny_data(1), tmp_path / "run", settings(batch_size=1))
    assert result.diagnosis == "good"


def test_each_player_has_its_optimiser_and_the_prior_its_rate() -> None:
    model = Recording()
    learner = Learner(Fabric(accelerator="cpu", devices=1), model, tiny_data(20), settings(learning_rate=0.001,
                      prior_learning_rate=0.5), total_steps=10)  # fmt: skip
    critic, generator = learner.players
    assert (critic.name, critic.rates) == ("critic", [0.001])
    assert (generator.name, generator.rates) == ("generator", [0.001, 0.5])
    assert generator.optimizer.param_groups[1]["params"] == list(model.prior.parameters())
    assert isinstance(critic.optimizer, torch.optim.RMSprop)


class Collapsing(Recording):
    """Generates one image only, from some epoch on."""

    def __init__(self, good: Iterable[int]) -> None:
        super().__init__(critic_steps=1)
        self.good = set(good)
        self.register_buffer("epoch", torch.tensor(-1))

    def on_epoch_start(self, epoch: int, batches: Any) -> bool:
        self.epoch.fill_(epoch)
        return False

    def loss(self, x: Tensor, y: Tensor, player: str | None = None) -> dict[str, Tensor]:
        terms = super().loss(x, y, player)
        return terms if player else {**terms, "diversity": torch.tensor(float(int(self.epoch) in self.good))}


@pytest.mark.parametrize(("good", "kept", "message"), [
    ({0, 1, 2, 3}, 3, None),
    ({0, 1}, 1, "after 12 steps the generator has collapsed.*the weights kept are the last good ones, of step 8"),
    ({1}, 1, "after 12 steps the generator has collapsed.*the last good ones, of step 8"),
    ({0, 2}, 2, "after 8 steps the generator has collapsed.*the last good ones, of step 4"),
    (set(), 3, "after 16 steps the generator has not come to vary yet.*the weights kept are the last ones"),
])  # fmt: skip
def test_the_last_good_weights_are_kept_and_a_problem_is_told_once(
    good: set[int], kept: int, message: str | None, tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    model = Collapsing(good)
    result = fit(model, tiny_data(40), tiny_data(20, seed=1), tmp_path / "run", settings(epochs=4))
    assert load_file(tmp_path / "run" / "model.safetensors")["epoch"] == kept
    said = [str(warning.message) for warning in recwarn if "the generator has" in str(warning.message)]
    assert len(said) == (message is not None)
    assert re.search(message or "", " ".join(said))
    assert (result.kept_step, result.diagnosis == "good") == (4 * (kept + 1), 3 in good)
    about = load_config(tmp_path / "run")["training"]
    assert (about["kept_step"], about["diagnosis"]) == (result.kept_step, result.diagnosis)


def test_a_run_that_ends_by_time_before_it_was_good_says_so(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="not come to vary yet"):
        result = fit(Collapsing([]), tiny_data(40), tiny_data(20, seed=1), tmp_path / "run",
                     settings(epochs=10_000, time_budget=0.02))  # fmt: skip
    assert result.stopped_by == "time_budget"
    assert str(result.diagnosis).startswith("the generator has not come to vary yet: ")


@pytest.mark.filterwarnings("ignore:after")
def test_patience_counts_from_when_the_run_was_first_good(tmp_path: Path) -> None:
    data = tiny_data(40), tiny_data(20, seed=1)
    assert fit(Collapsing({4, 5}), *data, tmp_path / "run", settings(epochs=12, patience=2)).epochs == 8
    assert fit(Collapsing([]), *data, tmp_path / "never", settings(epochs=5, patience=2)).stopped_by == "epochs"


def test_what_is_left_of_a_run_that_was_never_good_is_the_average(tmp_path: Path) -> None:
    data, saved = (tiny_data(40), tiny_data(20, seed=1)), []
    for name, average in (("averaged", 0.9), ("last", 0.0)):
        model = Collapsing([])
        fit(model, *data, tmp_path / name, settings(epochs=3, average_weights=average))
        state = load_checkpoint(tmp_path / name / "checkpoints" / "last.ckpt")["learner"]
        for key, value in (state["average"] or state["model"]).items():
            torch.testing.assert_close(model.state_dict()[key], value)
        saved.append(torch.cat([p.detach().flatten() for p in model.generator.parameters()]))
    assert not torch.equal(*saved)


class Bursting(Collapsing):
    """The gradient of its critic is large in the third epoch."""

    def loss(self, x: Tensor, y: Tensor, player: str | None = None) -> dict[str, Tensor]:
        terms = super().loss(x, y, player)
        return {**terms, "loss": 1e6 * terms["loss"]} if player == "critic" and int(self.epoch) == 2 else terms


def test_an_epoch_in_which_the_critic_diverged_is_told_and_not_kept(tmp_path: Path) -> None:
    data = tiny_data(40), tiny_data(20, seed=1)
    with pytest.warns(UserWarning, match="after 12 steps the critic has diverged.*of step 8"):
        result = fit(Bursting(range(3)), *data, tmp_path / "run", settings(epochs=3))
    assert result.kept_step == 8


class Interrupted(Bursting):
    """Is stopped in the third epoch, two steps after it began."""

    def loss(self, x: Tensor, y: Tensor, player: str | None = None) -> dict[str, Tensor]:
        if player == "critic" and sum(name == player for name, _, _ in self.turns_taken) == 10:
            os.kill(os.getpid(), signal.SIGTERM)
        return super().loss(x, y, player)


def test_a_game_that_was_stopped_is_watched_as_if_it_had_not_been(tmp_path: Path) -> None:
    data, options = (tiny_data(40), tiny_data(20, seed=1)), settings(epochs=3, log_every=1)
    with pytest.warns(UserWarning, match="diverged"):
        whole = fit(Bursting(range(3)), *data, tmp_path / "whole", options)
    with pytest.raises(TrainingInterrupted):
        fit(Interrupted(range(3)), *data, tmp_path / "parts", options)
    state = load_checkpoint(tmp_path / "parts" / "checkpoints" / "last.ckpt")["watch"]
    assert len(state["good"]) == 3  # before training, and two epochs
    assert state["largest"]["train_critic_gradient_norm"] > 0
    with pytest.warns(UserWarning, match="diverged"):
        parts = fit(Bursting(range(3)), *data, tmp_path / "parts", options, resume=True)
    assert (parts.kept_step, parts.diagnosis) == (whole.kept_step, whole.diagnosis)


def test_patience_ends_a_run_that_stays_collapsed(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="collapsed"):
        result = fit(Collapsing({0}), tiny_data(40), tiny_data(20, seed=1), tmp_path / "run",
                     settings(epochs=9, patience=2))  # fmt: skip
    assert (result.stopped_by, result.epochs) == ("patience", 3)

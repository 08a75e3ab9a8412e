"""Training of a game: whose turn it is, what each moves, and which weights are kept."""

import csv
import re
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
from googol.training import TrainingSettings, fit
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
    ({0, 1, 2}, 2, None),
    ({0, 1}, 1, "collapsed.*the weights kept are the last good ones"),
    ({1}, 1, "collapsed.*the last good ones"),
    (set(), 2, "collapsed.*the weights kept are the last ones"),
])  # fmt: skip
def test_the_last_good_weights_are_kept(
    good: set[int], kept: int, message: str | None, tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    model = Collapsing(good)
    fit(model, tiny_data(40), tiny_data(20, seed=1), tmp_path / "run", settings(epochs=3))
    assert load_file(tmp_path / "run" / "model.safetensors")["epoch"] == kept
    said = [str(warning.message) for warning in recwarn if "collapsed" in str(warning.message)]
    if message is None:
        assert not said
    else:
        assert re.search(message, said[-1])


def test_patience_ends_a_run_that_stays_collapsed(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="collapsed"):
        result = fit(Collapsing({0}), tiny_data(40), tiny_data(20, seed=1), tmp_path / "run",
                     settings(epochs=9, patience=2))  # fmt: skip
    assert (result.stopped_by, result.epochs) == ("patience", 3)

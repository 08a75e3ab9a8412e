"""Training on several processes."""

import csv
import subprocess
import sys
from pathlib import Path

import pytest
import tiny_run
import torch
from tiny_run import StagedVAE, TinyGame, tiny_data

from googol.training import TrainingSettings, fit, load_config, load_weights

SETTINGS = {"epochs": 4, "learning_rate": 0.02, "warmup_steps": 3, "log_every": 4, "average_weights": 0.8}


def rows(out: Path) -> list[dict[str, str]]:
    with (out / "metrics.csv").open() as stream:
        return list(csv.DictReader(stream))


def test_two_processes_learn_as_one_with_twice_the_batch(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    settings = TrainingSettings(accelerator="cpu", batch_size=16, **SETTINGS)
    fit(StagedVAE(noisy=False), tiny_data(96), tiny_data(30, seed=1), one, settings)

    program = [sys.executable, tiny_run.__file__, str(two), "--without-noise", "--images", "96"]
    subprocess.run([*program, "--settings", repr(SETTINGS | {"devices": 2, "batch_size": 8})], check=True)

    ranks = [torch.load(two / f"rank{rank}.pt", weights_only=True) for rank in range(2)]
    torch.testing.assert_close(*ranks, rtol=0, atol=0)
    trained = load_weights(StagedVAE(noisy=False), two).state_dict()
    torch.testing.assert_close(dict(trained), ranks[0], rtol=0, atol=0)
    alone = load_weights(StagedVAE(noisy=False), one).state_dict()
    torch.testing.assert_close(trained, alone, rtol=1e-3, atol=1e-4)
    assert not torch.allclose(alone["encoder.1.weight"], StagedVAE(noisy=False).encoder[1].weight, atol=1e-2)

    assert len(rows(one)) == len(rows(two))
    for row, expected in zip(rows(two), rows(one), strict=True):
        assert (row["step"], row["epoch"], row["split"]) == (
            expected["step"],
            expected["epoch"],
            expected["split"],
        )
        for name in ("loss", "reconstruction", "kl"):
            assert (row[name] == "") == (expected[name] == "") == (name == "kl" and row["epoch"] == "1")
            assert float(row[name] or 0) == pytest.approx(float(expected[name] or 0), rel=1e-3)


def test_two_processes_play_a_game_as_one_with_twice_the_batch(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    settings = SETTINGS | {"schedule": "constant", "figure_every": None}
    fit(TinyGame(), tiny_data(96), tiny_data(30, seed=1), one, TrainingSettings(accelerator="cpu", batch_size=16,
        **settings))  # fmt: skip
    program = [sys.executable, tiny_run.__file__, str(two), "--game", "--images", "96"]
    subprocess.run([*program, "--settings", repr(settings | {"devices": 2, "batch_size": 8})], check=True)

    ranks = [torch.load(two / f"rank{rank}.pt", weights_only=True) for rank in range(2)]
    torch.testing.assert_close(*ranks, rtol=0, atol=0)
    start, alone, trained = TinyGame(), load_weights(TinyGame(), one), load_weights(TinyGame(), two)
    torch.testing.assert_close(trained.state_dict(), alone.state_dict(), rtol=1e-3, atol=1e-4)
    for name, parameters in start.players.items():
        moved = [(a - b).abs().max() for a, b in zip(parameters, alone.players[name], strict=True)]
        # The last bias of a critic moves what it says of all images alike, which their difference does not see.
        assert sorted(moved)[1 if name == "critic" else 0] > 1e-3, name
    assert load_config(one)["training"]["kept_step"] == load_config(two)["training"]["kept_step"]

    assert len(rows(one)) == len(rows(two))
    for row, expected in zip(rows(two), rows(one), strict=True):
        # The diversity is a ratio in each batch, whose size differs.
        for name in ("critic_loss", "critic_gap", "loss", "gap", "prior_entropy", "critic_gradient_norm"):
            assert (row[name] == "") == (expected[name] == "")
            assert float(row[name] or 0) == pytest.approx(float(expected[name] or 0), rel=1e-3, abs=1e-4)


RING = """
import sys
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from googol.distributions import Categorical, Normal, TensorRing

class Loss(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.ring = TensorRing([Normal(4)] * 5 + [Categorical(2)], 6)

    def forward(self, value):
        both, codes = self.ring().log_marginals(value, [range(6), range(5)])
        return -(self.ring().log_prob(value) + both - 0.3 * codes).mean()

def values():
    torch.manual_seed(1)
    value = torch.cat([torch.randn(64, 5), torch.randint(2, (64, 1))], 1)
    return value.masked_fill(torch.rand(64, 6) < 0.2, torch.nan)

if __name__ == "__main__":
    folder, rank = sys.argv[1], int(sys.argv[2])
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    model = DistributedDataParallel(Loss())
    model(values()[rank::2]).backward()
    torch.save([parameter.grad for parameter in model.parameters()], f"{folder}/rank{rank}.pt")
    torch.distributed.destroy_process_group()
"""


def test_two_processes_give_a_ring_the_gradient_of_one(tmp_path: Path) -> None:
    arguments = [[sys.executable, "-c", RING, str(tmp_path), str(rank)] for rank in range(2)]
    processes = [subprocess.Popen(each) for each in arguments]
    assert [process.wait(timeout=60) for process in processes] == [0, 0]
    found = [torch.load(tmp_path / f"rank{rank}.pt", weights_only=True) for rank in range(2)]
    names: dict = {"__name__": "ring"}
    exec(RING, names)
    model = names["Loss"]()
    model(names["values"]()).backward()
    expected = [parameter.grad for parameter in model.parameters()]
    assert all(gradient.abs().max() > 0 for gradient in expected)
    for actual in found:
        torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-6)

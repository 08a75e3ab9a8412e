"""Training on several processes."""

import csv
import subprocess
import sys
from pathlib import Path

import pytest
import tiny_run
import torch
from tiny_run import StagedVAE, tiny_data

from googol.training import TrainingSettings, fit, load_weights

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

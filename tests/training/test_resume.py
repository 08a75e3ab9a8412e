"""A run that was stopped at any moment goes on as if nothing had happened, to the last bit."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import tiny_run
import torch
from tiny_run import StagedVAE, TinyVAE, tiny_data
from torch import Tensor

from googol.training import (
    NonFiniteLossError,
    TrainingInterrupted,
    TrainingSettings,
    fit,
    load_weights,
    loop,
    save_checkpoint,
    save_model,
)

# 100 images make 7 steps an epoch; rows at steps 4, 7, 8, 12, 14, …
SETTINGS = {
    "epochs": 3,
    "batch_size": 16,
    "learning_rate": 0.05,
    "prior_learning_rate": 0.01,
    "warmup_steps": 5,
    "gradient_clip": 1.0,
    "average_weights": 0.9,
    "mirror": True,
    "shift": 1,
    "log_every": 4,
    "seed": 3,
}


class Stopping(StagedVAE):
    """Stops training in the middle of a loss, by a function that is called at a certain call."""

    def __init__(self, at: int, stop) -> None:
        super().__init__()
        self.at, self.stop = at, stop

    def loss(self, x: Tensor, y: Tensor) -> dict[str, Tensor]:
        if self.calls == self.at:
            self.stop()
        return super().loss(x, y)


def train(model, out: Path, *, resume: bool = False, checkpoint_every_seconds: float = 0.0) -> None:
    settings = TrainingSettings(accelerator="cpu", checkpoint_every_seconds=checkpoint_every_seconds, **SETTINGS)
    fit(model, tiny_data(100), tiny_data(30, seed=1), out, settings, resume=resume)


def same(a, b) -> bool:
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(map(same, a, b))
    return torch.equal(a, b) if isinstance(a, Tensor) else a == b


def assert_same_run(a: Path, b: Path) -> None:
    assert (a / "metrics.csv").read_text() == (b / "metrics.csv").read_text()
    assert (a / "model.safetensors").read_bytes() == (b / "model.safetensors").read_bytes()
    states = [torch.load(run / "checkpoints" / "last.ckpt", weights_only=True) for run in (a, b)]
    for state in states:
        state["progress"].pop("seconds")
    assert same(*states)


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("whole")
    train(Stopping(-1, None), out, checkpoint_every_seconds=1e6)
    return out


class CrashError(Exception):
    pass


def crash() -> None:
    raise CrashError


# An epoch has 7 calls for training and 2 for validation; call 0 is before any checkpoint.
@pytest.mark.parametrize("at", [0, 1, 3, 6, 7, 8, 9, 10, 15, 16, 26])
def test_crash_then_resume_is_the_same_run(at: int, whole_run: Path, tmp_path: Path) -> None:
    with pytest.raises(CrashError):
        train(Stopping(at, crash), tmp_path)
    train(Stopping(-1, None), tmp_path, resume=True)
    assert_same_run(whole_run, tmp_path)


def test_rare_checkpoints_give_the_same_run(whole_run: Path, tmp_path: Path) -> None:
    """Rows written after the last checkpoint are cut, and written again."""
    with pytest.raises(CrashError):
        train(Stopping(12, crash), tmp_path)
    checkpoint = (tmp_path / "checkpoints" / "last.ckpt").read_bytes()
    with pytest.raises(CrashError):
        train(Stopping(9, crash), tmp_path, resume=True, checkpoint_every_seconds=1e6)
    assert (tmp_path / "checkpoints" / "last.ckpt").read_bytes() == checkpoint
    train(Stopping(-1, None), tmp_path, resume=True)
    assert_same_run(whole_run, tmp_path)


@pytest.mark.parametrize(("at", "step"), [(2, 3), (6, 7), (7, 7), (11, 10)])
def test_interrupt_keeps_the_last_state(at: int, step: int, whole_run: Path, tmp_path: Path) -> None:
    """Ctrl-C finishes the step, or the epoch's validation, and keeps the state."""
    before = signal.getsignal(signal.SIGINT)
    stopping = Stopping(at, lambda: os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises(TrainingInterrupted, match=f"stopped at step {step}; go on with --resume"):
        train(stopping, tmp_path, checkpoint_every_seconds=1e6)
    assert signal.getsignal(signal.SIGINT) is before
    train(Stopping(-1, None), tmp_path, resume=True)
    assert_same_run(whole_run, tmp_path)


def test_an_interrupt_when_all_is_done_is_not_forgotten(
    whole_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever called goes on to measure, or to the next run, if nothing is raised."""

    def interrupted(*arguments: object) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        save_model(*arguments)

    monkeypatch.setattr(loop, "save_model", interrupted)
    with pytest.raises(TrainingInterrupted, match="stopped when the training was over; the model is in"):
        train(Stopping(-1, None), tmp_path)
    assert_same_run(whole_run, tmp_path)


def test_a_finished_run_can_be_resumed(whole_run: Path, tmp_path: Path) -> None:
    train(Stopping(-1, None), tmp_path)
    (tmp_path / "model.json").unlink()
    train(Stopping(-1, None), tmp_path, resume=True)
    assert_same_run(whole_run, tmp_path)


def test_kill_then_resume_is_the_same_run(tmp_path: Path) -> None:
    """SIGKILL in the middle of an epoch."""
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    settings = TrainingSettings(accelerator="cpu", **SETTINGS)
    fit(StagedVAE(), tiny_data(100), tiny_data(30, seed=1), whole, settings)

    program = [sys.executable, tiny_run.__file__, str(killed), "--announce"]
    program += ["--settings", repr(SETTINGS | {"checkpoint_every_seconds": 0.0})]
    process = subprocess.Popen(program, stdout=subprocess.PIPE, text=True)
    for line in process.stdout:
        if line.strip() == "call 12":
            process.kill()
    assert process.wait() == -signal.SIGKILL
    assert not (killed / "model.json").exists()
    subprocess.run([*program, "--resume"], stdout=subprocess.DEVNULL, check=True)
    assert_same_run(whole, killed)


@pytest.mark.parametrize("term", ["kl", "reconstruction"])
def test_non_finite_loss_names_its_term_and_keeps_the_checkpoint(term: str, tmp_path: Path) -> None:
    class Failing(TinyVAE):
        def loss(self, x: Tensor, y: Tensor) -> dict[str, Tensor]:
            terms = super().loss(x, y)
            if self.calls == 5:
                terms[term] = terms[term] * torch.inf
            return terms

    with pytest.raises(NonFiniteLossError, match=rf"step 4 \(train\): {term}; .* step 4 stays"):
        train(Failing(), tmp_path)
    state = torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)
    assert state["progress"]["step"] == 4
    assert all(value.isfinite().all() for value in state["learner"]["model"].values())


@pytest.mark.parametrize(
    ("clip", "message"),
    [
        (1.0, r"not finite at step 3 \(train\): gradient_norm; .* step 3 stays"),
        (None, r"a finite loss had a gradient that is not: weights decoder.bias; .* step 3 stays"),
    ],
)
def test_non_finite_gradient_is_found_before_it_is_saved(clip: float | None, message: str, tmp_path: Path) -> None:
    class Failing(TinyVAE):
        def loss(self, x: Tensor, y: Tensor) -> dict[str, Tensor]:
            terms = super().loss(x, y)
            if self.calls == 4:  # the gradient of √|x| at 0 is NaN
                terms["loss"] = terms["loss"] + (self.decoder.bias * 0).abs().sqrt().sum()
            return terms

    settings = TrainingSettings(accelerator="cpu", checkpoint_every_seconds=0, **SETTINGS | {"gradient_clip": clip})
    with pytest.raises(NonFiniteLossError, match=message):
        fit(Failing(), tiny_data(100), tiny_data(30, seed=1), tmp_path, settings)
    state = torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)
    assert all(value.isfinite().all() for value in state["learner"]["model"].values())


def test_non_finite_validation_is_named(tmp_path: Path) -> None:
    class Failing(TinyVAE):
        def loss(self, x: Tensor, y: Tensor) -> dict[str, Tensor]:
            terms = super().loss(x, y)
            return terms if self.training else terms | {"kl": terms["kl"] / 0}

    with pytest.raises(NonFiniteLossError, match=r"step 7 \(valid\): kl; .* step 6 stays"):
        train(Failing(), tmp_path)


def test_resume_of_another_model_is_refused(whole_run: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="of another model"):
        train(TinyVAE(noisy=False), whole_run, resume=True)
    settings = TrainingSettings(accelerator="cpu", **SETTINGS | {"batch_size": 50})
    with pytest.raises(ValueError, match=r"7 steps an epoch, not 2: resume with the same data"):
        fit(TinyVAE(), tiny_data(100), tiny_data(30), whole_run, settings, resume=True)
    with pytest.raises(ValueError, match="expected the folder of a run to resume"):
        train(TinyVAE(), tmp_path / "none", resume=True)
    save_checkpoint(tmp_path / "other" / "checkpoints" / "last.ckpt", {"model": {}})
    with pytest.raises(
        ValueError, match=r"last\.ckpt is no checkpoint of this version of googol: KeyError\('progress'\)"
    ):
        train(TinyVAE(), tmp_path / "other", resume=True)


def test_resume_after_the_model_is_exported_keeps_the_best_weights(whole_run: Path) -> None:
    best = torch.load(whole_run / "checkpoints" / "last.ckpt", weights_only=True)["best_weights"]
    model = load_weights(TinyVAE(), whole_run)
    torch.testing.assert_close(dict(model.state_dict()), best, rtol=0, atol=0)

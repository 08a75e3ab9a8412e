"""What one uninterrupted run does, and what it leaves in its folder."""

import csv
import errno
import math
import os
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from matplotlib.figure import Figure
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tiny_run import StagedVAE, TinyVAE, tiny_data
from torch import Tensor

from googol.training import STANDARD_FIGURES, TrainingResult, TrainingSettings, fit, load_config, load_weights


def train(model, out: Path, *, figures=None, config=None, **settings) -> TrainingResult:
    defaults = {"accelerator": "cpu", "batch_size": 16, "learning_rate": 0.05, "prior_learning_rate": None}
    defaults |= {"warmup_steps": 0, "log_every": 4}
    chosen = TrainingSettings(**defaults | settings)
    return fit(model, tiny_data(100), tiny_data(30, seed=1), out, chosen, figures=figures, config=config)


def rows(out: Path, split: str) -> list[dict[str, str]]:
    with (out / "metrics.csv").open() as stream:
        return [row for row in csv.DictReader(stream) if row["split"] == split]


def test_a_run_learns_and_leaves_everything(tmp_path: Path) -> None:
    model = TinyVAE()
    result = train(
        model, tmp_path, figures=STANDARD_FIGURES, config={"latents": 2}, epochs=4, figure_every=2, gradient_clip=9.0
    )

    assert (result.steps, result.epochs, result.stopped_by) == (28, 4, "epochs")
    losses = [float(row["loss"]) for row in rows(tmp_path, "valid")]
    assert min(losses) == result.best_loss < losses[0] - 1
    assert [row["step"] for row in rows(tmp_path, "valid")] == ["7", "14", "21", "28"]
    assert [int(row["step"]) for row in rows(tmp_path, "train")][:4] == [4, 7, 8, 12]
    assert [row["epoch"] for row in rows(tmp_path, "train")][:4] == ["1", "1", "2", "2"]
    assert list(rows(tmp_path, "train")[0])[3:] == ["loss", "reconstruction", "kl", "gradient_norm"]
    for row in rows(tmp_path, "train"):
        assert float(row["loss"]) == pytest.approx(float(row["kl"]) - float(row["reconstruction"]), rel=1e-5)

    events = EventAccumulator(str(tmp_path)).Reload()
    assert [event.value for event in events.Scalars("valid/loss")] == pytest.approx(losses)
    names = {"samples.png", "reconstructions.png", "latent_space.png", "prior.png"}
    names |= {"samples-0002.png", "samples-0004.png"}
    assert {path.name for path in (tmp_path / "figures").iterdir()} == names
    assert {path.name for path in (tmp_path / "checkpoints").iterdir()} == {"last.ckpt"}
    assert load_config(tmp_path) == {"latents": 2, "training": result.about}
    loaded = load_weights(TinyVAE(), tmp_path).eval()
    x = tiny_data(5).pixels()
    assert torch.equal(loaded.encoder(x), model.eval().encoder(x))


def test_the_best_weights_are_kept(tmp_path: Path) -> None:
    """Not those of the last epoch, which here are made worse and worse on purpose."""

    class Worsening(TinyVAE):
        def on_epoch_start(self, epoch: int, encode_batches) -> bool:
            if epoch:
                self.decoder.bias += 10
            return False

    model = Worsening()
    result = train(model, tmp_path, epochs=3)
    losses = [float(row["loss"]) for row in rows(tmp_path, "valid")]
    assert losses.index(min(losses)) == 0
    assert result.best_loss == losses[0]
    assert model.decoder.bias.abs().max() < 5


def test_validation_is_the_mean_over_images(tmp_path: Path) -> None:
    """Batches of 16 and 14 images count by their sizes."""
    model = TinyVAE(noisy=False)
    train(model, tmp_path, epochs=1)
    valid = tiny_data(30, seed=1)
    expected = model.loss(valid.pixels(), valid.conditions)["loss"]
    assert float(rows(tmp_path, "valid")[0]["loss"]) == pytest.approx(expected.item(), rel=1e-5)


def test_validation_draws_the_same_noise_every_time(tmp_path: Path) -> None:
    model = TinyVAE(noisy=False)
    model.noisy = True  # codes are drawn
    train(model, tmp_path, epochs=3, learning_rate=1e-12)
    assert len({row["loss"] for row in rows(tmp_path, "train")}) == 8
    assert len({row["loss"] for row in rows(tmp_path, "valid")}) == 1


def test_early_stopping(tmp_path: Path) -> None:
    class Stuck(TinyVAE):
        """Its validation loss is best in the second epoch."""

        def on_epoch_start(self, epoch: int, encode_batches) -> None:
            self.epoch = epoch

        def loss(self, x: Tensor, y: Tensor) -> dict[str, Tensor]:
            terms = super().loss(x, y)
            return terms if self.training else {"loss": terms["loss"] * 0 + abs(self.epoch - 1)}

    result = train(Stuck(), tmp_path, epochs=50, patience=3)
    assert (result.epochs, result.stopped_by, result.best_loss) == (5, "patience", 0)


def test_patience_does_not_end_a_warm_up(tmp_path: Path) -> None:
    class Waiting(TinyVAE):
        """Gets no better, and starts in the fifth epoch."""

        def on_epoch_start(self, epoch: int, encode_batches) -> bool:
            self.started.fill_(epoch >= 4)
            return epoch == 4

        def loss(self, x: Tensor, y: Tensor) -> dict[str, Tensor]:
            terms = super().loss(x, y)
            return terms if self.training else {"loss": terms["loss"] * 0}

    result = train(Waiting(), tmp_path, epochs=50, patience=2)
    assert (result.epochs, result.stopped_by) == (7, "patience")


def test_a_prior_that_has_not_started_is_told(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="training ended within its warm-up: the prior has learned nothing yet"):
        train(StagedVAE(), tmp_path, epochs=5, time_budget=1e-9)


def test_a_figure_that_fails_costs_no_run(tmp_path: Path) -> None:
    def unprintable(model, data) -> Figure:
        figure = Figure()
        figure.text(0, 0, "x", fontfamily=object())
        return figure

    def money(model, data) -> Figure:
        figure = Figure()
        figure.text(0.5, 0.5, "US$_to_$EUR")
        return figure

    with pytest.warns(UserWarning, match="figure unprintable was not drawn"):
        train(TinyVAE(), tmp_path, epochs=1, figures={"unprintable": unprintable, "money": money})
    assert (tmp_path / "model.json").is_file()
    assert (tmp_path / "figures" / "money.png").is_file()


def test_time_budget(tmp_path: Path) -> None:
    """The first step is one too many; the validation and the export still happen."""
    result = train(TinyVAE(), tmp_path, epochs=1000, time_budget=1e-9)
    assert (result.steps, result.stopped_by) == (0, "time_budget")
    assert load_weights(TinyVAE(), tmp_path).prior.loc.tolist() == [0, 0]


def test_parameters_of_the_prior_have_their_own_learning_rate(tmp_path: Path) -> None:
    """Adam's first step is the learning rate itself, whatever the size of the gradient."""
    model = TinyVAE(noisy=False)
    before = {name: value.detach().clone() for name, value in model.named_parameters()}
    settings = {"epochs": 1, "batch_size": 100, "schedule": "constant"}
    train(model, tmp_path, learning_rate=0.1, prior_learning_rate=0.001, **settings)
    moved = {name: (value - before[name]).abs().max().item() for name, value in model.named_parameters()}
    assert moved["decoder.bias"] == pytest.approx(0.1, rel=1e-3)
    assert moved["prior.loc"] == pytest.approx(0.001, rel=1e-3)


def test_averaged_weights_are_what_is_evaluated_and_kept(tmp_path: Path) -> None:
    plain, averaged = TinyVAE(noisy=False), TinyVAE(noisy=False)
    settings = {"epochs": 1, "schedule": "constant"}
    train(plain, tmp_path / "plain", **settings)
    train(averaged, tmp_path / "averaged", average_weights=0.9, **settings)
    last = torch.load(tmp_path / "averaged" / "checkpoints" / "last.ckpt", weights_only=True)["learner"]
    # Training itself is the same; the average trails behind it.
    torch.testing.assert_close(last["model"], dict(plain.state_dict()), rtol=0, atol=0)
    torch.testing.assert_close(last["average"], dict(averaged.state_dict()), rtol=0, atol=0)
    start = TinyVAE(noisy=False).decoder.bias
    assert (averaged.decoder.bias - start).norm() < (plain.decoder.bias - start).norm()


def test_images_are_mirrored_and_shifted_in_training_alone(tmp_path: Path) -> None:
    class Watching(TinyVAE):
        def __init__(self) -> None:
            super().__init__()
            self.seen: dict[bool, list[Tensor]] = {True: [], False: []}

        def loss(self, x: Tensor, y: Tensor) -> dict[str, Tensor]:
            self.seen[self.training].append(x)
            return super().loss(x, y)

    def known(images: list[Tensor], among: Tensor) -> int:
        there = {tuple(image.flatten().tolist()) for image in among}
        return sum(tuple(image.flatten().tolist()) in there for image in torch.cat(images))

    model, x = Watching(), tiny_data(100).pixels()
    train(model, tmp_path / "mirrored", epochs=1, mirror=True)
    assert 30 < known(model.seen[True], x) < 70
    assert known(model.seen[True], torch.cat([x, x.flip(-1)])) == 100
    assert torch.equal(torch.cat(model.seen[False]), tiny_data(30, seed=1).pixels())
    model = Watching()
    train(model, tmp_path / "shifted", epochs=1, shift=1)
    assert known(model.seen[True], x) < 50  # a ninth of the shifts are by nothing
    assert torch.equal(torch.cat(model.seen[False]), tiny_data(30, seed=1).pixels())


def test_the_hook_sees_the_training_data_and_restarts_the_prior(tmp_path: Path) -> None:
    seen = {}

    class Hooked(TinyVAE):
        def on_epoch_start(self, epoch: int, encode_batches) -> bool:
            assert not torch.is_grad_enabled()
            seen[epoch] = [torch.cat(parts) for parts in zip(*encode_batches(), strict=True)]
            if epoch == 1:
                self.prior.loc.copy_(torch.tensor([3.0, -3.0]))
            return epoch == 1

    train(Hooked(), tmp_path, epochs=2, average_weights=0.999)
    data = tiny_data(100)
    assert sorted(seen) == [0, 1]
    assert torch.equal(seen[1][0], data.pixels())
    assert torch.equal(seen[1][1].nan_to_num(-1), data.conditions.nan_to_num(-1))
    state = torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)["learner"]
    number = [name for name, _ in TinyVAE().named_parameters() if not name.startswith("prior")].__len__()
    steps = {key: int(entry["step"]) for key, entry in state["optimizers"][0]["state"].items()}
    assert steps.pop(number) == 7  # of the prior, since the second epoch
    assert set(steps.values()) == {14}
    assert (state["average"]["prior.loc"] - torch.tensor([3.0, -3.0])).abs().max() < 0.5


def test_mixed_precision(tmp_path: Path) -> None:
    """The network works in the lower precision, on inputs that are not rounded to it."""
    dtypes = set()

    class Watched(TinyVAE):
        def loss(self, x: Tensor, y: Tensor) -> dict[str, Tensor]:
            dtypes.add((x.dtype, y.dtype, self.encoder(x).dtype))
            return super().loss(x, y)

    result = train(Watched(), tmp_path, epochs=3, precision="bf16-mixed", gradient_clip=1.0)
    assert dtypes == {(torch.float32, torch.float32, torch.bfloat16)}
    losses = [float(row["loss"]) for row in rows(tmp_path, "valid")]
    assert result.best_loss == min(losses) < losses[0]


def test_a_figure_that_fails_is_left_out(tmp_path: Path) -> None:
    def broken(model, data):
        raise RuntimeError("no ink")

    with pytest.warns(UserWarning, match="figure broken was not drawn: .*no ink"):
        train(TinyVAE(), tmp_path, epochs=1, figures={"broken": broken, "samples": STANDARD_FIGURES["samples"]})
    assert [path.name for path in (tmp_path / "figures").iterdir()] == ["samples.png"]


def test_a_few_samples_are_kept_in_the_course_of_training(tmp_path: Path) -> None:
    train(TinyVAE(), tmp_path, epochs=11, figures={"samples": STANDARD_FIGURES["samples"]}, figure_every=2)
    names = sorted(path.name for path in (tmp_path / "figures").iterdir())
    assert names == ["samples-0002.png", "samples-0004.png", "samples-0008.png", "samples.png"]
    contents = [(tmp_path / "figures" / name).read_bytes() for name in names]
    assert len(set(contents)) == 4


def test_figures_do_not_disturb_training(tmp_path: Path) -> None:
    figures = {"samples": STANDARD_FIGURES["samples"]}
    train(TinyVAE(), tmp_path / "with", epochs=2, figures=figures, figure_every=1)
    train(TinyVAE(), tmp_path / "without", epochs=2)
    assert (tmp_path / "with" / "metrics.csv").read_text() == (tmp_path / "without" / "metrics.csv").read_text()


def test_a_full_disk_leaves_the_former_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    last = tmp_path / "checkpoints" / "last.ckpt"
    former = []

    def fsync(descriptor: int) -> None:
        if last.exists() and "last.ckpt" in os.readlink(f"/proc/self/fd/{descriptor}"):
            former.append(last.read_bytes())
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(ValueError, match=f"no space left to write into {tmp_path}; .* go on with --resume"):
        train(TinyVAE(), tmp_path, epochs=1, checkpoint_every_seconds=0)
    assert last.read_bytes() == former[0]
    assert [path.name for path in last.parent.iterdir()] == ["last.ckpt"]
    assert torch.load(last, weights_only=True)["progress"]["step"] == 1


def test_a_run_is_not_overwritten(tmp_path: Path) -> None:
    train(TinyVAE(), tmp_path, epochs=1)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(ValueError, match="already holds a run: go on with it by --resume"):
        train(TinyVAE(), tmp_path, epochs=1)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_what_is_no_model_or_no_data_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"expected a model with a method loss\(x, y\), got Linear"):
        train(torch.nn.Linear(2, 2), tmp_path)
    settings = TrainingSettings(accelerator="cpu")
    with pytest.raises(ValueError, match="expected training and validation images, got 100 and 0"):
        fit(TinyVAE(), tiny_data(100), tiny_data(30).subset(slice(0)), tmp_path, settings)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("terms", "message"),
    [
        ({"kl": torch.zeros(())}, r'expected a term "loss" from loss\(x, y\), got \[\'kl\'\]'),
        ({"loss": torch.zeros(3, requires_grad=True)}, r"expected scalars .* got loss of shape \(3,\)"),
    ],
)
def test_losses_that_break_the_contract_are_refused(terms, message: str, tmp_path: Path) -> None:
    class Wrong(TinyVAE):
        def loss(self, x: Tensor, y: Tensor) -> dict[str, Tensor]:
            return terms

    with pytest.raises(ValueError, match=message):
        train(Wrong(), tmp_path)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epochs": 0}, "expected epochs to be at least 1, got 0"),
        ({"learning_rate": -1.0}, "expected learning_rate to be greater than 0, got -1.0"),
        ({"learning_rate": math.inf}, "expected learning_rate to be greater than 0 and finite, got inf"),
        ({"learning_rate": math.nan}, "expected learning_rate to be greater than 0, got nan"),
        ({"gradient_clip": 0.0}, "expected gradient_clip to be greater than 0, got 0.0"),
        ({"average_weights": 1.0}, r"expected average_weights in \[0, 1\), got 1.0"),
        ({"schedule": "linear"}, "expected schedule to be one of cosine, constant, got 'linear'"),
        ({"precision": "64"}, "expected precision to be one of 32-true, bf16-mixed, 16-mixed, got '64'"),
        ({"seed": -1}, "expected seed to be at least 0, got -1"),
        ({"shift": -1}, "expected shift to be at least 0, got -1"),
    ],
)
def test_wrong_settings_are_refused(settings, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TrainingSettings(**settings)


def test_schedule() -> None:
    """From zero up over the warm-up, then along a cosine to zero, or constant."""
    cosine = TrainingSettings(warmup_steps=10)
    factors = [cosine.learning_rate_factor(step, 100) for step in range(101)]
    assert factors[:3] == pytest.approx([0.1, 0.2, 0.3], rel=0.01)
    assert all(a > b for a, b in pairwise(factors[10:]))
    assert factors[100] == pytest.approx(0)
    constant = TrainingSettings(warmup_steps=10, schedule="constant")
    assert [constant.learning_rate_factor(step, 100) for step in (4, 9, 10, 99)] == [0.5, 1, 1, 1]


def test_a_new_stage_begins_the_search_for_the_best_loss_anew(tmp_path: Path) -> None:
    class Staged(TinyVAE):
        def on_epoch_start(self, epoch: int, encode_batches) -> bool:
            if epoch == 1:
                self.decoder.bias += 10  # every later loss is worse than the first
            return epoch == 1

    model = Staged()
    result = train(model, tmp_path, epochs=3, patience=1)
    losses = [float(row["loss"]) for row in rows(tmp_path, "valid")]
    assert losses[0] < min(losses[1:])
    assert result.best_loss == min(losses[1:])
    assert model.decoder.bias.abs().max() > 5

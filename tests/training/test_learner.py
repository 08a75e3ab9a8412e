"""Single steps."""

import pytest
import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.precision import MixedPrecision
from tiny_run import TinyVAE, tiny_data
from torch import Tensor

from googol.priors import FlowPrior, NormalMixture
from googol.training import TrainingSettings
from googol.training.learner import Learner


def scaled_learner(model) -> Learner:
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    fabric = Fabric(accelerator="cpu", devices=1, plugins=[MixedPrecision("16-mixed", "cpu", scaler)])
    settings = TrainingSettings(accelerator="cpu", gradient_clip=1.0, warmup_steps=0)
    return Learner(fabric, model, tiny_data(20), settings, total_steps=10)


def test_a_gradient_scaler_skips_a_step_that_overflows() -> None:
    class Overflowing(TinyVAE):
        def loss(self, x: Tensor, y: Tensor) -> dict[str, Tensor]:
            terms = super().loss(x, y)
            steepness = 1e37 if TinyVAE.calls == 2 else 0.0  # times the scale it is infinite
            return terms | {"loss": terms["loss"] + steepness * self.decoder.bias.sum()}

    learner = scaled_learner(Overflowing())
    weights = [learner.model.decoder.bias.detach().clone()]
    for step in range(3):
        assert list(learner.gradient(torch.arange(20), step)) == ["loss", "reconstruction", "kl"]
        learner.update(step)
        weights.append(learner.model.decoder.bias.detach().clone())
    assert not torch.equal(weights[0], weights[1])
    assert torch.equal(weights[1], weights[2])
    assert not torch.equal(weights[2], weights[3])

    state = learner.state_dict()
    assert state["precision"]["scale"] == 512
    resumed = scaled_learner(TinyVAE())
    resumed.load_state_dict(state)
    assert resumed.state_dict()["precision"] == state["precision"]


def test_clipping_bounds_the_gradient_and_reports_its_norm() -> None:
    fabric = Fabric(accelerator="cpu", devices=1)
    learned = {}
    for clip in (None, 0.5):
        settings = TrainingSettings(accelerator="cpu", gradient_clip=clip)
        learner = Learner(fabric, TinyVAE(noisy=False), tiny_data(20), settings, total_steps=10)
        terms = learner.gradient(torch.arange(20), 0)
        gradients = torch.cat([parameter.grad.flatten() for parameter in learner.model.parameters()])
        learned[clip] = terms, gradients.norm().item()
    (plain, norm), (clipped, clipped_norm) = learned.values()
    assert "gradient_norm" not in plain
    assert norm > 1
    assert clipped["gradient_norm"].item() == pytest.approx(norm)
    assert clipped_norm == pytest.approx(0.5, rel=1e-4)


def test_a_prior_learns_at_its_own_rate_but_not_the_networks_in_it() -> None:
    model = TinyVAE()
    model.prior = FlowPrior(NormalMixture(2, components=3), 2, transforms=2, hidden=(4,))
    settings = TrainingSettings(accelerator="cpu", learning_rate=0.001, prior_learning_rate=0.5)
    learner = Learner(Fabric(accelerator="cpu", devices=1), model, tiny_data(20), settings, total_steps=10)
    (player,) = learner.players
    rates = {
        parameter: rate
        for group, rate in zip(player.optimizer.param_groups, player.rates, strict=True)
        for parameter in group["params"]
    }
    assert rates.keys() == set(model.parameters())
    assert {name for name, parameter in model.named_parameters() if rates[parameter] == 0.5} == {
        "prior.base.logits",
        "prior.base.loc",
        "prior.base.log_scale",
    }

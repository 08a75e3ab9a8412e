"""Single steps."""

from dataclasses import replace

import pytest
import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.precision import MixedPrecision
from tiny_run import TinyVAE, tiny_data
from torch import Tensor

from googol.data import Condition, Dataset
from googol.distributions import Categorical, Normal, TensorRing
from googol.likelihoods import Bernoulli
from googol.models import JointVAE
from googol.networks import MLPDecoder, MLPEncoder
from googol.posteriors import DiagonalNormal
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


def joint_model() -> JointVAE:
    torch.manual_seed(0)
    posterior = DiagonalNormal(MLPEncoder((1, 4, 4), 4, hidden=(8,)), 2)
    ring = TensorRing([Normal(3)] * 2 + [Categorical(3)], 3)
    return JointVAE(
        ring, posterior, Bernoulli(MLPDecoder(2, (1, 4, 4), hidden=(8,))), label_weight=2.0, warmup_epochs=1
    )


def test_a_compiled_loss_is_the_same_before_and_after_the_warm_up(monkeypatch) -> None:
    validation = torch.distributions.Distribution._validate_args  # torch.compile switches it off for good
    compiled = []

    def compile_quickly(function, **options):
        compiled.append(function)
        return compile_loss(function, backend="aot_eager", **options)

    compile_loss = torch.compile
    monkeypatch.setattr(torch, "compile", compile_quickly)
    fabric, data, terms = Fabric(accelerator="cpu", devices=1), tiny_data(20), []
    try:
        for wanted in (False, True):
            settings = TrainingSettings(accelerator="cpu", compile=wanted)
            learner = Learner(fabric, joint_model(), data, settings, total_steps=10)
            for epoch in range(2):
                learner.model.on_epoch_start(epoch, lambda: iter([(data.pixels(slice(None)), data.conditions)]))
                torch.manual_seed(epoch)
                found = learner.gradient(torch.arange(20), epoch)
                gradients = {name: p.grad for name, p in learner.model.named_parameters() if p.grad is not None}
                terms.append(found | {name: value.clone() for name, value in gradients.items()})
                learner.update(epoch)
    finally:
        torch.distributions.Distribution.set_default_validate_args(validation)
    assert len(compiled) == 1
    for plain, other in zip(terms[:2], terms[2:], strict=True):
        torch.testing.assert_close(other, plain, rtol=1e-4, atol=1e-5)
    assert set(terms[0]) < set(terms[1])  # the ring has a gradient after the warm-up


class Seen(torch.nn.Module):
    """Notes the conditions of every batch."""

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.batches = torch.nn.Parameter(torch.zeros(())), []

    def loss(self, x, y):
        self.batches.append(y)
        return {"loss": self.weight + x.mean()}


def test_every_batch_has_images_with_known_conditions():
    data = tiny_data(40)
    conditions = torch.full((40, 2), torch.nan)
    conditions[7, 0], conditions[30, 1] = 1.0, 2.0
    data = Dataset("few", data.images, conditions, (Condition("a", None), Condition("b", None)))
    model, options = Seen(), TrainingSettings(labelled_per_batch=6, accelerator="cpu")
    learner = Learner(Fabric(accelerator="cpu", devices=1), model, data, options, total_steps=10)
    for step in range(20):
        learner.gradient(torch.arange(10, 20), step)
    assert all(len(y) == 16 and y[:10].isnan().all() and (~y[10:].isnan()).any(1).all() for y in model.batches)
    drawn = torch.cat([y[10:] for y in model.batches])
    assert 30 < (drawn[:, 0] == 1).sum() < 90
    unknown = replace(data, conditions=torch.full((40, 2), torch.nan))
    with pytest.raises(ValueError, match="labelled_per_batch needs images with known conditions, and few has none"):
        Learner(Fabric(accelerator="cpu", devices=1), model, unknown, options, total_steps=10)

"""Metrics by name."""

import math

import pytest
import torch
from painting import Painter
from torch import nn

from googol.distributions import Categorical, Normal, TensorRing
from googol.likelihoods import Bernoulli
from googol.metrics import METRICS, Accuracy, ClassifierFeatures, Estimate, elbo, evaluate, fid, metric_names
from googol.models import VAE, JointVAE
from googol.networks import MLPDecoder, MLPEncoder
from googol.posteriors import DiagonalNormal
from googol.priors import StandardNormal

SHAPE = (1, 8, 8)


@pytest.fixture
def classifier():
    from googol.data import Condition
    from googol.metrics import Classifier

    torch.manual_seed(0)
    classifier = Classifier(SHAPE, (Condition("level", ("dark", "grey", "light")), Condition("shade", None)))
    classifier.test_accuracy = Accuracy(0.75, {"level": 0.75, "shade": 0.5})
    return classifier


def parts(latents: int) -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(0)
    posterior = DiagonalNormal(MLPEncoder(SHAPE, 2 * latents, hidden=(20,)), latents)
    return posterior, Bernoulli(MLPDecoder(latents, SHAPE, hidden=(20,)))


def test_all_metrics_of_a_joint_model(painted, classifier):
    ring = TensorRing([Normal(3)] * 2 + [Categorical(3), Normal(4)], rank=2)
    model = JointVAE(ring, *parts(2))
    others = {"elbo_bits_per_dim", "iwae_bits_per_dim", "log_likelihood"}  # of other models
    found = evaluate(model, painted, set(METRICS) - others, classifier=classifier, k=3, n=60, seed=4)
    assert found["classifier_accuracy"] == 0.75
    assert found["classifier_accuracy_each"] == {"level": 0.75, "shade": 0.5}
    assert Estimate(found["elbo"], found["elbo_standard_error"]) == elbo(model, painted, seed=4)
    assert found["fid"] == fid(model, ClassifierFeatures(classifier), painted, 60, seed=4)
    assert found["elbo"] < found["iwae"] < 0
    assert found["elbo"] == pytest.approx(found["elbo_log_likelihood"] - found["elbo_kl"])
    assert found["parameters"] == sum(parameter.numel() for parameter in model.parameters())
    assert 0 <= found["active_units"] <= 2
    assert 0 <= found["condition_accuracy"] == found["condition_accuracy_each"]["level"] <= 1
    assert found["imputation_accuracy_each"].keys() == {"level"}
    assert found["imputation_baseline_each"].keys() == {"level"}
    assert 1 <= found["groups"] <= 2
    alone = evaluate(model, painted, ["imputation-accuracy"], seed=4)
    assert alone == {name: value for name, value in found.items() if name.startswith("imputation_accuracy")}


def test_a_model_without_conditions(painted, classifier):
    model = VAE(StandardNormal(2), *parts(2))
    assert evaluate(model, painted, ["elbo", "iwae"], k=2).keys() == {
        "elbo",
        "elbo_standard_error",
        "elbo_log_likelihood",
        "elbo_kl",
        "iwae",
        "iwae_standard_error",
    }
    for name in ["condition_accuracy", "imputation_accuracy"]:
        with pytest.raises(ValueError, match=f"{name} needs a model .*VAE"):
            evaluate(model, painted, [name], classifier=classifier)


def test_bits_need_grey_levels(painted):
    model = VAE(StandardNormal(2), *parts(2))
    with pytest.raises(ValueError, match="elbo_bits_per_dim needs a likelihood of grey levels; that of VAE is not"):
        evaluate(model, painted, ["elbo-bits-per-dim"])
    model.likelihood.log_bin = -math.log(256)
    found = evaluate(model, painted, ["iwae-bits-per-dim"], k=2)
    assert found["iwae_bits_per_dim"] == pytest.approx(8 - found["iwae"] / (math.log(2) * math.prod(SHAPE)))


def test_other_features_are_used_instead_of_the_classifier(painted):
    class Corner(nn.Module):
        num_features = 2

        def forward(self, x):
            return x[:, 0, 0, :2]

    found = evaluate(Painter(), painted, ["fid"], features=Corner(), n=300)
    assert 0 <= found["fid"] < 0.1


def test_names():
    assert metric_names(["elbo", " imputation-accuracy"]) == ("elbo", "imputation_accuracy")
    with pytest.raises(ValueError, match=r"unknown metric 'elob': expected one of .*did you mean 'elbo'"):
        metric_names(["elob"])


@pytest.mark.parametrize("name", ["fid", "condition_accuracy", "classifier_accuracy"])
def test_metrics_that_need_a_classifier_say_so(painted, name):
    with pytest.raises(ValueError, match=f"{name} needs a classifier"):
        evaluate(Painter(), painted, [name])


def test_a_model_without_bounds_is_refused(painted):
    with pytest.raises(ValueError, match=r"elbo needs a model with a bound of log p\(x\); Painter is none"):
        evaluate(Painter(), painted, ["elbo"])

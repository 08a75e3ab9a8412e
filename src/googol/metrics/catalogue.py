"""All metrics by name."""

import inspect
from collections.abc import Iterable, Mapping
from typing import Any

from torch import nn

from googol.data import Dataset, unknown
from googol.distributions import TensorRing
from googol.metrics.accuracy import Accuracy, condition_accuracy, imputation_accuracy, imputation_baseline
from googol.metrics.bounds import Estimate, bits_per_dim, elbo_terms, importance_bound, log_likelihoods
from googol.metrics.classifier import Classifier
from googol.metrics.codes import active_units, parameter_counts
from googol.metrics.frechet import ClassifierFeatures, fid
from googol.metrics.groups import group_accuracy
from googol.metrics.modes import modes
from googol.metrics.neighbours import coverage

METRICS = (
    *("log_likelihood", "elbo", "iwae", "elbo_bits_per_dim", "iwae_bits_per_dim", "active_units", "parameters"),
    *("fid", "precision", "recall", "density", "coverage", "modes", "mode_kl"),
    *("condition_accuracy", "imputation_accuracy", "imputation_baseline", "group_accuracy", "classifier_accuracy"),
)
# Those that need a classifier.
NEIGHBOURS = ("precision", "recall", "density", "coverage")
MODES = ("modes", "mode_kl")
JUDGED = ("fid", *NEIGHBOURS, *MODES, "condition_accuracy", "classifier_accuracy")
# The bounds in bits, and the ones in nats that they are of.
NATS_OF = {"elbo_bits_per_dim": "elbo", "iwae_bits_per_dim": "iwae"}
_BOUND, _CODES, _FILLS_IN = "with a bound of log p(x)", "with codes", "that fills in conditions"
# The methods that metrics need, and what a model with these is; others need samples.
NEEDS = {
    "elbo": ("elbo_terms", _BOUND),
    "iwae": ("importance_bound", _BOUND),
    **dict.fromkeys(NATS_OF, ("importance_bound", _BOUND)),
    "log_likelihood": ("log_likelihood", "whose log-likelihood is known exactly"),
    "active_units": ("posterior", _CODES),
    "group_accuracy": ("posterior", _CODES),
    "imputation_accuracy": ("impute", _FILLS_IN),
    "imputation_baseline": ("impute", _FILLS_IN),
    "parameters": ("parameters", "with parameters"),
}

Value = float | Mapping[str, float]


def metric_names(names: Iterable[str]) -> tuple[str, ...]:
    """The names of metrics as they are in `METRICS`, also for names with hyphens.

    Args:
        names: The names.

    Raises:
        ValueError: There is no such metric.

    Example:
        >>> from googol.metrics import metric_names
        >>> metric_names(["condition-accuracy"])
        ('condition_accuracy',)
    """
    names = tuple(name.strip().replace("_", "-") for name in names)
    known = [name.replace("_", "-") for name in METRICS]
    for name in names:
        if name not in known:
            raise ValueError(unknown("metric", name, known))
    return tuple(name.replace("-", "_") for name in names)


def evaluate(
    model: Any,
    data: Dataset,
    metrics: Iterable[str] = METRICS,
    *,
    classifier: Classifier | None = None,
    features: nn.Module | None = None,
    k: int = 100,
    n: int = 10_000,
    seed: int = 0,
) -> dict[str, Value]:
    """Measure a model on a data set.

    Each metric starts from the seed, so it does not depend on which others are measured.

    Args:
        model: Has the methods that the metrics need.
        data: Images, not trained on, with their true conditions.
        metrics: Some of `METRICS`; hyphens may stand for underscores.
        classifier: The judge, for the metrics in `JUDGED`.
        features: For the Fréchet distance instead of those of the classifier, such as `InceptionFeatures`.
        k: Samples for each image in the importance-weighted bound ``iwae``.
        n: Images to generate for the Fréchet distance, and for the accuracy of conditions.
        seed: Of all samples.

    Returns:
        The metrics under their names, accuracies as fractions. Besides, the two terms of ``elbo``; with
        ``_standard_error`` appended, what the bounds are uncertain by; and with ``_each`` appended, the accuracy of
        each condition and the parameters of each part.

    Raises:
        ValueError: A metric is unknown, or needs what the model or the call does not have.

    Example:
        >>> from googol.data import load
        >>> from googol.likelihoods import Bernoulli
        >>> from googol.models import VAE
        >>> from googol.networks import MLPDecoder, MLPEncoder
        >>> from googol.posteriors import DiagonalNormal
        >>> from googol.priors import StandardNormal
        >>> posterior, likelihood = DiagonalNormal(MLPEncoder((1, 8, 8), 4), 2), Bernoulli(MLPDecoder(2, (1, 8, 8)))
        >>> model, data = VAE(StandardNormal(2), posterior, likelihood), load("digits", "test")
        >>> list(evaluate(model, data, ["elbo", "active-units"]))
        ['elbo', 'elbo_standard_error', 'elbo_log_likelihood', 'elbo_kl', 'active_units']
    """
    found: dict[str, Any] = {}
    names = [part for name in metric_names(metrics) for part in (NATS_OF.get(name, name), name)]
    for name in dict.fromkeys(names):
        if name in found:  # measured together with another one
            continue
        _check_model(name, model)
        if name == "log_likelihood":
            found |= _bound(name, Estimate.of(log_likelihoods(model, data)))
        elif name == "elbo":
            bound, log_likelihood, kl = elbo_terms(model, data, seed=seed)
            found |= {**_bound(name, bound), "elbo_log_likelihood": log_likelihood.mean, "elbo_kl": kl.mean}
        elif name == "iwae":
            found |= _bound(name, importance_bound(model, data, k, seed=seed))
        elif name in NATS_OF:
            nats = Estimate(*(found[f"{NATS_OF[name]}{suffix}"] for suffix in ("", "_standard_error")))
            found |= _bound(name, bits_per_dim(nats, data, model.likelihood.log_bin))
        elif name == "active_units":
            found[name] = active_units(model, data, seed=seed)
        elif name == "parameters":
            counts = parameter_counts(model)
            found |= {name: sum(counts.values()), f"{name}_each": counts}
        elif name == "imputation_accuracy":
            found |= _accuracy(name, imputation_accuracy(model, data, seed=seed))
        elif name == "imputation_baseline":
            found |= _accuracy(name, imputation_baseline(data))
        elif name == "group_accuracy":
            grouping = group_accuracy(model, data, seed=seed)
            found |= {**_accuracy(name, grouping.accuracy), "groups": grouping.number}
        elif name in ("fid", *NEIGHBOURS):
            extractor = _features(name, features, classifier)
            if name == "fid":
                found[name] = fid(model, extractor, data, n, seed=seed)
            else:
                found |= coverage(model, extractor, data, n, seed=seed)._asdict()
        elif classifier is None:
            raise ValueError(f"The metric {name} needs a classifier.")
        elif name in MODES:
            count = modes(model, classifier, n, seed=seed)
            found |= {"modes": count.found, "mode_kl": count.divergence}
        elif name == "condition_accuracy":
            found |= _accuracy(name, condition_accuracy(model, classifier, data, n, seed=seed))
        else:
            found |= _accuracy(name, classifier.test_accuracy)
    return found


def _features(name: str, features: nn.Module | None, classifier: Classifier | None) -> nn.Module:
    """What images are compared by: the features that were given, or those of the classifier."""
    if features is not None:
        return features
    if classifier is None:
        raise ValueError(f"The metric {name} needs a classifier.")
    return ClassifierFeatures(classifier)


def _check_model(name: str, model: Any) -> None:
    """Raise a ValueError unless the model can do what a metric needs."""
    if name in NATS_OF and getattr(getattr(model, "likelihood", None), "log_bin", None) is None:
        raise ValueError(f"The metric {name} needs a likelihood of grey levels; that of {type(model).__name__} is not.")
    if name == "group_accuracy" and not isinstance(getattr(model, "prior", None), TensorRing):
        raise ValueError(f"The metric {name} needs a model with a tensor ring; {type(model).__name__} has none.")
    if name == "condition_accuracy" and "given" not in inspect.signature(model.sample).parameters:
        raise ValueError(f"The metric {name} needs a model of conditions; {type(model).__name__} has none.")
    method, what = NEEDS.get(name, ("sample", "that can sample"))
    if not hasattr(model, method):
        raise ValueError(f"The metric {name} needs a model {what}; {type(model).__name__} is none.")


def _bound(name: str, bound: Estimate) -> dict[str, Value]:
    return {name: bound.mean, f"{name}_standard_error": bound.standard_error}


def _accuracy(name: str, accuracy: Accuracy) -> dict[str, Value]:
    return {name: accuracy.mean, f"{name}_each": accuracy.each}

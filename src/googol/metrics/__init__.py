"""What a model is worth: bounds of the likelihood, accuracies of conditions, Fréchet distance, use of the codes."""

from googol.metrics.accuracy import Accuracy, agreement, condition_accuracy, imputation_accuracy, imputation_baseline
from googol.metrics.bounds import (
    Estimate,
    bits_per_dim,
    elbo,
    elbo_terms,
    importance_bound,
    importance_bounds,
    importance_impute,
    log_likelihoods,
)
from googol.metrics.catalogue import JUDGED, METRICS, MODES, NEIGHBOURS, evaluate, metric_names
from googol.metrics.classifier import Classifier, train_classifier
from googol.metrics.classifier_cache import cached_classifier
from googol.metrics.codes import active_units, parameter_counts
from googol.metrics.evaluation import evaluating
from googol.metrics.frechet import ClassifierFeatures, InceptionFeatures, fid, frechet_distance
from googol.metrics.groups import Grouping, group_accuracy, groups
from googol.metrics.modes import Modes, count_modes, modes
from googol.metrics.neighbours import Coverage, coverage, neighbourhoods
from googol.metrics.typicality import auroc, typicality

__all__ = [
    "JUDGED",
    "METRICS",
    "MODES",
    "NEIGHBOURS",
    "Accuracy",
    "Classifier",
    "ClassifierFeatures",
    "Coverage",
    "Estimate",
    "Grouping",
    "InceptionFeatures",
    "Modes",
    "active_units",
    "agreement",
    "auroc",
    "bits_per_dim",
    "cached_classifier",
    "condition_accuracy",
    "count_modes",
    "coverage",
    "elbo",
    "elbo_terms",
    "evaluate",
    "evaluating",
    "fid",
    "frechet_distance",
    "group_accuracy",
    "groups",
    "importance_bound",
    "importance_bounds",
    "importance_impute",
    "imputation_accuracy",
    "imputation_baseline",
    "log_likelihoods",
    "metric_names",
    "modes",
    "neighbourhoods",
    "parameter_counts",
    "train_classifier",
    "typicality",
]

"""What a run is worth."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import torch

from googol.data import Dataset
from googol.experiments.run import Run
from googol.metrics import JUDGED, MODES, NEIGHBOURS, InceptionFeatures, cached_classifier, metric_names
from googol.metrics import evaluate as measure
from googol.models import JointVAE


def evaluate(
    run: Run,
    metrics: Iterable[str] | None = None,
    *,
    data: str | Dataset | None = None,
    split: str = "test",
    data_dir: str | None = None,
    features: Literal["classifier", "inception"] = "classifier",
    weights: Path | str | None = None,
    k: int = 100,
    n: int = 10_000,
    seed: int = 0,
    progress: bool = False,
) -> dict[str, Any]:
    """Measures a run on images that it was not trained on, on a GPU if there is one.

    Conditions and features are judged by a classifier that is trained apart, on the training images with all
    their labels, and kept for the next time; its own accuracy on test images comes with what it judges.

    Arguments:
        run: The run.
        metrics: Names out of `googol.metrics.METRICS`; by default all that the model has.
        data: Name or path of the images, or what `Run.load` gave of them; by default the data that the run was
            trained on.
        split: Which of them.
        data_dir: The folder of the data files.
        features: What the Fréchet distance, precision, recall, density and coverage compare.
        weights: The file of the weights of Inception features, instead of a download.
        k: Samples for each image in the bound ``iwae``.
        n: Images to generate for the Fréchet distance, and for the accuracy of conditions.
        seed: Of all samples.
        progress: Show a bar on standard error.

    Returns:
        What :func:`googol.metrics.evaluate` returns, and which "features" were compared, if any were.

    Raises:
        ValueError: A metric is unknown or not for this model, the images do not suit it, or there is no such file of
            weights, or no use for it.
    """
    if weights is not None and (features != "inception" or not Path(weights).is_file()):
        raise ValueError(
            f"expected weights to be a file with those of inception features, got {weights} for {features}"
        )
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    run.model.to(device)
    images = data if isinstance(data, Dataset) else run.load(data, split, data_dir=data_dir)
    names = metric_names(metrics) if metrics is not None else _all(run, images)
    classifier = None
    of_features, judged = {"fid", *NEIGHBOURS} & set(names), set(names) & set(JUDGED)
    if judged:
        run.require_images(", ".join(name for name in names if name in JUDGED))
    if judged and (features == "classifier" or set(names) - of_features):
        if images.conditions.isnan().all():
            raise ValueError(
                f"{', '.join(name for name in names if name in JUDGED)} needs a classifier, "
                f"which cannot be trained: {images.name} has no known conditions"
                + ("; features='inception' (--features inception) needs none" if judged == of_features else "")
            )
        try:
            train, test = (run.load(images.name, part, data_dir=data_dir) for part in ("train", "test"))
        except ValueError:  # they are not divided, such as a file that googol sample wrote
            train, test = (run.load(split=part, data_dir=data_dir) for part in ("train", "test"))
        classifier = cached_classifier(train, test, device=device, progress=progress)
        names = tuple(dict.fromkeys([*names, "classifier_accuracy"]))
    extractor = None
    if features == "inception" and of_features:
        extractor = InceptionFeatures(weights=None if weights is None else str(weights)).to(device)
    found = measure(run.model, images, names, classifier=classifier, features=extractor, k=k, n=n, seed=seed)
    return found | ({"features": features} if of_features else {})


def _all(run: Run, images: Dataset) -> tuple[str, ...]:
    if run.is_table:
        return ("log_likelihood", "parameters", "imputation_accuracy", "imputation_baseline")
    likelihood = getattr(run.model, "likelihood", None)
    bounds: tuple[str, ...] = ("elbo", "iwae") if likelihood is not None else ()
    if likelihood is not None and likelihood.log_bin is not None:
        bounds += ("elbo_bits_per_dim", "iwae_bits_per_dim")
    bounds += ("active_units", "parameters") if hasattr(run.model, "posterior") else ("parameters",)
    if likelihood is None and run.schema:
        return (*bounds, "fid", *NEIGHBOURS, *MODES)
    if bool(images.conditions.isnan().all()):  # also where there are no conditions
        return bounds
    if run.conditions:
        grouped = ("group_accuracy",) if isinstance(run.model, JointVAE) else ()
        return (*bounds, "fid", "condition_accuracy", "imputation_accuracy", "imputation_baseline", *grouped)
    return (*bounds, "fid") if run.schema else bounds

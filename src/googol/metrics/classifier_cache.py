"""Classifiers kept between runs: the judge of a data set is trained once."""

import hashlib
import json
import os
import re
import warnings
from dataclasses import asdict
from pathlib import Path

import torch

from googol.data import Dataset
from googol.data.files import replaced
from googol.metrics.accuracy import Accuracy
from googol.metrics.classifier import VERSION, Classifier, train_classifier

# The entry of the file's metadata that holds what was measured.
ENTRY = "test_accuracy"


def cached_classifier(
    train: Dataset,
    test: Dataset,
    *,
    epochs: int | None = None,
    seed: int = 0,
    device: torch.device | str = "cpu",
    cache_dir: str | Path | None = None,
    progress: bool = False,
) -> Classifier:
    """The classifier of a data set from the cache, or else trained now and kept there.

    It is found by a hash of everything that it depends on: the images, the conditions and what they are
    called, the seed, the epochs and the version of the network. A damaged file is replaced; if it cannot be
    kept, a warning says so.

    Args:
        train: As for `train_classifier`.
        test: As for `train_classifier`.
        epochs: As for `train_classifier`.
        seed: As for `train_classifier`.
        device: Where it is trained, and where the one from the cache is put.
        cache_dir: Where it is kept: by default the folder ``classifiers`` in ``$GOOGOL_CACHE`` or else in
            the platform's cache folder.
        progress: Show a bar on standard error while it is trained.

    Raises:
        ValueError: As for `train_classifier`.

    Example:
        >>> import tempfile
        >>> from googol.data import load
        >>> train, test = load("digits", "train"), load("digits", "test")
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     trained = cached_classifier(train, test, epochs=1, cache_dir=folder)
        ...     found = cached_classifier(train, test, epochs=1, cache_dir=folder)
        >>> trained.test_accuracy == found.test_accuracy
        True
    """
    key = _key(train, test, epochs, seed)
    path = _folder(cache_dir) / f"{re.sub(r'[^A-Za-z0-9]+', '-', train.name)[:40]}-{key}.safetensors"
    classifier = _load(path, train)
    if classifier is None:
        classifier = train_classifier(train, test, epochs=epochs, seed=seed, device=device, progress=progress)
        try:
            _save(classifier, path)
        except OSError as error:
            warnings.warn(f"The classifier could not be kept in {path.parent}: {error.strerror}", stacklevel=2)
    return classifier.to(device)


def _folder(cache_dir: str | Path | None) -> Path:
    if cache_dir is not None:
        return Path(cache_dir)
    import pooch

    return Path(os.environ.get("GOOGOL_CACHE") or pooch.os_cache("googol")).expanduser() / "classifiers"


def _key(train: Dataset, test: Dataset, epochs: int | None, seed: int) -> str:
    digest = hashlib.blake2b(digest_size=10)
    schema = [asdict(condition) for condition in train.schema]
    noise = [train.noise, test.noise]
    digest.update(json.dumps([VERSION, schema, train.image_shape, len(train), epochs, seed, noise]).encode())
    for tensor in (train.images, train.conditions, test.images, test.conditions):
        digest.update(tensor.contiguous().numpy().data)
    return digest.hexdigest()


def _load(path: Path, data: Dataset) -> Classifier | None:
    """The classifier in a file; None if there is no such file or it is damaged."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            classifier = Classifier(data.image_shape, data.schema)
            classifier.load_state_dict({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
            classifier.test_accuracy = Accuracy(**json.loads(file.metadata()[ENTRY]))
    except (OSError, SafetensorError, RuntimeError, KeyError, TypeError, ValueError):
        return None
    return classifier.eval()


def _save(classifier: Classifier, path: Path) -> None:
    """Keeps a classifier with its accuracy."""
    from safetensors.torch import save

    state = {name: tensor.cpu() for name, tensor in classifier.state_dict().items()}
    content = save(state, {ENTRY: json.dumps(asdict(classifier.test_accuracy))})
    with replaced(path) as part:
        part.write_bytes(content)

"""The classifier learns what is plain to see, repeats itself, and is kept and found again."""

import math
from dataclasses import replace

import pytest
import torch

from googol.data import Condition, load
from googol.metrics import Classifier, cached_classifier, train_classifier

FAST = {"epochs": 15, "seed": 3}


@pytest.fixture(scope="module")
def parts(painted):
    return painted.subset(slice(0, 300)), painted.subset(slice(300, 400))


@pytest.fixture(scope="module")
def trained(parts):
    return train_classifier(*parts, **FAST)


def test_it_learns_categories_and_numbers(parts, trained):
    _, test = parts
    assert trained.test_accuracy.mean >= 0.98
    assert trained.test_accuracy.each["shade"] > 0.9
    predicted = trained.predict(test.pixels())
    assert (predicted[:, 0] == test.conditions[:, 0]).double().mean() == trained.test_accuracy.mean
    assert not trained.training


def test_it_learns_digits():
    classifier = train_classifier(load("digits", "train"), load("digits", "test"), epochs=8)
    assert classifier.test_accuracy.mean > 0.97


def test_missing_conditions_are_skipped(parts):
    train, test = parts
    classifier = train_classifier(train.hide(0.5, seed=0), test, **FAST)
    assert classifier.test_accuracy.mean >= 0.95
    nothing = Classifier(train.image_shape, train.schema)
    loss = nothing.loss(train.pixels(), torch.full_like(train.conditions, math.nan))
    assert loss == 0


def test_the_loss_agrees_with_its_formula(parts):
    train, _ = parts
    classifier = Classifier(train.image_shape, train.schema).eval()
    classifier.center[1], classifier.spread[1] = 0.4, 0.2
    x, y = train.pixels(slice(4)), train.conditions[:4].clone()
    y[0, 0] = y[1, 1] = math.nan
    logits, number = classifier(x)
    entropies = [-logits[i].log_softmax(0)[int(y[i, 0])] for i in (1, 2, 3)]
    errors = [0.5 * (number[i, 0] - (y[i, 1] - 0.4) / 0.2) ** 2 for i in (0, 2, 3)]
    torch.testing.assert_close(classifier.loss(x, y), sum(entropies) / 3 + sum(errors) / 3)
    torch.testing.assert_close(classifier.predict(x)[:, 1], 0.4 + 0.2 * number[:, 0])


@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 28, 20), (3, 64, 64), (1, 4, 5)])
def test_shapes(shape):
    schema = [Condition("a", ("x", "y", "z")), Condition("b", None)]
    classifier = Classifier(shape, schema)
    x = torch.rand(5, *shape)
    assert [said.shape for said in classifier(x)] == [(5, 3), (5, 1)]
    assert classifier.features(x).shape == (5, classifier.num_features)


def test_the_seed_decides_and_nothing_else_is_drawn(parts, trained):
    torch.manual_seed(9)
    before = torch.get_rng_state()
    again = train_classifier(*parts, **FAST)
    assert torch.equal(torch.get_rng_state(), before)
    for name, value in again.state_dict().items():
        assert torch.equal(value, trained.state_dict()[name]), name


def test_it_is_kept_and_found_again(parts, trained, tmp_path):
    first = cached_classifier(*parts, **FAST, cache_dir=tmp_path)
    (path,) = tmp_path.iterdir()
    stamp = path.stat().st_mtime_ns
    second = cached_classifier(*parts, **FAST, cache_dir=tmp_path)
    assert path.stat().st_mtime_ns == stamp
    assert second.test_accuracy == first.test_accuracy == trained.test_accuracy
    assert not second.training
    x = parts[1].pixels()
    for a, b in zip(second(x), first(x), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("damage", ["truncated", "another file", "empty"])
def test_a_damaged_file_is_replaced(parts, tmp_path, damage):
    first = cached_classifier(*parts, epochs=1, cache_dir=tmp_path)
    (path,) = tmp_path.iterdir()
    content = path.read_bytes()
    path.write_bytes({"truncated": content[:5000], "another file": b"hello", "empty": b""}[damage])
    second = cached_classifier(*parts, epochs=1, cache_dir=tmp_path)
    assert second.test_accuracy == first.test_accuracy
    assert path.read_bytes() == content
    assert list(tmp_path.iterdir()) == [path]


def test_other_data_labels_or_seeds_have_another_classifier(parts, tmp_path):
    train, test = parts
    relabelled = replace(train, conditions=train.conditions.flip(0))
    renamed = (Condition("level", ("dark", "grey", "bright")), train.schema[1])
    variants = [
        (train, test, 0),
        (train, test, 1),
        (relabelled, test, 0),
        (replace(train, images=train.images.flip(0)), test, 0),
        (replace(train, schema=renamed), replace(test, schema=renamed), 0),
        (train.dequantized(), test, 0),
    ]
    for number, (a, b, seed) in enumerate(variants, start=1):
        cached_classifier(a, b, seed=seed, epochs=1, cache_dir=tmp_path)
        assert len(list(tmp_path.iterdir())) == number


def test_the_cache_folder_comes_from_the_environment(parts, tmp_path, monkeypatch):
    monkeypatch.setenv("GOOGOL_CACHE", str(tmp_path))
    cached_classifier(*parts, epochs=1)
    (path,) = (tmp_path / "classifiers").iterdir()
    assert path.name.startswith("painted-")


def test_a_cache_that_cannot_be_written_is_only_a_warning(parts, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.warns(UserWarning, match="could not be kept in .*file"):
        classifier = cached_classifier(*parts, epochs=1, cache_dir=tmp_path / "file" / "folder")
    assert classifier.test_accuracy.each


@pytest.mark.parametrize(
    "change",
    [
        lambda train, test: (train, test.select(["level"])),
        lambda train, test: (train.select([]), test.select([])),
        lambda train, test: (train, replace(test, images=test.images[:, :, :7])),
    ],
)
def test_data_sets_that_do_not_fit_are_refused(parts, change):
    with pytest.raises(ValueError, match="same shape and the same conditions, at least one; got"):
        train_classifier(*change(*parts))

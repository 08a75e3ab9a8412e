"""The Fréchet distance against the formula with scipy's matrix square root."""

import numpy as np
import pytest
import scipy.linalg
import torch
from painting import Painter
from torch import nn

from googol.metrics import Classifier, ClassifierFeatures, InceptionFeatures, fid, frechet_distance


class Projection(nn.Module):
    """Nine random features."""

    num_features = 9

    def __init__(self):
        super().__init__()
        generator = torch.Generator().manual_seed(1)
        self.register_buffer("weight", torch.randn(64, 9, generator=generator))

    def forward(self, x):
        return torch.tanh(x.flatten(1) @ self.weight)


def formula(a: np.ndarray, b: np.ndarray) -> float:
    cov_a, cov_b = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    root = scipy.linalg.sqrtm(cov_a @ cov_b).real
    return float(((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(cov_a + cov_b - 2 * root))


def test_agrees_with_scipy():
    torch.manual_seed(0)
    features = Projection()
    real, generated = torch.rand(500, 1, 8, 8), torch.rand(300, 1, 8, 8) ** 2
    expected = formula(features(real).double().numpy(), features(generated).double().numpy())
    actual = frechet_distance(features, real.split(77), generated.split(300))
    assert actual == pytest.approx(expected, rel=1e-7)
    assert expected > 0.1
    assert features.weight.dtype == torch.float32


def test_equal_sets_have_no_distance():
    x = torch.rand(200, 1, 8, 8)
    assert frechet_distance(Projection(), [x], [x]) == pytest.approx(0, abs=1e-6)


def test_fid_of_a_model(painted):
    features = Projection()
    right = fid(Painter(), features, painted, 400, batch_size=150)
    assert right == fid(Painter(), features, painted, 400, batch_size=150)

    class Blank(Painter):
        def sample(self, n, given=None):
            return torch.zeros(n, 1, 8, 8)

    blank = fid(Blank(), features, painted, 400)
    # Blank images all have features of zero: the distance is the mean's square and the variances.
    real = features(painted.pixels()).double()
    expected = (real.mean(0).square().sum() + real.var(0).sum()).item()
    assert blank == pytest.approx(expected, rel=1e-6)
    assert 20 * right < blank


def test_features_of_a_classifier(painted):
    classifier = Classifier(painted.image_shape, painted.schema).eval()
    features = ClassifierFeatures(classifier)
    x = painted.pixels(slice(5))
    vectors = features(x)
    assert vectors.shape == (5, features.num_features)
    for head, said in zip(classifier.heads, classifier(x), strict=True):
        torch.testing.assert_close(head(vectors), said)
    classifier.train()
    assert fid(Painter(), features, painted, 200) > 0
    assert classifier.training


@pytest.mark.parametrize("channels", [1, 3])
def test_inception_sees_colour_images_of_bytes(monkeypatch, channels):
    import torchmetrics.image.fid

    class StandIn(nn.Module):
        def __init__(self, name, features, weights):
            super().__init__()
            self.asked = (name, features, weights)

        def forward(self, x):
            self.seen = x
            return x.flatten(1).float()

    monkeypatch.setattr(torchmetrics.image.fid, "NoTrainInceptionV3", StandIn)
    features = InceptionFeatures(weights="somewhere.pth")
    x = torch.tensor([0.0, 0.5, 1.0]).reshape(3, 1, 1, 1).expand(3, channels, 4, 4)
    features(x)
    assert features.inception.asked == ("inception-v3-compat", ["2048"], "somewhere.pth")
    assert features.inception.seen.dtype == torch.uint8
    assert features.inception.seen.shape == (3, 3, 4, 4)
    assert features.inception.seen[:, 0, 0, 0].tolist() == [0, 128, 255]


def test_inception_without_its_library_or_weights_says_what_is_missing(monkeypatch):
    import torchmetrics.image.fid

    monkeypatch.setattr(torchmetrics.image.fid, "_TORCH_FIDELITY_AVAILABLE", False)
    with pytest.raises(ValueError, match="torch-fidelity"):
        InceptionFeatures()

    def offline(*arguments):
        raise OSError("no route to host")

    monkeypatch.setattr(torchmetrics.image.fid, "NoTrainInceptionV3", offline)
    with pytest.raises(ValueError, match=r"weights.*no route to host"):
        InceptionFeatures()


@pytest.mark.parametrize(("real", "generated", "side"), [(1, 5, "real"), (5, 0, "generated")])
def test_single_images_are_refused(real, generated, side):
    with pytest.raises(ValueError, match=f"at least two {side} images"):
        frechet_distance(Projection(), [torch.rand(real, 1, 8, 8)], [torch.rand(generated, 1, 8, 8)])

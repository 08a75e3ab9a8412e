"""The Fréchet distance between generated and real images."""

import pickle
from collections.abc import Iterable, Iterator
from typing import Protocol

import torch
from torch import Tensor, nn

from googol.data import Dataset
from googol.metrics.classifier import Classifier
from googol.metrics.evaluation import Evaluable, device_of, evaluating, in_order


class Generative(Evaluable, Protocol):
    """A model that generates images under no condition."""

    def sample(self, n: int) -> Tensor: ...


def in_batches(model: Generative, n: int, batch_size: int, device: torch.device) -> Iterator[Tensor]:
    """n images of a model, some at a time, on a device.

    Raises:
        ValueError: There are no images to make.
    """
    if n < 1:
        raise ValueError(f"Expected n to be at least 1; got {n}.")
    for start in range(0, n, batch_size):
        yield model.sample(min(batch_size, n - start)).to(device)


class ClassifierFeatures(nn.Module):
    """The features of a classifier, before its heads, as a module of their own.

    Args:
        classifier: The classifier, which is not copied.

    Example:
        >>> import torch
        >>> from googol.data import Condition
        >>> features = ClassifierFeatures(Classifier((1, 8, 8), [Condition("digit", tuple("0123456789"))]))
        >>> features(torch.rand(5, 1, 8, 8)).shape, features.num_features
        (torch.Size([5, 128]), 128)
    """

    def __init__(self, classifier: Classifier):
        super().__init__()
        self.classifier = classifier
        self.num_features = classifier.num_features

    def forward(self, x: Tensor) -> Tensor:
        """Images in [0, 1] (B, channels, height, width) to features (B, num_features)."""
        return self.classifier.features(x)


class InceptionFeatures(nn.Module):
    """The 2,048 features of Inception v3 that the published Fréchet inception distances use.

    Grey images become three equal channels. Needs the library torch-fidelity (``pip install googol[fid]``),
    which brings the weights over the network when they are used for the first time.

    Args:
        weights: Path of the file of weights, instead of a download.

    Raises:
        ValueError: The library or the weights are not at hand.
    """

    num_features = 2048

    def __init__(self, *, weights: str | None = None):
        super().__init__()
        from torchmetrics.image.fid import NoTrainInceptionV3

        try:
            self.inception = NoTrainInceptionV3("inception-v3-compat", [str(self.num_features)], weights)
        except (ModuleNotFoundError, OSError, RuntimeError, pickle.UnpicklingError) as error:
            raise ValueError(
                "Inception features need torch-fidelity (pip install 'googol[fid]') and its weights "
                f"(from the network at first use, or a file): {error}"
            ) from error

    def forward(self, x: Tensor) -> Tensor:
        """Images in [0, 1] (B, 1 or 3, height, width) to features (B, 2048)."""
        return self.inception((x * 255).round().to(torch.uint8).expand(-1, 3, -1, -1))


def frechet_distance(features: nn.Module, real: Iterable[Tensor], generated: Iterable[Tensor]) -> float:
    r"""The Fréchet distance between normal distributions fitted to the features of two sets of images.

    .. math:: \lVert m_1 - m_2 \rVert^2 + \operatorname{tr}\left(C_1 + C_2 - 2 (C_1 C_2)^{1/2}\right)

    References:
        Heusel et al., GANs Trained by a Two Time-Scale Update Rule, 2017, https://arxiv.org/abs/1706.08500.

    Args:
        features: From images (B, channels, height, width) to vectors (B, num_features); says ``num_features``.
        real: Batches of images, at least two images in all.
        generated: Batches of images, at least two in all.

    Raises:
        ValueError: There are fewer than two images on a side.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> features = nn.Flatten()
        >>> features.num_features = 9
        >>> x = torch.rand(1000, 1, 3, 3)
        >>> same, brighter = frechet_distance(features, [x], [x]), frechet_distance(features, [x], [x + 1])
        >>> same < 1e-3, 8.99 < brighter < 9.01  # the means of all nine pixels differ by 1
        (True, True)
    """
    from torchmetrics.image.fid import FrechetInceptionDistance

    # Its set_dtype(float64) would turn the features' own weights into float64, here and for ever.
    metric = FrechetInceptionDistance(_Double(features)).to(device_of(features))
    for side, images in {"real": real, "generated": generated}.items():
        count = 0
        for batch in images:
            metric.update(batch, real=side == "real")
            count += len(batch)
        if count < 2:
            raise ValueError(f"Expected at least two {side} images; got {count}.")
    # Rounding can leave a distance of zero slightly below it.
    return max(0.0, metric.compute().item())


class _Double(nn.Module):
    """The same features in float64, which torchmetrics keeps up to its result."""

    def __init__(self, features: nn.Module):
        super().__init__()
        self.features = features
        self.num_features = features.num_features

    def forward(self, x: Tensor) -> Tensor:
        return self.features(x).double()


def fid(
    model: Generative,
    features: nn.Module,
    data: Dataset,
    n: int = 10_000,
    *,
    batch_size: int = 500,
    seed: int = 0,
) -> float:
    """The Fréchet distance between n images of a model and all images of a data set.

    With the features of a classifier trained on such data it is small numbers on a scale of its own: compare
    it only between models judged by the same classifier, with the same n.

    Args:
        model: Has ``sample(n)``.
        features: As for `frechet_distance`.
        data: The real images.
        n: How many images are generated; at least 2.
        batch_size: Images at once.
        seed: Of the generated images.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from googol.data import load
        >>> data = load("digits", "test")
        >>> class Copies(nn.Module):
        ...     def sample(self, n):
        ...         return data.pixels(torch.randint(len(data), (n,)))
        >>> features = nn.Flatten()
        >>> features.num_features = 64
        >>> fid(Copies(), features, data, 1000) < 1
        True
    """
    device = device_of(features)
    with evaluating(model, features, seed=seed):
        real = (x for x, _ in in_order(data, batch_size, device))
        return frechet_distance(features, real, in_batches(model, n, batch_size, device))

"""A classifier of conditions, trained apart from every generative model, that judges what they generate."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, mse_loss

from googol.data import Condition, Dataset, augmented, batches
from googol.metrics.accuracy import Accuracy, agreement
from googol.metrics.evaluation import evaluating, in_order

# Raise it with every change of the network or its training: classifiers kept from before are then not used.
VERSION = 1
# Sides below this are not looked at by convolutions, and images of such sides not shifted.
SMALLEST = 4


class Classifier(nn.Module):
    """A small convolutional network with batch normalization and one head for each condition.

    Args:
        image_shape: (channels, height, width).
        schema: The conditions. A categorical one gets a softmax, a continuous one a number.

    Attributes:
        test_accuracy: What `train_classifier` measured on images not trained on; empty before.
        num_features: The length of the vectors of `features`.

    Example:
        >>> import torch
        >>> from googol.data import Condition
        >>> from googol.metrics import Classifier
        >>> classifier = Classifier((1, 8, 8), [Condition("digit", tuple("0123456789")), Condition("slant", None)])
        >>> classifier.predict(torch.rand(5, 1, 8, 8)).shape
        torch.Size([5, 2])
    """

    num_features = 128
    center: Tensor
    spread: Tensor

    def __init__(self, image_shape: Sequence[int], schema: Sequence[Condition]):
        super().__init__()
        self.schema = tuple(schema)
        self.test_accuracy = Accuracy(math.nan, {})
        channels, *sides = image_shape
        layers: list[nn.Module] = []
        width = 32
        if min(sides) >= 16:
            # Large images are halved at once: full resolution would cost more than all the rest.
            layers += [nn.Conv2d(channels, width, 4, stride=2, padding=1), nn.BatchNorm2d(width), nn.ReLU()]
            channels, sides = width, [side // 2 for side in sides]
            width *= 2
        while min(sides) >= SMALLEST:
            layers += [nn.Conv2d(channels, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(), nn.MaxPool2d(2)]
            channels, sides = width, [side // 2 for side in sides]
            width = min(2 * width, self.num_features)
        layers += [nn.Flatten(), nn.Linear(channels * math.prod(sides), self.num_features)]
        self.layers = nn.Sequential(*layers, nn.BatchNorm1d(self.num_features), nn.ReLU())
        self.heads = nn.ModuleList(nn.Linear(self.num_features, len(c.values or "1")) for c in self.schema)
        # Continuous conditions are learned standardized.
        self.register_buffer("center", torch.zeros(len(self.schema)))
        self.register_buffer("spread", torch.ones(len(self.schema)))

    def features(self, x: Tensor) -> Tensor:
        """What the heads see of each image, (B, num_features)."""
        return self.layers(x)

    def forward(self, x: Tensor) -> list[Tensor]:
        """For each condition the logits (B, values), or the standardized number (B, 1)."""
        features = self.features(x)
        return [head(features) for head in self.heads]

    def predict(self, x: Tensor) -> Tensor:
        """The most probable categories, and the numbers, (B, c)."""
        columns = [
            said.argmax(-1).to(x.dtype) if condition.is_categorical else center + spread * said[:, 0]
            for condition, said, center, spread in zip(self.schema, self(x), self.center, self.spread, strict=True)
        ]
        return torch.stack(columns, -1)

    def loss(self, x: Tensor, y: Tensor) -> Tensor:
        """The cross-entropy and squared errors, summed over the conditions, averaged where these are known."""
        total = x.new_zeros(())
        for column, (condition, said) in enumerate(zip(self.schema, self(x), strict=True)):
            known = ~y[:, column].isnan()
            if not known.any():
                continue
            true = y[known, column]
            if condition.is_categorical:
                total = total + cross_entropy(said[known], true.long())
            else:
                standardized = (true - self.center[column]) / self.spread[column]
                total = total + 0.5 * mse_loss(said[known, 0], standardized)
        return total


def train_classifier(
    train: Dataset,
    test: Dataset,
    *,
    epochs: int | None = None,
    batch_size: int = 64,
    seed: int = 0,
    device: torch.device | str = "cpu",
    progress: bool = False,
) -> Classifier:
    """Train a classifier and measure it on other images.

    Each image is shifted at random, by up to a fourteenth of its side, every time it comes.

    Args:
        train: Images with known conditions; missing ones are skipped.
        test: Images for ``test_accuracy``, of the same kind.
        epochs: How often each image comes; by default 4 times, or more until there were 100,000 in all.
        batch_size: Images at once.
        seed: Of the weights, the order and the shifts.
        device: Where it is trained.
        progress: Show a bar on standard error.

    Returns:
        The classifier in evaluation mode, with its ``test_accuracy``.

    Raises:
        ValueError: The data sets do not fit together, or have no conditions.

    Example:
        >>> from googol.data import load
        >>> classifier = train_classifier(load("digits", "train"), load("digits", "test"), epochs=2)
        >>> classifier.test_accuracy.mean > 0.5
        True
    """
    if train.image_shape != test.image_shape or train.schema != test.schema or not train.schema:
        raise ValueError(
            "Expected train and test with images of the same shape and the same conditions, at least one; "
            f"got {train.image_shape} with {train.names} and {test.image_shape} with {test.names}."
        )
    from tqdm import tqdm

    side = min(train.image_shape[1:])
    shift = max(1, side // 14) if side >= SMALLEST else 0
    steps = len(batches(len(train), batch_size, seed=seed, epoch=0))
    epochs = max(4, math.ceil(100_000 / len(train))) if epochs is None else epochs
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(seed)
        classifier = Classifier(train.image_shape, train.schema)
        for column, condition in enumerate(train.schema):
            known = train.conditions[:, column][~train.conditions[:, column].isnan()]
            if not condition.is_categorical and len(known) > 1:
                classifier.center[column] = known.mean()
                classifier.spread[column] = known.std().clamp_min(1e-12)
        classifier.to(device).train()
        optimizer = torch.optim.AdamW(classifier.parameters(), weight_decay=0.01)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 5e-3, total_steps=epochs * steps)
        order = (part for epoch in range(epochs) for part in batches(len(train), batch_size, seed=seed, epoch=epoch))
        for index in tqdm(order, "classifier", epochs * steps, disable=not progress):
            x = augmented(train.pixels(index), shift=shift).to(device)
            optimizer.zero_grad()
            classifier.loss(x, train.conditions[index].to(device)).backward()
            optimizer.step()
            schedule.step()
    classifier.eval()
    with evaluating(classifier, seed=seed):
        predicted = [classifier.predict(x).cpu() for x, _ in in_order(test, 500, torch.device(device))]
    classifier.test_accuracy = agreement(torch.cat(predicted), test.conditions, test.schema)
    return classifier

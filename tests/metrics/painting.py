"""Small data and models whose answers are known."""

import torch
from torch import Tensor, nn

from googol.data import Condition, Dataset


def paint(conditions: Tensor) -> Tensor:
    """Images whose upper half is the side, whose lower half the shade: three grey levels, and a number."""
    images = torch.zeros(len(conditions), 1, 8, 8)
    images[:, :, :4] = (conditions[:, 0] / 2)[:, None, None, None]
    images[:, :, 4:] = conditions[:, 1][:, None, None, None]
    return images


def painted_data() -> Dataset:
    """400 images with one condition of three values and one number in [0, 1], both plain to see."""
    generator = torch.Generator().manual_seed(0)
    conditions = torch.stack(
        [
            torch.randint(3, (400,), generator=generator).float(),
            torch.randint(256, (400,), generator=generator) / 255,
        ],
        -1,
    )
    schema = (Condition("level", ("dark", "grey", "light")), Condition("shade", None))
    return Dataset("painted", (paint(conditions) * 255).round().byte(), conditions, schema)


class Reader(nn.Module):
    """A perfect judge of painted images."""

    def predict(self, x: Tensor) -> Tensor:
        return torch.stack([(x[:, 0, 0, 0] * 2).round(), x[:, 0, -1, 0]], -1)


class Painter(nn.Module):
    """A model of painted images that obeys its conditions when it is told to."""

    def __init__(self, *, obeys: bool = True):
        super().__init__()
        self.obeys = obeys
        self.weight = nn.Parameter(torch.zeros(()))
        self.dropout = nn.Dropout()

    def sample(self, n: int, given: Tensor | None = None) -> Tensor:
        if self.training or torch.is_grad_enabled():
            raise RuntimeError("measured in the wrong mode")
        if given is None:
            given = torch.stack([torch.randint(3, (n,)).float(), torch.rand(n)], -1)
        if not self.obeys:
            given = torch.stack([(given[:, 0] + 1) % 3, 1 - given[:, 1]], -1)
        return paint(given)

    def impute(self, x: Tensor) -> list[Tensor]:
        index = (x[:, 0, 0, 0] * 2).round().long()
        index = index if self.obeys else (index + 1) % 3
        return [nn.functional.one_hot(index, 3) * 0.4 + 0.2, x.new_ones(len(x), 4) / 4]

"""The choices of priors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from googol.experiments.config.common import ImageShape, require

if TYPE_CHECKING:
    from torch import nn

    from googol import distributions
    from googol.data import Condition


@dataclass(frozen=True)
class StandardNormal:
    """Independent standard normal codes; nothing to learn."""

    def build(self, latents: int, posterior: nn.Module, image_shape: ImageShape) -> nn.Module:
        """The prior p(z)."""
        from googol.priors import StandardNormal as Prior

        return Prior(latents)


@dataclass(frozen=True)
class _Learnable:
    """A prior with parameters."""

    learnable: bool = True
    """learn the parameters of the prior, rather than keep those that it starts with"""

    def build(self, latents: int, posterior: nn.Module, image_shape: ImageShape) -> Any:
        """The prior p(z)."""
        prior = self._prior(latents, posterior, image_shape)
        return prior if self.learnable else prior.requires_grad_(False)

    def _prior(self, latents: int, posterior: nn.Module, image_shape: ImageShape) -> nn.Module:
        raise NotImplementedError


@dataclass(frozen=True)
class TensorRing(_Learnable):
    """A learned lattice of components, whose weights are a tensor ring (or train)."""

    rank: int = 20
    """size of the bonds between neighbouring variables; the cost of a ring grows with its cube"""
    components: int = 10
    """normal components of each continuous variable"""
    boundary: Literal["ring", "train"] = "ring"
    """whether the last variable is tied to the first"""

    def __post_init__(self) -> None:
        require(1, rank=self.rank, components=self.components)

    def _prior(self, latents: int, posterior: nn.Module, image_shape: ImageShape) -> nn.Module:
        return self._ring(latents, ())

    def build_joint(self, latents: int, schema: Sequence[Condition]) -> distributions.TensorRing:
        """The joint p(z, y) of codes and conditions.

        The conditions lie among the codes, at equal distances, since a bond of rank m tells m states apart, and the
        combinations of several conditions soon are more than that.
        """
        ring = self._ring(latents, schema)
        return ring if self.learnable else ring.requires_grad_(False)

    def _ring(self, latents: int, schema: Sequence[Condition]) -> distributions.TensorRing:
        from googol.distributions import Categorical, Normal
        from googol.distributions import TensorRing as Ring

        sizes = [None] * latents + [condition.values and len(condition.values) for condition in schema]
        variables = [Categorical(size) if size else Normal(self.components) for size in sizes]
        positions = [(code + 0.5) / latents for code in range(latents)]
        positions += [(condition + 0.5) / len(schema) for condition in range(len(schema))]
        order = sorted(range(len(variables)), key=positions.__getitem__)
        return Ring(variables, self.rank, self.boundary, order=order)


Prior = StandardNormal | TensorRing
JointPrior = TensorRing

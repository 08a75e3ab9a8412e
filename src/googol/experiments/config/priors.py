"""The choices of priors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from googol.experiments.config.common import ImageShape, require, require_positive

if TYPE_CHECKING:
    from torch import nn

    from googol import distributions
    from googol.data import Condition


@dataclass(frozen=True)
class StandardNormal:
    """Independent standard normal codes; nothing to learn."""

    def build(self, latents: int, posterior: nn.Module | None, image_shape: ImageShape) -> nn.Module:
        """The prior p(z)."""
        from googol.priors import StandardNormal as Prior

        return Prior(latents)


@dataclass(frozen=True)
class _Learnable:
    """A prior with parameters."""

    learnable: bool = True
    """learn the parameters of the prior, rather than keep those that it starts with"""

    def build(self, latents: int, posterior: nn.Module | None, image_shape: ImageShape) -> Any:
        """The prior p(z)."""
        prior = self._prior(latents, posterior, image_shape)
        return prior if self.learnable else prior.requires_grad_(False)

    def _prior(self, latents: int, posterior: nn.Module | None, image_shape: ImageShape) -> nn.Module:
        raise NotImplementedError


@dataclass(frozen=True)
class NormalMixture(_Learnable):
    """A mixture of normals with independent codes."""

    components: int = 100
    """normals in the mixture"""
    scale: float = 1.0
    """standard deviation of the normals at the start, of a model that does not place them by codes"""

    def __post_init__(self) -> None:
        require(1, components=self.components)
        require_positive(scale=self.scale)

    def _prior(self, latents: int, posterior: nn.Module | None, image_shape: ImageShape) -> nn.Module:
        from googol.priors import NormalMixture as Prior

        return Prior(latents, components=self.components, scale=self.scale)


@dataclass(frozen=True)
class VampPrior(_Learnable):
    """The mixture of the posteriors of pseudo-inputs, which are learned, or a subset of the training images."""

    components: int = 500
    """pseudo-inputs"""
    start: Literal["random", "data"] = "random"
    """what the pseudo-inputs are at first; those that are not learned have to be data"""

    def __post_init__(self) -> None:
        require(1, components=self.components)
        if self.start == "random" and not self.learnable:
            raise ValueError("pseudo-inputs that are not learned must start from data, got start = 'random'")

    def _prior(self, latents: int, posterior: nn.Module | None, image_shape: ImageShape) -> nn.Module:
        from googol.priors import VampPrior as Prior

        if posterior is None:
            raise ValueError("a vamp-prior is made of posteriors, which this model has none of; choose another prior")
        return Prior(posterior, image_shape, components=self.components, start=self.start, learnable=self.learnable)


@dataclass(frozen=True)
class HypersphericalUniform:
    """Codes uniform on the unit sphere, for posteriors on it; nothing to learn."""

    def build(self, latents: int, posterior: nn.Module | None, image_shape: ImageShape) -> nn.Module:
        """The prior p(z)."""
        from googol.priors import HypersphericalUniform as Prior

        return Prior(latents)


@dataclass(frozen=True)
class TensorRing(_Learnable):
    """A learned lattice of components, whose weights are a tensor ring (or train)."""

    rank: int = 20
    """size of the bonds between neighbouring variables; the cost of a ring grows with its cube"""
    components: int = 10
    """normal components of each continuous variable"""
    boundary: Literal["ring", "train"] = "ring"
    """whether the last variable is tied to the first"""
    scale: float | None = None
    """standard deviation of the normal components at the start, of a model that does not place them by codes; by
    default their distance, so that they run into each other"""

    def __post_init__(self) -> None:
        require(1, rank=self.rank, components=self.components)
        if self.scale is not None:
            require_positive(scale=self.scale)

    def _prior(self, latents: int, posterior: nn.Module | None, image_shape: ImageShape) -> nn.Module:
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
        variables = [Categorical(size) if size else Normal(self.components, scale=self.scale) for size in sizes]
        positions = [(code + 0.5) / latents for code in range(latents)]
        positions += [(condition + 0.5) / len(schema) for condition in range(len(schema))]
        order = sorted(range(len(variables)), key=positions.__getitem__)
        return Ring(variables, self.rank, self.boundary, order=order)


Base = StandardNormal | NormalMixture | VampPrior | TensorRing


@dataclass(frozen=True)
class Flow(_Learnable):
    """Another prior, seen through an invertible map that is learned."""

    base: Base = StandardNormal()
    """the other prior"""
    flow: Literal["realnvp", "nsf", "maf", "bpf", "sospf"] = "realnvp"
    """family of the map: affine or spline couplings; or autoregressive, affine (maf) or by polynomials"""
    transforms: int = 6
    """transforms, one after the other"""
    hidden: tuple[int, ...] = (128, 128)
    """sizes of the hidden layers of each transform"""

    def __post_init__(self) -> None:
        require(1, transforms=self.transforms, hidden=min(self.hidden, default=1))

    def _prior(self, latents: int, posterior: nn.Module | None, image_shape: ImageShape) -> nn.Module:
        from googol.priors import FlowPrior as Prior

        base = self.base.build(latents, posterior, image_shape)
        return Prior(base, latents, flow=self.flow, transforms=self.transforms, hidden=self.hidden)


Prior = Base | Flow | HypersphericalUniform
JointPrior = TensorRing

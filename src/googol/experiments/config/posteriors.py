"""The choices of posteriors."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from googol.experiments.config.common import ImageShape, require
from googol.experiments.config.networks import Network

if TYPE_CHECKING:
    from torch import nn

    from googol.likelihoods import LatentLayer


@dataclass(frozen=True)
class _Posterior:
    """A class of `googol.posteriors`, with the fields as its options."""

    part: ClassVar[str]
    prior_part: ClassVar[str] = "DiagonalNormal"  # of a lower layer, given the codes above it: on the same space

    def build(self, network: Network, image_shape: ImageShape, latents: int) -> nn.Module:
        """The posterior q(z given x)."""
        from googol import posteriors

        made, options = getattr(posteriors, self.part), asdict(self)
        return made(network.encoder(image_shape, made.encoder_outputs(latents, **options)), latents, **options)

    def build_layer(self, network: Network, image_shape: ImageShape, above: int, latents: int) -> LatentLayer:
        """A layer of codes below others: p(z given the codes above) and the posterior q(z given x and these)."""
        from googol import posteriors
        from googol.likelihoods import LatentLayer

        prior, made, options = getattr(posteriors, self.prior_part), getattr(posteriors, self.part), asdict(self)
        outputs = made.encoder_outputs(latents, **options)
        return LatentLayer(
            prior(network.of_codes(above, prior.encoder_outputs(latents)), latents),
            made(network.joined_encoder(image_shape, above, outputs), latents, **options),
        )


@dataclass(frozen=True)
class Diagonal(_Posterior):
    """Independent normal codes given the image."""

    part: ClassVar[str] = "DiagonalNormal"


@dataclass(frozen=True)
class SparseNormal(_Posterior):
    """A normal with a sparse precision: codes linked along a chain or over a grid."""

    part: ClassVar[str] = "SparseNormal"

    structure: Literal["chain", "grid", "extended-grid"] = "chain"
    """which codes are linked"""
    rows: int | None = None
    """rows of the grid; by default those that make it most nearly square"""
    trace: Literal["exact", "stochastic"] = "exact"
    """how the trace in the divergence from a standard normal prior is found; stochastic is cheaper on extended grids"""

    def __post_init__(self) -> None:
        require(1, rows=self.rows or 1)


@dataclass(frozen=True)
class _Flow(_Posterior):
    """A diagonal normal moved by transforms that depend on the image too."""

    flows: int = 4
    """transforms, one after the other"""

    def __post_init__(self) -> None:
        require(1, flows=self.flows)


@dataclass(frozen=True)
class Householder(_Flow):
    """A normal with correlated codes: reflections of a diagonal one."""

    part: ClassVar[str] = "HouseholderFlow"


@dataclass(frozen=True)
class Planar(_Flow):
    """Planar flows."""

    part: ClassVar[str] = "PlanarFlow"


@dataclass(frozen=True)
class Sylvester(_Flow):
    """Sylvester flows."""

    part: ClassVar[str] = "SylvesterFlow"

    orthogonalization: Literal["orthogonal", "householder", "triangular"] = "orthogonal"
    """how the orthonormal matrix is made: some columns by iteration, all by reflections, or none but permutations"""
    columns: int | None = None
    """columns of the matrix, at most the latents; for orthogonal; by default 8"""
    reflections: int = 8
    """reflections; for householder"""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(1, columns=self.columns or 1, reflections=self.reflections)


@dataclass(frozen=True)
class IAF(_Flow):
    """Inverse autoregressive flows."""

    part: ClassVar[str] = "InverseAutoregressiveFlow"

    hidden: tuple[int, ...] = (320, 320)
    """sizes of the hidden layers of each flow"""
    context: int = 64
    """numbers that the encoder tells the flows"""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(1, context=self.context, hidden=min(self.hidden, default=1))


@dataclass(frozen=True)
class VonMisesFisher(_Posterior):
    """Codes on the unit sphere, around a direction; for priors there, or made of such posteriors."""

    part: ClassVar[str] = "VonMisesFisher"
    prior_part: ClassVar[str] = "VonMisesFisher"


Posterior = Diagonal | SparseNormal | Householder | Planar | Sylvester | IAF | VonMisesFisher

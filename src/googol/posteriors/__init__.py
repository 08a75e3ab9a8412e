"""Posteriors: modules that return q(z given x) when called with x."""

from googol.posteriors.autoregressive import InverseAutoregressiveFlow
from googol.posteriors.conditioned import ConditionedPosterior
from googol.posteriors.diagonal import DiagonalNormal
from googol.posteriors.experts import ProductOfExperts
from googol.posteriors.householder import HouseholderFlow
from googol.posteriors.planar import PlanarFlow
from googol.posteriors.sparse import SparseNormal
from googol.posteriors.sylvester import SylvesterFlow
from googol.posteriors.von_mises_fisher import VonMisesFisher

__all__ = [
    "ConditionedPosterior",
    "DiagonalNormal",
    "HouseholderFlow",
    "InverseAutoregressiveFlow",
    "PlanarFlow",
    "ProductOfExperts",
    "SparseNormal",
    "SylvesterFlow",
    "VonMisesFisher",
]

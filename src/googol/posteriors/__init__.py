"""Posteriors: modules that return q(z given x) when called with x.

Called with codes in place of x they are conditional distributions p(z given codes above), and with both, where the
encoder takes two arguments, q(z given x and codes above): the layers of a hierarchical model.
"""

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

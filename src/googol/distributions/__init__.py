"""Tractable distributions: tensor rings and trains over continuous and discrete variables, and likelihoods' own."""

from googol.distributions.discretized_logistic import DiscretizedLogistic
from googol.distributions.events import Event, Interval, OneOf
from googol.distributions.hypersphere import HypersphericalUniform, unit_sphere
from googol.distributions.independent import IndependentVariables
from googol.distributions.information import mutual_information
from googol.distributions.joint import TensorRingDistribution
from googol.distributions.logit_normal import LogitNormal
from googol.distributions.mixture import Mixture
from googol.distributions.sparse_normal import SparseNormal
from googol.distributions.tensor_ring import TensorRing
from googol.distributions.variables import Categorical, Normal, Variable
from googol.distributions.von_mises_fisher import VonMisesFisher

__all__ = [
    "Categorical",
    "DiscretizedLogistic",
    "Event",
    "HypersphericalUniform",
    "IndependentVariables",
    "Interval",
    "LogitNormal",
    "Mixture",
    "Normal",
    "OneOf",
    "SparseNormal",
    "TensorRing",
    "TensorRingDistribution",
    "Variable",
    "VonMisesFisher",
    "mutual_information",
    "unit_sphere",
]

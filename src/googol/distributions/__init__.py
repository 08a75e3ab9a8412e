"""Tractable distributions: tensor rings and trains over continuous and discrete variables, and likelihoods' own."""

from googol.distributions.discretized_logistic import DiscretizedLogistic
from googol.distributions.joint import TensorRingDistribution
from googol.distributions.tensor_ring import TensorRing
from googol.distributions.variables import Categorical, Normal, Variable

__all__ = [
    "Categorical",
    "DiscretizedLogistic",
    "Normal",
    "TensorRing",
    "TensorRingDistribution",
    "Variable",
]

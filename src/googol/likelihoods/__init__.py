"""Likelihoods: modules that return p(x given z) when called with z.

The class attribute `outputs_per_channel` says how many channels the decoder must give for each of an image's.
"""

from .bernoulli import Bernoulli
from .discretized_logistic import DiscretizedLogistic
from .normal import Normal

__all__ = ["Bernoulli", "DiscretizedLogistic", "Normal"]

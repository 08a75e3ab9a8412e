"""Likelihoods: modules that return p(x given z) when called with z.

The class attribute `outputs_per_channel` says how many channels the decoder must give for each of an image's.
"""

from googol.likelihoods.bernoulli import Bernoulli
from googol.likelihoods.discretized_logistic import DiscretizedLogistic
from googol.likelihoods.normal import Normal

__all__ = ["Bernoulli", "DiscretizedLogistic", "Normal"]

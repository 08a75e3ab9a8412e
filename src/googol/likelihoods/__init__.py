"""Likelihoods: modules that return p(x given z) when called with z.

Each class has three facts for those who build and measure models:

- `outputs_per_channel(**options)`: how many channels the decoder must give for each of an image's, with these options;
- `log_bin`: what turns a log-density into the log-probability of an image of 8 bits, an addend for each pixel and
  channel: the log of the volume of one of the 256 grey levels in the space of x. None where there is no such number;
- `dequantized`: whether x are pixels (255 g + u) / 256 with noise u in (0, 1) rather than the grey levels g.
"""

from googol.likelihoods.autoregressive import Autoregressive
from googol.likelihoods.bernoulli import Bernoulli
from googol.likelihoods.discretized_logistic import DiscretizedLogistic
from googol.likelihoods.hierarchical import Hierarchical, LatentLayer, has_mean
from googol.likelihoods.logit_normal import LogitNormal
from googol.likelihoods.normal import Normal

__all__ = [
    "Autoregressive",
    "Bernoulli",
    "DiscretizedLogistic",
    "Hierarchical",
    "LatentLayer",
    "LogitNormal",
    "Normal",
    "has_mean",
]

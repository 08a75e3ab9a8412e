"""Priors: modules that return p(z), or a joint p(z, y), when called with nothing."""

from googol.priors.flow import FlowPrior
from googol.priors.hyperspherical_uniform import HypersphericalUniform
from googol.priors.normal_mixture import NormalMixture
from googol.priors.standard_normal import StandardNormal
from googol.priors.vamp import VampPrior

__all__ = ["FlowPrior", "HypersphericalUniform", "NormalMixture", "StandardNormal", "VampPrior"]

"""Priors: modules that return p(z), or a joint p(z, y), when called with nothing."""

from googol.priors.hyperspherical_uniform import HypersphericalUniform
from googol.priors.standard_normal import StandardNormal

__all__ = ["HypersphericalUniform", "StandardNormal"]

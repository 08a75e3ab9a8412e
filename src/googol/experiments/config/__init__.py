"""The choices of an experiment as plain data: what the command line offers, and what `config.yaml` says.

Each choice is a small frozen dataclass whose fields are the options and whose `build` makes the part. A new one
is such a class and its name in the union at the end of its file; the command line, the file and its errors follow.
Importing this imports no other part of googol, so that help is fast.
"""

from googol.experiments.config.adversarial import GAN, WGAN, WGANGp
from googol.experiments.config.baselines import CVAE, ExpertsVAE
from googol.experiments.config.common import ImageShape, wants_dequantized
from googol.experiments.config.likelihoods import Bernoulli, DiscretizedLogistic, Likelihood, LogitNormal, Normal
from googol.experiments.config.models import VAE, JointVAE, Model
from googol.experiments.config.networks import DCGAN, MLP, Conv, Network
from googol.experiments.config.posteriors import (
    IAF,
    Diagonal,
    Householder,
    Planar,
    Posterior,
    SparseNormal,
    Sylvester,
    VonMisesFisher,
)
from googol.experiments.config.priors import (
    Flow,
    HypersphericalUniform,
    JointPrior,
    NormalMixture,
    Prior,
    StandardNormal,
    TensorRing,
    VampPrior,
)

__all__ = [
    "CVAE",
    "DCGAN",
    "GAN",
    "IAF",
    "MLP",
    "VAE",
    "WGAN",
    "Bernoulli",
    "Conv",
    "Diagonal",
    "DiscretizedLogistic",
    "ExpertsVAE",
    "Flow",
    "Householder",
    "HypersphericalUniform",
    "ImageShape",
    "JointPrior",
    "JointVAE",
    "Likelihood",
    "LogitNormal",
    "Model",
    "Network",
    "Normal",
    "NormalMixture",
    "Planar",
    "Posterior",
    "Prior",
    "SparseNormal",
    "StandardNormal",
    "Sylvester",
    "TensorRing",
    "VampPrior",
    "VonMisesFisher",
    "WGANGp",
    "wants_dequantized",
]

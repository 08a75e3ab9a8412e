"""The choices of an experiment as plain data: what the command line offers, and what `config.yaml` says.

Each choice is a small frozen dataclass whose fields are the options and whose `build` makes the part. A new one
is such a class and its name in the union at the end of its file; the command line, the file and its errors follow.
Importing this imports no other part of googol, so that help is fast.
"""

from googol.experiments.config.adversarial import GAN, WGAN, WGANGP
from googol.experiments.config.autoencoders import HVAE, VAE, ConvHVAE, PixelCNN, PixelHVAE
from googol.experiments.config.baselines import CVAE, ExpertsVAE
from googol.experiments.config.common import ImageShape, wants_dequantized
from googol.experiments.config.likelihoods import (
    Autoregressive,
    Bernoulli,
    DiscretizedLogistic,
    Likelihood,
    LogitNormal,
    Normal,
)
from googol.experiments.config.models import JointVAE, Model
from googol.experiments.config.networks import DCGAN, MLP, Conv, GatedConv, Network
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
from googol.experiments.config.tabular import Tabular

__all__ = [
    "CVAE",
    "DCGAN",
    "GAN",
    "HVAE",
    "IAF",
    "MLP",
    "VAE",
    "WGAN",
    "WGANGP",
    "Autoregressive",
    "Bernoulli",
    "Conv",
    "ConvHVAE",
    "Diagonal",
    "DiscretizedLogistic",
    "ExpertsVAE",
    "Flow",
    "GatedConv",
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
    "PixelCNN",
    "PixelHVAE",
    "Planar",
    "Posterior",
    "Prior",
    "SparseNormal",
    "StandardNormal",
    "Sylvester",
    "Tabular",
    "TensorRing",
    "VampPrior",
    "VonMisesFisher",
    "wants_dequantized",
]

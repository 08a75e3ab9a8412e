"""Models: a few parts put together, with the bounds they are trained by."""

from googol.models.adversarial import AdversarialModel
from googol.models.conditional import ConditionalVAE, Draws, check_given
from googol.models.cvae import CVAE
from googol.models.experts_vae import ExpertsVAE
from googol.models.gan import GAN
from googol.models.joint_vae import JointVAE
from googol.models.pixelcnn import PixelCNN
from googol.models.tabular import Tabular
from googol.models.vae import VAE
from googol.models.wgan import WGAN, WGANGP

__all__ = [
    "CVAE",
    "GAN",
    "VAE",
    "WGAN",
    "WGANGP",
    "AdversarialModel",
    "ConditionalVAE",
    "Draws",
    "ExpertsVAE",
    "JointVAE",
    "PixelCNN",
    "Tabular",
    "check_given",
]

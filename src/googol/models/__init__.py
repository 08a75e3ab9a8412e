"""Models: a few parts put together, with the bounds they are trained by."""

from googol.models.conditional import ConditionalVAE, Draws, check_given
from googol.models.cvae import CVAE
from googol.models.experts_vae import ExpertsVAE
from googol.models.joint_vae import JointVAE
from googol.models.pixelcnn import PixelCNN
from googol.models.vae import VAE

__all__ = ["CVAE", "VAE", "ConditionalVAE", "Draws", "ExpertsVAE", "JointVAE", "PixelCNN", "check_given"]

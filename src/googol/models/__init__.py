"""Models: a few parts put together, with the bounds they are trained by."""

from googol.models.joint_vae import JointVAE
from googol.models.vae import VAE

__all__ = ["VAE", "JointVAE"]

"""Whether a joint model reads in the images that it generates what it generated them for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from googol.distributions import TensorRingDistribution
from googol.distributions.draws import picture

if TYPE_CHECKING:
    from googol.models.joint_vae import JointVAE


def log_read_back(model: JointVAE, joint: TensorRingDistribution, labels: TensorRingDistribution, count: int) -> Tensor:
    r"""The mean log-probability that generated images are read as the conditions they were generated for.

    .. math:: E_{p(y)\, p(z \mid y)\, q(z' \mid \hat x(z))} \log p(y \mid z')

    The gradient goes through the image and the code into the decoder and the ring, and not into the reader: that shall
    not learn to accept what is generated now.

    Args:
        model: The model.
        joint: Its p(z, y).
        labels: Its p(y).
        count: The number of images.

    Returns:
        A number, in nats.
    """
    drawn = labels.sample((count,))
    evidence = torch.cat([drawn.new_full((count, model.latents), torch.nan), drawn], -1)
    z = joint.condition(evidence).rsample()[:, : model.latents]
    shown = _Shown(model.likelihood)
    image = constant(shown, z) if model.freeze_autoencoder else shown(z)
    read = constant(model.posterior, image).rsample()
    return model.log_code_and_label(constant(model.prior), read, drawn)[1].mean()


def constant(module: nn.Module, *arguments: Tensor) -> Any:
    """What a module returns, with no gradient for its parameters."""
    return functional_call(module, {name: value.detach() for name, value in module.named_parameters()}, arguments)


class _Shown(nn.Module):
    """From codes to pictures, as one module."""

    def __init__(self, likelihood: nn.Module) -> None:
        super().__init__()
        self.likelihood = likelihood

    def forward(self, z: Tensor) -> Tensor:
        return picture(self.likelihood(z))

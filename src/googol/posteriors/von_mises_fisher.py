"""The posterior on the unit sphere."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize, softplus

from googol.distributions import hypersphere
from googol.distributions import von_mises_fisher as distribution

# What the encoder says is moved by this along the first axis before its direction is taken, so that zero, which an
# encoder does say, has a direction, and near it the derivative stays below 1 / _SHIFT.
_SHIFT = 1e-3


class VonMisesFisher(nn.Module):
    r"""q(z given x) = vMF(μ(x), κ(x)) on the unit sphere.

    .. math::
        (m, r) = \text{encoder}(x), \qquad \mu = \frac{m}{\lVert m \rVert}, \qquad \kappa = 1 + \log(1 + e^r)

    Its prior lies on the sphere too: :class:`~googol.priors.HypersphericalUniform`. An encoder that says zero means
    the first axis.

    References:
        Davidson et al., Hyperspherical Variational Auto-Encoders, 2018, https://arxiv.org/abs/1804.00891.

    Args:
        encoder: From x to vectors (…, latents + 1).
        latents: The number of dimensions of the space around the sphere, at least 2.

    Raises:
        ValueError: If ``latents`` is less than 2.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from googol.posteriors import VonMisesFisher
        >>> posterior = VonMisesFisher(nn.Linear(5, 3 + 1), 3)
        >>> posterior(torch.zeros(7, 5)).rsample().shape
        torch.Size([7, 3])
    """

    support = hypersphere.unit_sphere

    def __init__(self, encoder: nn.Module, latents: int):
        super().__init__()
        if latents < 2:
            raise ValueError(f"Expected latents to be at least 2; got {latents}.")
        self.encoder = encoder
        self.latents = latents

    @staticmethod
    def encoder_outputs(latents: int) -> int:
        """How many numbers the encoder gives: latents + 1."""
        return latents + 1

    def forward(self, x: Tensor, *above: Tensor) -> distribution.VonMisesFisher:
        """The distribution of z, event shape (latents,); given codes of layers above too, if the encoder takes them.

        Raises:
            ValueError: If the encoder's vectors do not have length latents + 1.
        """
        outputs = self.encoder(x, *above)
        if outputs.shape[-1] != self.latents + 1:
            raise ValueError(
                f"Expected encoder to give latents + 1 = {self.latents + 1} numbers; got {outputs.shape[-1]}."
            )
        outputs = outputs.to(torch.promote_types(outputs.dtype, torch.float32))  # Half precision has no unit vectors.
        shift = _SHIFT * torch.eye(1, self.latents, dtype=outputs.dtype, device=outputs.device)[0]
        said = outputs[..., :-1] + shift
        # Its squares neither over- nor underflow at a largest entry of one.
        said = said / said.detach().abs().amax(-1, keepdim=True)
        return distribution.VonMisesFisher(normalize(said, dim=-1), 1 + softplus(outputs[..., -1]), validate_args=False)

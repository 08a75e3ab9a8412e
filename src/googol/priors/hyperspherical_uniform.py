"""The prior that is uniform on the unit sphere."""

import torch
from torch import Tensor, nn

from googol.distributions import hypersphere


class HypersphericalUniform(nn.Module):
    r"""p(z) uniform on the unit sphere :math:`\lVert z \rVert = 1` in as many dimensions as there are latents.

    Nothing to learn. Its posterior lies on the sphere too: :class:`~googol.posteriors.VonMisesFisher`.

    References:
        Davidson et al., Hyperspherical Variational Auto-Encoders, 2018, https://arxiv.org/abs/1804.00891.

    Args:
        latents: The number of dimensions of the space around the sphere, at least 2.

    Raises:
        ValueError: If ``latents`` is less than 2.

    Example:
        >>> import torch
        >>> from googol.priors import HypersphericalUniform
        >>> HypersphericalUniform(3)().log_prob(torch.tensor([0.0, 1.0, 0.0]))  # −log 4π
        tensor(-2.5310)
    """

    support = hypersphere.unit_sphere
    zero: Tensor

    def __init__(self, latents: int):
        super().__init__()
        if latents < 2:
            raise ValueError(f"Expected latents to be at least 2; got {latents}.")
        self.latents = latents
        # It knows the module's device and precision.
        self.register_buffer("zero", torch.zeros(()), persistent=False)

    def forward(self) -> hypersphere.HypersphericalUniform:
        """The distribution of z, event shape (latents,)."""
        return hypersphere.HypersphericalUniform(
            self.latents, dtype=self.zero.dtype, device=self.zero.device, validate_args=False
        )

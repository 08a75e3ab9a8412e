"""The likelihood of correlated grey levels."""

import math
from typing import ClassVar, Literal, get_args

import torch
from torch import Tensor, distributions, nn
from torch.nn.functional import softplus

from googol.distributions import SparseNormal, logit_normal
from googol.distributions.sparse_normal import Structure

Precision = Literal["diagonal", "chain", "grid"]
# In the middle, a grey level is 1/64 wide in logits, and the noise of dequantizing has a deviation of 0.0045.
MINIMUM_SCALE = 1e-3


class LogitNormal(nn.Module):
    r"""p(x given z) with normal logits of the pixels, neighbours in the image correlated or not.

    .. math:: \log p(x \mid z) = \log N\left(\log \frac{x}{1 - x} \,\middle|\, \mu, P^{-1}\right)
        - \sum_i \log x_i (1 - x_i)

    The precision P is diagonal; that of a chain, which goes through all rows of the image one after the other; or that
    of the extended grid over its height and width. Channels are independent of each other given z. Scales are
    log(1 + e^b) + 0.001 for outputs b of the decoder, and the links are those of `SparseNormal.bounded`.

    A pixel of 8 bits must be dequantized: x = (255 g + u) / 256 for its grey level g in [0, 1] and u uniform on (0, 1).
    Then log p(x given z) − channels · height · width · log 256 is, in expectation over u, a lower bound on the
    log-probability of the image. The values 0 and 1 are refused.

    References:
        Pește & Malagò, Variational Autoencoders Endowed with Richer but Still Computationally Efficient Statistical
        Models, "Graphical Models for the Observed Variable". Uria et al., RNADE, 2013, on dequantizing.

    Args:
        decoder: From z to (…, k · channels, height, width), where k is 2 for a diagonal precision, 3 for a chain and 4
            for a grid: all locations first, then scales, links to the right, links below.
        precision: ``"diagonal"``, ``"chain"`` or ``"grid"``.

    Example:
        >>> import torch
        >>> from googol.likelihoods import LogitNormal
        >>> from googol.networks import MLPDecoder
        >>> k = LogitNormal.outputs_per_channel(precision="grid")
        >>> likelihood = LogitNormal(MLPDecoder(3, (k * 1, 8, 8)), precision="grid")
        >>> likelihood(torch.zeros(5, 3)).log_prob((255 * torch.rand(5, 1, 8, 8) + 0.5) / 256).shape
        torch.Size([5])
    """

    log_bin: ClassVar[float | None] = -math.log(256)
    dequantized: ClassVar[bool] = True

    def __init__(self, decoder: nn.Module, *, precision: Precision = "diagonal"):
        super().__init__()
        self.numbers = self.outputs_per_channel(precision=precision)
        self.decoder = decoder
        self.precision = precision

    @staticmethod
    def outputs_per_channel(*, precision: Precision = "diagonal") -> int:
        """The channels that the decoder gives for each of the image's: 2, 3 and 4."""
        if precision not in get_args(Precision):
            raise ValueError(f"Expected precision to be one of {', '.join(get_args(Precision))}; got {precision!r}.")
        return {"diagonal": 2, "chain": 3, "grid": 4}[precision]

    def forward(self, z: Tensor) -> logit_normal.LogitNormal:
        """The distribution of x, event shape (channels, height, width).

        Raises:
            ValueError: If the number of the decoder's channels is no multiple of what each of the image's needs.
        """
        outputs = self.decoder(z)
        if outputs.shape[-3] % self.numbers:
            raise ValueError(
                f"Expected decoder to give {self.numbers} * channels for precision {self.precision}; "
                f"got {outputs.shape[-3]} channels."
            )
        # Half precision does not tell 1 from the grey level before it.
        outputs = outputs.to(torch.promote_types(outputs.dtype, torch.float32))
        loc, raw, *links = outputs.chunk(self.numbers, -3)
        scale = softplus(raw) + MINIMUM_SCALE
        if self.precision == "diagonal":
            normal = distributions.Normal(loc, scale, validate_args=False)
            return logit_normal.LogitNormal(distributions.Independent(normal, 3, validate_args=False))
        structure: Structure = "chain" if self.precision == "chain" else "extended-grid"
        channels = SparseNormal.bounded(structure, loc, scale, *links, validate_args=False)
        return logit_normal.LogitNormal(distributions.Independent(channels, 1, validate_args=False), loc.shape[-3:])

"""The prior that is a mixture of normal distributions."""

from __future__ import annotations

import math
import warnings

import torch
from torch import Tensor, nn
from torch.distributions import Independent, Normal

from googol.distributions import Mixture
from googol.networks.layers import check_at_least_one

# Enough codes of the training data to place some hundred components.
_CODES = 20_000
_STEPS = 20
# Of the variance; a component may have started from one code alone.
_MINIMUM_VARIANCE = 1e-4


class NormalMixture(nn.Module):
    r"""p(z) = Σ_k w_k N(μ_k, diag σ_k²), where weights, means and scales are all learned.

    .. math::
        p(z) = \sum_{k=1}^K w_k \prod_j \mathcal N(z_j; \mu_{kj}, \sigma_{kj}^2)

    It starts with equal weights, standard normal means and equal scales, or from the codes of the training data
    (:meth:`fit_initial`).

    References:
        The GMM prior of Kuznetsov et al., A Prior of a Googol Gaussians, 2019, tables 1 and 2.

    Args:
        latents: The number of latent variables.
        components: The number K of components, at least 1.
        scale: The standard deviation that all components start with, positive.

    Raises:
        ValueError: If ``components`` is less than 1, or ``scale`` is not positive.

    Example:
        >>> import torch
        >>> from googol.priors import NormalMixture
        >>> prior = NormalMixture(3, components=10)
        >>> prior().log_prob(torch.zeros(5, 3)).shape
        torch.Size([5])
    """

    def __init__(self, latents: int, *, components: int = 100, scale: float = 1.0):
        super().__init__()
        check_at_least_one(latents=latents, components=components)
        if not 0 < scale < math.inf:
            raise ValueError(f"scale must be a positive number, got {scale}")
        self.logits = nn.Parameter(torch.zeros(components))
        self.loc = nn.Parameter(torch.randn(components, latents))
        self.log_scale = nn.Parameter(torch.full((components, latents), math.log(scale)))

    def forward(self) -> Mixture:
        """The distribution of z, event shape (latents,)."""
        components = Independent(Normal(self.loc, self.log_scale.exp(), validate_args=False), 1, validate_args=False)
        return Mixture(self.logits, components, validate_args=False)

    def check_codes(self, number: int) -> None:
        """Raises a ValueError if such a number of codes is too few to start from."""
        if number < (components := len(self.logits)):
            raise ValueError(f"Expected at least components = {components} codes to start from; got {number}.")

    @torch.no_grad()
    def fit_initial(self, samples: Tensor) -> None:
        """Starts from data: a few steps of expectation-maximisation on some of the samples.

        Args:
            samples: Codes, shape ``(B, latents)``, at least as many as components.

        Raises:
            ValueError: If the shape is another, or there are fewer rows than components.
        """
        from sklearn.exceptions import ConvergenceWarning  # slow to import
        from sklearn.mixture import GaussianMixture

        components, latents = self.loc.shape
        if samples.dim() != 2 or samples.shape[1] != latents:
            raise ValueError(f"Expected samples to be rows of {latents} numbers; got shape {tuple(samples.shape)}.")
        self.check_codes(len(samples))
        codes = samples[torch.randperm(len(samples))[:_CODES].to(samples.device)].double().cpu()
        seed = int(torch.randint(2**31, ()))  # so that the one seed of a run decides this, too
        mixture = GaussianMixture(
            components, covariance_type="diag", max_iter=_STEPS, reg_covar=_MINIMUM_VARIANCE, random_state=seed
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # Training goes on from there.
            mixture.fit(codes.numpy())
        self.logits.copy_(torch.from_numpy(mixture.weights_).log())
        self.loc.copy_(torch.from_numpy(mixture.means_))
        self.log_scale.copy_(torch.from_numpy(mixture.covariances_).log() / 2)

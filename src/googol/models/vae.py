"""The variational autoencoder."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Independent, Normal

from googol.distributions.draws import check_count, mean_code, picture, sample_and_log_prob
from googol.distributions.hypersphere import require_same_space
from googol.priors import StandardNormal

Batches = Callable[[], Iterator[tuple[Tensor, Tensor]]]


class VAE(nn.Module):
    r"""A latent variable model :math:`p(z) p(x \mid z)` with an approximate posterior :math:`q(z \mid x)`.

    Any prior goes with any posterior and any likelihood: each is a module that returns a distribution.

    Training can start in two ways that help rich priors. For ``warmup_epochs`` the codes have a standard normal prior,
    and then the model's own starts from the codes of the training data. And over ``kl_warmup_epochs`` the weight of the
    divergence from the prior rises to 1, so that the codes come into use before they are asked to be simple. Or some
    nats of it are free, so that a decoder that could do without codes still learns to use them. Bounds and validation
    have the weight 1, and nothing is free there.

    Where the prior is a standard normal, and the posterior knows its divergence from that in closed form
    (:class:`~googol.posteriors.SparseNormal`), the loss has it in place of its estimate by one code: the same mean with
    less noise. Bounds are estimated by the codes that they are of.

    With a :class:`~googol.likelihoods.Hierarchical` likelihood the codes have several layers; z, the prior and the
    posterior are those of the top. The divergence is then a sum over layers, each of which has its free nats.

    Args:
        prior: Called without arguments, returns p(z).
        posterior: Called with x, returns q(z given x).
        likelihood: Called with z, returns p(x given z).
        warmup_epochs: How many epochs with a standard normal prior come first. In a training loop of one's own,
            :meth:`on_epoch_start` has to be called when an epoch begins: it is what ends the warm-up.
        kl_warmup_epochs: Over how many epochs the weight of the divergence rises.
        free_bits: How many nats of the mean divergence of each layer of codes cost nothing in training.

    Raises:
        ValueError: One of prior and posterior lives on the unit sphere and the other does not, or a number is negative.

    References:
        Kingma & Welling, Auto-Encoding Variational Bayes, 2014; Bowman et al., Generating Sentences from a Continuous
        Space, 2016, on the rising weight; Kingma et al., Improving Variational Inference with Inverse Autoregressive
        Flow, 2016, appendix C.8, on free bits.

    Example:
        >>> import torch
        >>> from googol.likelihoods import Bernoulli
        >>> from googol.networks import MLPDecoder, MLPEncoder
        >>> from googol.posteriors import DiagonalNormal
        >>> from googol.priors import StandardNormal
        >>> shape = (1, 8, 8)
        >>> posterior = DiagonalNormal(MLPEncoder(shape, 2 * 3), 3)
        >>> vae = VAE(StandardNormal(3), posterior, Bernoulli(MLPDecoder(3, shape)))
        >>> vae.elbo(torch.rand(5, *shape)).shape
        torch.Size([5])
        >>> vae.sample(2).shape
        torch.Size([2, 1, 8, 8])
    """

    prior: Any  # an nn.Module; it may have start_from(images) or fit_initial(codes)
    started: Tensor
    kl_weight: Tensor

    def __init__(
        self,
        prior: nn.Module,
        posterior: nn.Module,
        likelihood: nn.Module,
        *,
        warmup_epochs: int = 0,
        kl_warmup_epochs: int = 0,
        free_bits: float = 0.0,
    ) -> None:
        super().__init__()
        require_same_space(prior, posterior)
        if getattr(prior, "support", None) is not None and warmup_epochs:
            raise ValueError(
                f"warmup_epochs must be 0 on the unit sphere, where no code is normal, got {warmup_epochs}"
            )
        numbers = {"warmup_epochs": warmup_epochs, "kl_warmup_epochs": kl_warmup_epochs, "free_bits": free_bits}
        for name, number in numbers.items():
            if not number >= 0:
                raise ValueError(f"{name} must not be negative, got {number}")
        self.prior = prior
        self.posterior = posterior
        self.likelihood = likelihood
        self.warmup_epochs = warmup_epochs
        self.kl_warmup_epochs = kl_warmup_epochs
        self.free_bits = free_bits
        # Parts of the state, so that training can be resumed: whether the prior is in use yet, and the weight.
        self.register_buffer("started", torch.tensor(warmup_epochs == 0))
        self.register_buffer("kl_weight", torch.tensor(1.0))
        self._started_when: tuple[Tensor | None, int, bool] = None, 0, False

    # -- training

    def on_epoch_start(self, epoch: int, batches: Batches) -> bool:
        """Sets the weight of the divergence, and starts the prior from training data when the warm-up is over.

        Args:
            epoch: The epoch that begins, from 0.
            batches: Gives the training data in batches ``(x, y)``.

        Returns:
            Whether the prior's parameters have been set anew.
        """
        if self.kl_warmup_epochs:
            self.kl_weight.fill_(min(1.0, (epoch + 1) / self.kl_warmup_epochs))
        if epoch != self.warmup_epochs:
            return False
        starts = self._start_prior(batches)
        self.started.fill_(True)
        return starts

    @torch.no_grad()
    def _start_prior(self, batches: Batches) -> bool:
        """Starts a prior made of training images from some, and after a warm-up any other that can be from codes."""
        if hasattr(self.prior, "start_from"):
            self.prior.start_from(self._encoder_input(x, y) for x, y in batches())
        elif self.warmup_epochs and hasattr(self.prior, "fit_initial"):
            self.prior.fit_initial(torch.cat([self._initial_sample(x, y) for x, y in batches()]))
        else:
            return False
        return True

    def _encoder_input(self, x: Tensor, y: Tensor) -> Tensor:
        """What the encoder sees."""
        return x

    def _initial_sample(self, x: Tensor, y: Tensor) -> Tensor:
        """What the prior starts from: codes of training data."""
        return self.posterior(x).sample()

    def loss(self, x: Tensor, y: Tensor | None = None) -> dict[str, Tensor]:
        """The negative ELBO, averaged over the batch, and its two terms; labels ``y`` play no part.

        Of several layers of codes, the divergence of each comes too, the top one first.
        """
        log_prior = self._log_prior_in_training()
        _, log_likelihood, divergences = self._layers(x, (), log_prior, closed=self._closed_divergence())
        return self._bound_terms(log_likelihood, divergences)

    def _bound_terms(self, log_likelihood: Tensor, divergences: list[Tensor]) -> dict[str, Tensor]:
        """The negative bound, averaged over the batch, in training with free nats and the weight of the divergence."""
        reconstruction, each = -log_likelihood.mean(), [divergence.mean() for divergence in divergences]
        kl = torch.stack(each).sum()
        charged = kl
        if self.training and self.free_bits:
            charged = torch.stack(each).clamp(min=self.free_bits).sum()
        if self.training and self.kl_warmup_epochs:
            charged = self.kl_weight * charged
        terms = {"loss": reconstruction + charged, "reconstruction": reconstruction, "kl": kl}
        if len(each) > 1:
            terms |= {f"kl_{number}": term for number, term in enumerate(each, 1)}
        return terms

    def _log_prior_in_training(self) -> Callable[[Tensor], Tensor]:
        """log p(z), during the warm-up that of a standard normal prior."""
        return self.log_prior if self._has_started() else _log_standard_normal

    def _closed_divergence(self) -> Callable[[Any], Tensor] | None:
        """What gives KL(q ‖ p) of the top layer without a draw, if p is a standard normal and the posterior has it."""
        standard = isinstance(self.prior, StandardNormal) or not self._has_started()
        return getattr(self.posterior, "kl_to_standard_normal", None) if standard else None

    def _has_started(self) -> bool:
        """The value of ``started``, which is read when it has been written to: a GPU would be waited for."""
        if torch.compiler.is_compiling() or self.started.is_inference():  # a compiler takes what is kept for constant
            return bool(self.started)
        tensor, version, value = self._started_when
        if tensor is not self.started or version != self.started._version:
            value = bool(self.started)
            self._started_when = self.started, self.started._version, value
        return value

    def _terms(
        self, x: Tensor, sample_shape: tuple[int, ...], log_prior: Callable[[Tensor], Tensor]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Codes drawn from q, their log p(x given z), and their log q(z given x) − log p(z), that of all layers."""
        z, log_likelihood, divergences = self._layers(x, sample_shape, log_prior)
        return z, log_likelihood, torch.stack(divergences).sum(0)

    def _layers(
        self,
        x: Tensor,
        sample_shape: tuple[int, ...],
        log_prior: Callable[[Tensor], Tensor],
        *,
        closed: Callable[[Any], Tensor] | None = None,
    ) -> tuple[Tensor, Tensor, list[Tensor]]:
        """Codes of the top layer drawn from q, log p(x given all codes), and log q − log p of each layer.

        If ``closed`` gives the expectation of that of the top layer from q, that comes instead.
        """
        q = self.posterior(x)
        if closed is None:
            z, log_q = sample_and_log_prob(q, sample_shape)
            divergence = log_q - log_prior(z)
        else:
            z, divergence = q.rsample(sample_shape), closed(q)
        log_likelihood, below = likelihood_and_divergences(self.likelihood(z), x)
        if log_likelihood.shape != divergence.shape:
            raise ValueError(
                f"likelihood must give log p(x given z) of whole images, of the shape {tuple(divergence.shape)}; got "
                f"{tuple(log_likelihood.shape)}: a distribution of single pixels belongs into torch.distributions."
                "Independent(pixels, 3)"
            )
        return z, log_likelihood, [divergence, *below]

    # -- bounds

    def log_prior(self, z: Tensor) -> Tensor:
        """log p(z).

        Raises:
            ValueError: The codes have another length than those of the prior.
        """
        prior = self.prior()
        if prior.event_shape != z.shape[-1:]:
            raise ValueError(
                f"expected a prior of the posterior's {z.shape[-1]} latents, got one of {tuple(prior.event_shape)}"
            )
        log_prior: Tensor = prior.log_prob(z)
        return log_prior

    def elbo(self, x: Tensor) -> Tensor:
        r"""The evidence lower bound :math:`\log p(x \mid z) + \log p(z) - \log q(z \mid x)` with one z a row.

        Args:
            x: Shape ``(B, channels, height, width)``.

        Returns:
            Shape ``(B,)``, in nats.
        """
        return self.importance_bound(x, 1)

    def elbo_terms(self, x: Tensor) -> tuple[Tensor, Tensor]:
        r"""The two terms of the bound with one z a row, :math:`\log p(x \mid z)` and
        :math:`\log q(z \mid x) - \log p(z)`, each of shape ``(B,)``, in nats; their difference is the bound.
        """
        return self._terms(x, (), self.log_prior)[1:]

    def importance_bound(self, x: Tensor, k: int) -> Tensor:
        r"""The importance-weighted bound :math:`\log \frac1k \sum_i p(x \mid z_i) p(z_i) / q(z_i \mid x)`.

        It rises with k to log p(x) (Burda et al., Importance Weighted Autoencoders, 2016, equation 8).

        Args:
            x: Shape ``(B, channels, height, width)``.
            k: The number of draws from the posterior, at least 1.

        Returns:
            Shape ``(B,)``, in nats.
        """
        if k < 1:
            raise ValueError(f"k must be at least 1, got {k}")
        _, log_likelihood, kl = self._terms(x, (k,), self.log_prior)
        return (log_likelihood - kl).logsumexp(0) - math.log(k)

    # -- questions

    def reconstruct(self, x: Tensor) -> Tensor:
        """The mean image decoded from the mean code of ``x``, or from a code drawn where the mean is not known."""
        return picture(self.likelihood(mean_code(self.posterior(x))), x)

    @torch.no_grad()
    def sample(self, n: int) -> Tensor:
        """n images: the means of p(x given z) for z drawn from the prior, or images where these are not known.

        Raises:
            ValueError: n is negative.
        """
        check_count(n)
        return picture(self.likelihood(self.prior().sample((n,))))


def likelihood_and_divergences(p: Any, x: Tensor) -> tuple[Tensor, list[Tensor]]:
    """log p(x), or, where further codes are between, log p(x given these) and the divergence of each layer of them."""
    return p.layers(x) if hasattr(p, "layers") else (p.log_prob(x), [])


def _log_standard_normal(z: Tensor) -> Tensor:
    return Independent(Normal(torch.zeros_like(z), 1.0, validate_args=False), 1).log_prob(z)

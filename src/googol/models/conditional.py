"""What the variational autoencoders have in common that know conditions, any of which may be missing."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from googol.distributions import Event
from googol.distributions.draws import check_count
from googol.models.vae import VAE, Batches
from googol.networks import ConditionCoding


class Draws(NamedTuple):
    r"""k draws from the approximate posterior of each of B objects, and what they say.

    Attributes:
        log_likelihood: :math:`\log p(x \mid \cdot)`, ``(k, B)``.
        divergence: The log-density that the draws come from, less that of the model without x, ``(k, B)``.
        answers: Tells, for each condition, p(y_j given the draw), ``(k, B, N_j)``, or the mean of a number,
            ``(k, B, 1)``.

    Example:
        >>> import torch
        >>> draws = Draws(torch.tensor([[-3.0]]), torch.tensor([[1.0]]), list)
        >>> draws.log_weights
        tensor([[-4.]])
    """

    log_likelihood: Tensor
    divergence: Tensor
    answers: Callable[[], list[Tensor]]

    @property
    def log_weights(self) -> Tensor:
        """Their logarithmic importance weights."""
        return self.log_likelihood - self.divergence


class ConditionalVAE(VAE):
    """A variational autoencoder of objects x and c conditions y, any of which may be missing; NaN = not observed.

    A subclass says how codes are drawn for an object (`_draw`) and images for conditions (`generate`), and has a
    `loss`; bounds and answers follow. One that knows the distribution of its conditions has a `label_distribution`,
    which answers questions about them and takes ranges and sets.

    Attributes:
        latents: The number d of codes.
        conditions: The number c of conditions.
    """

    latents: int
    conditions: int

    # -- bounds

    @abstractmethod
    def _draw(self, x: Tensor, k: int, y: Tensor) -> Draws:
        """k draws of what is open given each x and its observed conditions ``(B, c)``."""

    def _observed(self, x: Tensor, y: Tensor | None) -> Tensor:
        """The conditions of each x, ``(B, c)``; all NaN for None."""
        shape = len(x), self.conditions
        if y is None:
            return x.new_full(shape, math.nan)
        if y.shape != shape:
            raise ValueError(f"y must have the shape {shape}, got {tuple(y.shape)}")
        return y.to(torch.promote_types(x.dtype, torch.float32))  # half precision takes neighbours for equal

    def elbo(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """The lower bound of log p(x, y_ob) with one draw a row, shape ``(B,)``, in nats.

        Args:
            x: Shape ``(B, channels, height, width)``.
            y: Conditions ``(B, c)``; NaN = not observed, None = none is.
        """
        return self.importance_bound(x, 1, y)

    def elbo_terms(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The two terms of the bound of log p(x) with one draw a row; see :meth:`VAE.elbo_terms`."""
        draws = self._draw(x, 1, self._observed(x, None))
        return draws.log_likelihood[0], draws.divergence[0]

    def importance_bound(self, x: Tensor, k: int, y: Tensor | None = None) -> Tensor:
        """The importance-weighted bound of log p(x, y_ob), which rises to it with k; shape ``(B,)``, in nats.

        Args:
            x: Shape ``(B, channels, height, width)``.
            k: The number of draws for each x, at least 1.
            y: Conditions ``(B, c)``; NaN = not observed, None = none is.
        """
        return self.importance_draws(x, k, y).log_weights.logsumexp(0) - math.log(k)

    def importance_draws(self, x: Tensor, k: int, y: Tensor | None = None) -> Draws:
        """The draws that the bound is made of, with their weights.

        Raises:
            ValueError: ``k`` is below 1.
        """
        if k < 1:
            raise ValueError(f"k must be at least 1, got {k}")
        return self._draw(x, k, self._observed(x, y))

    # -- questions

    @abstractmethod
    def generate(
        self, n: int, given: Tensor | None = None, *, within: Mapping[int, Event] | None = None
    ) -> tuple[Tensor, Tensor]:
        """n images under any subset of the conditions, and their conditions: the given ones, the open ones drawn.

        Args:
            n: The number of images.
            given: Conditions of shape ``(c,)``, or ``(n, c)`` with a pattern for each image; NaN = left open.
            within: Intervals and sets in which others lie, by the number of the condition.

        Returns:
            Means of p(x given what was drawn), ``(n, channels, height, width)``, and conditions ``(n, c)``.

        Raises:
            ValueError: ``given`` has another shape, what is given cannot be, or the model takes no intervals and sets.
        """

    def sample(self, n: int, given: Tensor | None = None, **options: Any) -> Tensor:
        """The n images that :meth:`generate` gives, which takes the same arguments."""
        return self.generate(n, given, **options)[0]

    @abstractmethod
    def impute(self, x: Tensor, y: Tensor | None = None, *, draws: int = 8) -> list[Tensor]:
        """p(y_j given x and the observed conditions) of every condition.

        Args:
            x: Shape ``(B, channels, height, width)``.
            y: Conditions known already, ``(B, c)``; NaN = not observed.
            draws: The number of codes drawn for each x.

        Returns:
            For each condition the probabilities of its values, ``(B, N_j)``; for a number its mean, ``(B, 1)``, or the
            probabilities of its components.

        Raises:
            ValueError: ``y`` has another shape, as in `loss` and in the bounds.
        """

    @torch.no_grad()
    def importance_impute(self, x: Tensor, k: int, y: Tensor | None = None) -> tuple[Tensor, list[Tensor]]:
        r"""The bound of :meth:`importance_bound`, and from the same draws :math:`p(y_j \mid x, y_{ob})`.

        .. math:: p(y_j \mid x, y_{ob}) \approx \frac{\sum_l w_l\, p(y_j \mid z_l, y_{ob})}{\sum_l w_l}

        Where :meth:`impute` takes the approximate posterior as it is, the importance weights w lead to the exact answer
        as k grows.

        Args:
            x: Shape ``(B, channels, height, width)``.
            k: The number of draws for each x, at least 1.
            y: Conditions known already, ``(B, c)``; NaN = not observed.

        Returns:
            The bound of log p(x, y_ob) in nats, ``(B,)``, and the answers in the form of :meth:`impute`.
        """
        draws = self.importance_draws(x, k, y)
        weights = draws.log_weights.softmax(0)
        averages = [torch.einsum("kb,kbn->bn", weights, answer) for answer in draws.answers()]
        return draws.log_weights.logsumexp(0) - math.log(k), averages


class CodedConditionsVAE(ConditionalVAE):
    """One whose networks see or tell the conditions, in the form that its posterior's ``coding`` gives them."""

    posterior: Any

    def __init__(
        self, prior: nn.Module, posterior: nn.Module, likelihood: nn.Module, *, warmup_epochs: int = 0
    ) -> None:
        super().__init__(prior, posterior, likelihood, warmup_epochs=warmup_epochs)
        self.latents, self.conditions = self.posterior.latents, len(self.coding)

    @property
    def coding(self) -> ConditionCoding:
        """How networks see the conditions."""
        return self.posterior.coding

    def on_epoch_start(self, epoch: int, batches: Batches) -> bool:
        """Takes the scales of numbers from the training data before anything else; see :meth:`VAE.on_epoch_start`."""
        if epoch == 0:
            self._start_conditions(torch.cat([y for _, y in batches()]))
        return super().on_epoch_start(epoch, batches)

    def _start_conditions(self, y: Tensor) -> None:
        """Starts what depends on the conditions ``(n, c)`` of the training data alone."""
        self.coding.learn([y])

    def _given(self, n: int, given: Tensor | None) -> Tensor:
        return check_given(given, n, self.conditions).to(self.coding.loc)

    def _answers(self, y: Tensor, said: list[Tensor]) -> list[Tensor]:
        """Answers about the conditions, with the certain ones for those that are known already."""
        return [
            torch.where(sure.isnan(), each, sure.to(each))
            for sure, each in zip(self.coding.answers(y), said, strict=True)
        ]


def check_draws(draws: int) -> None:
    """Raises a ValueError if a number of draws is below 1."""
    if draws < 1:
        raise ValueError(f"draws must be at least 1, got {draws}")


def check_given(given: Tensor | None, n: int, conditions: int) -> Tensor:
    """Conditions that are given of n objects, one row for all or a row for each, as ``(n, c)``; NaN = left open.

    Args:
        given: Shape ``(c,)`` or ``(n, c)``; None leaves all of them open.
        n: The number of objects.
        conditions: The number c of conditions.

    Raises:
        ValueError: The shape is another, or n is negative.

    Example:
        >>> import torch
        >>> check_given(torch.tensor([1.0, float("nan")]), 3, 2).shape
        torch.Size([3, 2])
        >>> check_given(None, 2, 1)
        tensor([[nan],
                [nan]])
    """
    check_count(n)
    if given is None:
        return torch.full((n, conditions), math.nan)
    if given.shape not in {(conditions,), (n, conditions)}:
        raise ValueError(f"given must have the shape ({conditions},) or ({n}, {conditions}), got {tuple(given.shape)}")
    return given.expand(n, -1)

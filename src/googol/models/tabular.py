"""The joint distribution of the columns of a table."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from googol.distributions import Event, TensorRing, TensorRingDistribution
from googol.distributions.draws import check_count
from googol.models.conditional import check_given
from googol.models.vae import Batches

# Numbers of a column have a common number of decimals up to this, or none.
_DECIMALS = 4
# The least width of a component beside the spread of its column.
_NARROWEST = 1e-3


class Tabular(nn.Module):
    r"""p(y) of the c columns of a table, numbers and categories, any of which may be missing in any row.

    It maximises the exact log-likelihood of what is known of each row, the rest summed out:

    .. math:: \frac1B \sum_i \log p(y_{i, ob}), \qquad
        p(y) = \frac1Z \operatorname{Tr} \prod_j \sum_s p(y_j \mid s) \, Q_j[s]

    Training starts from the data (:meth:`~googol.distributions.TensorRing.fit_initial`). Numbers of a table are
    rounded: no component gets narrower than that makes them (a unit of the last decimal over :math:`\sqrt{12}`), and
    rows that are drawn have as many decimals.

    Args:
        prior: A ring or train over the columns.

    Example:
        >>> import torch
        >>> from googol.distributions import Categorical, Normal, TensorRing
        >>> model = Tabular(TensorRing([Normal(5), Normal(5), Categorical(3)], rank=4))
        >>> model.sample(6, given=torch.tensor([0.5, float("nan"), float("nan")])).shape
        torch.Size([6, 3])
        >>> row = torch.tensor([[0.5, float("nan"), 1.0]])
        >>> model.log_prob(row).shape, [answer.shape[1] for answer in model.impute(None, row)]
        (torch.Size([1]), [1, 1, 3])
    """

    exact: ClassVar[bool] = True
    prior: TensorRing
    units: Tensor
    narrowest: Tensor

    def __init__(self, prior: TensorRing) -> None:
        super().__init__()
        self.prior = prior
        self.conditions = len(prior)
        # How many units of the last decimal make 1, in each column, 0 if there is no last; the least widths.
        self.register_buffer("units", torch.zeros(self.conditions))
        self.register_buffer("narrowest", torch.zeros(self.conditions))

    # -- training

    @torch.no_grad()
    def on_epoch_start(self, epoch: int, batches: Batches) -> bool:
        """Starts the distribution from the training data, before the first epoch.

        Returns:
            Whether it did.
        """
        if epoch > 0:
            return False
        rows = torch.cat([y for _, y in batches()])
        self.prior.fit_initial(rows)
        for j, variable in enumerate(self.prior.variables):
            if not variable.is_discrete:
                seen = rows[~rows[:, j].isnan(), j].double()
                self.units[j] = units = last_decimal(seen)
                self.narrowest[j] = _NARROWEST * seen.std(correction=0)
                if units:
                    self.narrowest[j].clamp_(min=1 / (units * math.sqrt(12)))
        self.on_update()
        return True

    def on_update(self, player: str | None = None) -> None:
        """Keeps the components as wide as rounding makes them."""
        self.prior.widen(self.narrowest)

    def loss(self, x: Any, y: Tensor) -> dict[str, Tensor]:
        """The mean of −log p(y_ob); x, of which a table has nothing, plays no part."""
        return {"loss": -self.log_prob(y).mean()}

    # -- questions

    def label_distribution(self) -> TensorRingDistribution:
        """p(y), which answers all questions."""
        return self.prior()

    def log_prob(self, y: Tensor) -> Tensor:
        """log p of what is known of rows ``(B, c)``, NaN = missing; shape ``(B,)``, in nats."""
        return self.prior().log_prob(y)

    def log_likelihood(self, x: Any, y: Tensor) -> Tensor:
        """:meth:`log_prob` of the rows y."""
        return self.log_prob(y)

    @torch.no_grad()
    def sample(self, n: int, given: Tensor | None = None, *, within: Mapping[int, Event] | None = None) -> Tensor:
        """n rows ``(n, c)`` with what is given, the rest drawn and rounded as the data are.

        Args:
            n: The number of rows.
            given: Of shape ``(c,)``, or ``(n, c)`` with a pattern for each row; NaN = left open.
            within: Intervals and sets in which others lie, by the number of the column.

        Raises:
            ValueError: ``given`` has another shape, or what is given cannot be.
        """
        check_count(n)
        check_given(given, n, self.conditions)
        shape = (n,) if given is None or given.dim() == 1 else ()
        evidence = None if given is None else given.to(self.units)
        drawn = self.prior().condition(evidence, within=within or {}).sample(shape)
        rounded = torch.where(self.units > 0, (drawn * self.units).round() / self.units, drawn)
        for j, event in (within or {}).items():
            inside = torch.tensor([value in event for value in rounded[:, j].tolist()], device=rounded.device)
            rounded[:, j] = torch.where(inside, rounded[:, j], drawn[:, j])
        return rounded if evidence is None else torch.where(evidence.isnan(), rounded, evidence)

    def generate(
        self, n: int, given: Tensor | None = None, *, within: Mapping[int, Event] | None = None
    ) -> tuple[Tensor, Tensor]:
        """n images of no pixels, and the rows that :meth:`sample` gives, as models of images and conditions do."""
        rows = self.sample(n, given, within=within)
        return rows.new_empty(n, 0, 0, 0), rows

    @torch.no_grad()
    def impute(self, x: Any, y: Tensor) -> list[Tensor]:
        """p(y_j given what is known of a row) of every column.

        Args:
            x: Nothing.
            y: Rows ``(B, c)``, NaN = missing.

        Returns:
            For each column the probabilities of its values, ``(B, N_j)``, or the mean of a number, ``(B, 1)``.
        """
        given = self.prior().condition(y)
        probs, mean = given.component_probs(), given.mean
        return [
            probs[:, j, : v.components] if v.is_discrete else mean[:, j : j + 1]
            for j, v in enumerate(self.prior.variables)
        ]

    @torch.no_grad()
    def impute_each(self, y: Tensor) -> list[Tensor]:
        """p(y_j given what is known of the other columns) of every column, as :meth:`impute` gives them."""
        joint, found = self.prior(), []
        for j, variable in enumerate(self.prior.variables):
            others = y.clone()
            others[:, j] = math.nan
            given = joint.condition(others).marginal([j])
            found.append(given.component_probs()[:, 0, : variable.components] if variable.is_discrete else given.mean)
        return found


def last_decimal(values: Tensor) -> int:
    """How many units of the last decimal make 1, from 1 to 10,000, or 0 where values have more than four decimals.

    Example:
        >>> import torch
        >>> last_decimal(torch.tensor([3.0, 41.0])), last_decimal(torch.tensor([0.25, 7.1]))
        (1, 100)
    """
    values = values.double()
    exact = 1.2e-7 * values.abs().clamp_min(1e-3)  # of single precision
    for decimals in range(_DECIMALS + 1):
        units = 10**decimals
        if bool(((values - (values * units).round() / units).abs() <= exact).all()):
            return units
    return 0

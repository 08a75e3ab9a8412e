"""The tensor ring (or train) as a module: parameters in, a distribution out."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from googol.distributions.chain import Boundary, Chain
from googol.distributions.emissions import Emissions
from googol.distributions.indexing import as_int
from googol.distributions.initial import latent_class_cores
from googol.distributions.joint import TensorRingDistribution
from googol.distributions.precision import every_digit
from googol.distributions.variables import Variable

# Rounds of iterative proportional fitting, and the largest error of a probability at which they end.
_FITTING_ROUNDS = 100
_FITTED = 1e-6
# Rows of the data that classes are fitted to.
_ROWS_FOR_CLASSES = 2**14


class TensorRing(nn.Module):
    r"""A learnable distribution over a lattice of components, with its weights in tensor-ring format.

    Every variable j has an index :math:`s_j`, a core :math:`Q_j` of shape :math:`(N_j, m, m)` with non-negative
    entries, and an emission that says what is seen given the index. Called without arguments, the module returns
    the :class:`~googol.distributions.TensorRingDistribution`

    .. math:: p(v) \propto \sum_{s_1 … s_n} \mathrm{Tr}\Big(\prod_j Q_j[s_j]\Big) \prod_j p(v_j \mid s_j).

    With ``boundary="train"`` the product of the cores is closed by vectors of ones in place of the trace: cheaper,
    and without the dependence between the last variable and the first.

    Args:
        variables: What is seen of each variable: :class:`~googol.distributions.Normal`,
            :class:`~googol.distributions.Categorical`, …
        rank: The size m of the bonds between neighbours, at least 1.
        boundary: ``"ring"`` or ``"train"``.
        cores: Non-negative cores to start from, a list of tensors of shape ``(N_j, m, m)``; by default random.
        order: The positions of the variables along the chain, from its first link to its last; by default as they
            are given. Those that depend on each other most should be neighbours, since all that a link knows of
            others passes through the m values of its bonds. Values keep the order of ``variables``.
        device: Where the parameters are made.
        dtype: Their type.

    Raises:
        ValueError: There is no variable, the rank is below 1, the boundary is unknown, the order is not one of all
            variables, or a core has another shape or a negative or infinite entry, or is zero.

    References:
        Kuznetsov et al., A Prior of a Googol Gaussians (2019), equation 6;
        Kuznetsov et al., Subset-Conditioned Generation Using VAE With A Learnable Tensor-Train Induced Prior
        (2018), equation 4.

    Example:
        >>> from googol.distributions import Categorical, Normal, TensorRing
        >>> ring = TensorRing([Normal(10)] * 100 + [Categorical(2)] * 10, rank=20)
        >>> joint = ring()
        >>> joint.sample((64,)).shape
        torch.Size([64, 110])
        >>> joint.log_prob(joint.sample((64,))).shape
        torch.Size([64])
    """

    def __init__(
        self,
        variables: Iterable[Variable],
        rank: int,
        boundary: Boundary = "ring",
        *,
        cores: Sequence[Tensor] | None = None,
        order: Sequence[int] | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        if not isinstance(variables, Iterable):
            raise TypeError(f"variables must be a sequence of Variables, got {type(variables).__name__}")
        self.variables = tuple(variables)
        if not self.variables:
            raise ValueError("variables must hold at least one variable")
        for j, variable in enumerate(self.variables):
            if not isinstance(variable, Variable):
                got = f"{type(variable).__module__}.{type(variable).__name__}"
                raise TypeError(f"variables[{j}] must be a Variable such as googol.distributions.Normal(10), got {got}")
        try:
            rank = as_int(rank)
        except TypeError:
            raise TypeError(f"rank must be an int, got {rank!r}") from None
        if rank < 1:
            raise ValueError(f"rank must be at least 1, got {rank}")
        if boundary not in ("ring", "train"):
            raise ValueError(f"boundary must be 'ring' or 'train', got {boundary!r}")
        n = len(self.variables)
        self.rank, self.boundary, self.order = rank, boundary, list(range(n) if order is None else order)
        if sorted(self.order) != list(range(n)):
            raise ValueError(f"order must hold each of the positions 0 … {n - 1} once, got {self.order}")
        # Variables of the same family and size share stacked parameters.
        kinds: dict[tuple[object, ...], list[int]] = {}
        for j, variable in enumerate(self.variables):
            kinds.setdefault(variable.kind, []).append(j)
        self._positions = list(kinds.values())
        dtype = torch.get_default_dtype() if dtype is None else dtype
        self.components = nn.ModuleList()
        self.log_cores = nn.ParameterList()
        for positions in self._positions:
            starts = [self.variables[j].initial_parameters() for j in positions]
            stacked = {name: torch.stack([s[name] for s in starts]).to(device, dtype) for name in starts[0]}
            parameters = nn.ParameterDict({name: nn.Parameter(v) for name, v in stacked.items()})
            # An optimiser's steps know nothing of units: lengths are learned in multiples of this, the data's spread.
            parameters.register_buffer("unit", torch.ones(len(positions), 1, device=device, dtype=dtype))
            self.components.append(parameters)
            shape = (len(positions), self.variables[positions[0]].components, rank, rank)
            self.log_cores.append(nn.Parameter(torch.randn(shape, device=device, dtype=dtype)))
        # What the weights mean, so that they are not loaded into another ring.
        layout = [int(boundary == "ring"), *self.order, *(j for positions in self._positions for j in positions)]
        self.register_buffer("layout", torch.tensor(layout, device=device))
        if cores is not None:
            self._set_cores(self._checked_cores(cores))

    def __len__(self) -> int:
        return len(self.variables)

    def extra_repr(self) -> str:
        return f"{len(self)} variables, rank={self.rank}, boundary={self.boundary!r}"

    def forward(self) -> TensorRingDistribution:
        emissions = self._emissions()
        # Shorter cores are filled up with components of weight zero.
        padded = [
            nn.functional.pad(core, (0, 0, 0, 0, 0, emissions.components - core.shape[1]), value=-math.inf)
            if core.shape[1] < emissions.components
            else core
            for core in self.log_cores
        ]
        grouped = [j for positions in self._positions for j in positions]
        log_cores = padded[0] if len(padded) == 1 else torch.cat(padded)
        if grouped != self.order:
            log_cores = log_cores[[grouped.index(j) for j in self.order]]
        visible = None
        if self.order != sorted(self.order):
            emissions, visible = emissions.select(self.order), [self.order.index(j) for j in range(len(self))]
        return TensorRingDistribution(Chain(log_cores, self.boundary), emissions, visible=visible)

    def _emissions(self) -> Emissions:
        groups = []
        for positions, components in zip(self._positions, self.components, strict=True):
            lengths, unit = self.variables[positions[0]].lengths, components.get_buffer("unit")
            named = components.named_parameters()
            groups.append((positions, {name: v * unit if name in lengths else v for name, v in named}))
        return Emissions(self.variables, groups, self.log_cores[0])

    def _load_from_state_dict(
        self,
        state_dict: dict[str, Any],
        prefix: str,
        local_metadata: dict[str, Any],
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        layout = state_dict.get(f"{prefix}layout")
        if layout is not None and layout.tolist() != self.get_buffer("layout").tolist():
            error_msgs.append(f"{prefix}layout: the weights are of a ring with another boundary, order or variables")
        super()._load_from_state_dict(
            state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
        )

    @property
    def cores(self) -> list[Tensor]:
        """The non-negative cores, a list of n tensors of shape ``(N_j, m, m)``."""
        cores = dict[int, Tensor]()
        for positions, log_cores in zip(self._positions, self.log_cores, strict=True):
            cores.update(zip(positions, log_cores.exp().unbind(0), strict=True))
        return [cores[j] for j in range(len(self))]

    def _checked_cores(self, cores: Sequence[Tensor]) -> list[Tensor]:
        if len(cores) != len(self):
            raise ValueError(f"cores must hold one tensor a variable, {len(self)}, got {len(cores)}")
        checked = [torch.as_tensor(core).detach() for core in cores]
        for j, (core, variable) in enumerate(zip(checked, self.variables, strict=True)):
            expected = (variable.components, self.rank, self.rank)
            if core.shape != expected:
                raise ValueError(f"cores[{j}] must have the shape {expected}, got {tuple(core.shape)}")
            if not bool((core.isfinite() & (core >= 0)).all()):
                raise ValueError(f"cores[{j}] must be non-negative and finite")
            if not bool((core > 0).any()):
                raise ValueError(f"cores[{j}] must have a positive entry, all are zero")
        return checked

    @torch.no_grad()
    def _set_cores(self, cores: Sequence[Tensor]) -> None:
        for positions, log_cores in zip(self._positions, self.log_cores, strict=True):
            for row, j in enumerate(positions):
                log_cores[row] = cores[j].to(log_cores.device, torch.float64).log().to(log_cores.dtype)

    @torch.no_grad()
    def fit_initial(self, samples: Tensor) -> None:
        """Starts from data: components on the data of each variable, bonds on clusters of the samples.

        The components of a continuous variable go to the quantiles of its data. A mixture of m products over the
        variables (a latent class model, fitted by expectation-maximisation) then gives the cores: bond value a
        stands for class a, and neighbouring bonds agree but for a small probability of change, so that no entry is
        zero and training can turn the mixture into a ring.

        Args:
            samples: Shape ``(B, n)`` with at least two rows; NaN = missing, skipped.

        Raises:
            ValueError: The shape is another, an entry is infinite or no value of a discrete variable, or a
                variable has no observed entry.
        """
        if not isinstance(samples, Tensor) or samples.dim() != 2 or samples.shape[1] != len(self) or len(samples) < 2:
            shape = tuple(samples.shape) if isinstance(samples, Tensor) else type(samples).__name__
            raise ValueError(f"samples must have the shape (B, {len(self)}) with B at least 2, got {shape}")
        like = self.log_cores[0]
        samples = self()._with(validate_args=True)._check(samples.detach(), "samples").to(like)
        observed = ~samples.isnan()
        if not bool(observed.any(0).all()):
            empty = (~observed.any(0)).nonzero().flatten().tolist()
            raise ValueError(f"samples must hold an observed entry of every variable, none for {empty}")
        for positions, components in zip(self._positions, self.components, strict=True):
            for row, j in enumerate(positions):
                variable, seen = self.variables[j], samples[observed[:, j], j].double()
                spread = seen.std(correction=0)
                unit = spread.where(spread > 0, 1.0) if variable.lengths else torch.ones_like(spread)
                components.get_buffer("unit")[row] = unit.to(like)
                for name, value in variable.initial_parameters(seen).items():
                    value = value / unit if name in variable.lengths else value
                    components.get_parameter(name)[row] = value.to(like)
        with every_digit(like):
            # Some thousand rows tell the classes apart as well as all of them.
            chosen = samples[torch.randperm(len(samples), device=like.device)[:_ROWS_FOR_CLASSES]]
            along = [self.variables[j] for j in self.order]
            log_weights = self._emissions().log_prob(chosen)[self.order]
            cores = dict(zip(self.order, latent_class_cores(log_weights, self.rank, along), strict=True))
            self._set_cores([cores[j] for j in range(len(self))])

    @torch.no_grad()
    def widen(self, least: Tensor) -> None:
        """Makes the components of continuous variables at least so wide.

        Where data repeat a number exactly, the likelihood has no upper bound: a component becomes ever narrower on it.

        Args:
            least: Standard deviations, ``(n,)``, not negative; those of discrete variables play no part.

        Raises:
            ValueError: The shape is another, or an entry is negative or NaN.

        Example:
            >>> import torch
            >>> from googol.distributions import Normal, TensorRing
            >>> ring = TensorRing([Normal(2, scale=[0.1, 3.0])], rank=2)
            >>> ring.widen(torch.tensor([0.5]))
            >>> ring().emissions.moments()[1].sqrt().detach()
            tensor([[0.5000, 3.0000]])
        """
        if least.shape != (len(self),) or not bool((least >= 0).all()):
            raise ValueError(f"least must be {len(self)} numbers that are not negative, got {least.tolist()}")
        for positions, components in zip(self._positions, self.components, strict=True):
            for name, log_scale in components.named_parameters():
                if name == "log_scale":
                    log_scale.copy_(log_scale.maximum(least[positions].to(log_scale).log().unsqueeze(-1)))

    @torch.no_grad()
    def match_marginals(self, probs: Mapping[int, Tensor]) -> None:
        r"""Gives discrete variables the distributions asked for, and leaves all as it is given these variables.

        .. math:: p'(v) \propto p(v) \prod_j w_j(v_j), \qquad \sum_{v_{-j}} p'(v) = \pi_j(v_j),

        the closest such distribution to p, found by iterative proportional fitting (Deming & Stephan, 1940): the slices
        of one core after the other are multiplied by what is missing.

        Args:
            probs: For the position of each variable its distribution, ``(N_j,)``, up to a factor. A value that never
                happens stays so.

        Raises:
            ValueError: There is no such variable or it is not discrete, or its probabilities have another shape, are
                negative, not finite or all zero.

        Example:
            >>> import torch
            >>> from googol.distributions import Categorical, Normal, TensorRing
            >>> ring = TensorRing([Normal(3), Categorical(2)], rank=4)
            >>> ring.match_marginals({1: torch.tensor([0.9, 0.1])})
            >>> ring().marginal([1]).log_prob(torch.tensor([[0.0], [1.0]])).exp().detach()
            tensor([0.9000, 0.1000])
        """
        places = {j: (group, row) for group, at in enumerate(self._positions) for row, j in enumerate(at)}
        wanted = dict[int, Tensor]()
        for j, given in probs.items():
            if j not in places:
                raise ValueError(f"probs must be of the positions of {len(self)} variables, got {j}")
            variable = self.variables[j]
            if not variable.is_discrete:
                raise ValueError(f"probs must be of discrete variables, variable {j} is {variable!r}")
            target = torch.as_tensor(given).to(self.log_cores[0].device, torch.float64)
            usable = target.shape == (variable.components,) and bool((target.isfinite() & (target >= 0)).all())
            if not usable or not target.sum() > 0:
                raise ValueError(f"probs[{j}] must be {variable.components} probabilities, got {target.tolist()}")
            wanted[j] = target / target.sum()
        nothing = self.log_cores[0].new_full((len(self),), math.nan)
        for _ in range(_FITTING_ROUNDS):
            furthest = 0.0
            for j, target in wanted.items():
                current = self().component_probs(nothing)[j, : len(target)].double()
                ratio = torch.where(current > 0, target / current, 1.0)
                group, row = places[j]
                self.log_cores[group][row] += ratio.log()[:, None, None].to(nothing.dtype)
                furthest = max(furthest, float((target - current).abs().max()))
            if furthest < _FITTED:
                break

"""The prior that is a normalizing flow over another prior."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from googol.distributions.flows import NormalizingFlow, flows
from googol.distributions.hypersphere import unit_sphere
from googol.networks.layers import check_at_least_one

Family = Literal["realnvp", "nsf", "maf", "bpf", "sospf"]

_FAMILIES = {
    "realnvp": flows.RealNVP,
    "nsf": flows.NSF,
    "maf": flows.MAF,
    "bpf": flows.BPF,
    "sospf": flows.SOSPF,
}


class FlowPrior(nn.Module):
    r"""Another prior, seen through an invertible map f that is learned.

    .. math:: p(z) = p_\text{base}(f(z)) \left| \det \frac{\partial f(z)}{\partial z} \right|

    Densities take one pass of the networks.

    =========== ========================================= ======== ===================== ======================
    family      transforms                                at first passes of a sample    inverse
    =========== ========================================= ======== ===================== ======================
    ``realnvp`` affine, coupling                          identity 2 a transform         exact
    ``nsf``     rational splines, coupling                identity 2 a transform         exact
    ``maf``     affine, autoregressive                    identity 1 a latent, transform exact
    ``bpf``     Bernstein polynomials, autoregressive     identity 1 a latent, transform bisection
    ``sospf``   sums of squared polynomials, autoregr.    near it  1 a latent, transform bisection in [-10, 10]
    =========== ========================================= ======== ===================== ======================

    The last squeezes what goes from one transform to the next into [-11, 11], so p(z) can come to integrate to a little
    less than one. So do zuko's ``NAF`` and ``UNAF``, which are left out: they do not start near the identity, and what
    they map to can miss nearly all of the base, whose mass is then lost. Of its other flows ``NICE`` is its RealNVP,
    ``NCSF`` is one of angles, ``CNF`` needs a solver, and ``GF`` is neither coupling nor autoregressive.

    References:
        RealNVP: Dinh et al., Density Estimation Using Real NVP, 2017, https://arxiv.org/abs/1605.08803;
        neural spline flows, coupling: Durkan et al., 2019, https://arxiv.org/abs/1906.04032;
        masked autoregressive flow: Papamakarios et al., 2017, https://arxiv.org/abs/1705.07057;
        Bernstein polynomials: Sick et al., 2020, https://arxiv.org/abs/2004.00464;
        sums of squares: Jaini et al., 2019, https://arxiv.org/abs/1905.02325.
        Over a mixture and a tensor ring: Kuznetsov et al., A Prior of a Googol Gaussians, 2019, table 2.

    Args:
        base: Called with nothing, returns a distribution with event shape (latents,): any other prior in ℝ^latents,
            a tensor ring of normal variables among them.
        latents: The number of latent variables.
        flow: The family of f; or any flow of the library zuko over the latents, such as ``zuko.flows.GF(latents)``,
            whose map is taken as it is.
        transforms: How many transforms f is made of, at least 1; for the families.
        hidden: The widths of the hidden layers of each transform's network; for the families.

    Raises:
        ValueError: If ``flow`` is another word, ``transforms`` is less than 1, or ``base`` lies on the sphere
            or has discrete variables.

    Example:
        >>> import torch
        >>> from googol.priors import FlowPrior, StandardNormal
        >>> FlowPrior(StandardNormal(3), 3)().log_prob(torch.zeros(3)).detach()
        tensor(-2.7568)
    """

    def __init__(
        self,
        base: nn.Module,
        latents: int,
        *,
        flow: Family | nn.Module = "realnvp",
        transforms: int = 6,
        hidden: Sequence[int] = (128, 128),
    ):
        super().__init__()
        if isinstance(flow, str) and flow not in _FAMILIES:
            raise ValueError(f"Expected flow to be one of {', '.join(_FAMILIES)}; got {flow!r}.")
        check_at_least_one(transforms=transforms)
        if getattr(base, "support", None) is unit_sphere:
            raise ValueError("Expected base to be a prior in all of space; got one on the unit sphere.")
        if any(variable.is_discrete for variable in getattr(base, "variables", ())):
            raise ValueError("Expected base to be a prior of continuous latents; got one with discrete variables.")
        self.latents = latents
        self.base: Any = base
        self.flow: Any
        if isinstance(flow, nn.Module):
            if not hasattr(flow, "transform"):
                raise TypeError(f"Expected flow to be a family or a flow of zuko; got {type(flow).__name__}.")
            self.flow = flow.transform
            return
        coupling = {"passes": 2} if flow == "nsf" else {}
        options = {"transforms": transforms, "hidden_features": list(hidden), **coupling}
        self.flow = _FAMILIES[flow](latents, **options).transform
        for transform in self.flow.transforms:
            # What the last layer says are the transform's parameters; zero makes each of the families the identity, or
            # nearly so. With one latent there is no network, nor is there one where values are squeezed.
            last = transform.hyper[-1] if hasattr(transform, "hyper") else transform
            for parameter in last.parameters():
                nn.init.zeros_(parameter)

    def forward(self) -> NormalizingFlow:
        """The distribution of z, event shape (latents,).

        Raises:
            ValueError: If the base has another number of latents.
        """
        base = self.base()
        if (shape := tuple(base.event_shape)) != (self.latents,):
            raise ValueError(f"Expected base to be a prior of {self.latents} latents; got the event shape {shape}.")
        through = NormalizingFlow(self.flow(), base)
        through.has_rsample = base.has_rsample  # of zuko's, it is always true
        return through

    @property
    def fit_initial(self) -> Callable[[Tensor], None]:
        """Starts the base from codes, as they look through f; here if the base has it."""
        fit = self.base.fit_initial

        @torch.no_grad()
        def through(samples: Tensor) -> None:
            fit(self.flow()(samples))

        return through

    @property
    def start_from(self) -> Callable[[Iterable[Tensor]], None]:
        """Starts the base from images; here if the base has it."""
        return self.base.start_from

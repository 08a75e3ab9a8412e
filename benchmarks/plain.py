"""The plain published algorithm, the reference for speed and memory.

A loop over the variables forms the (batch, N, m, m) product of component densities and cores, sums it over the
components and multiplies it into the products so far, as Algorithm 1 and equations 2 to 7 of the paper say. It is
written as one would: in batch operations, each variable with parameters of its own, rescaled at every step.
Nothing in it is slower than the formulas ask for.

References:
    Kuznetsov et al., A Prior of a Googol Gaussians (2019), Algorithm 1.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from googol.distributions import TensorRing


class PlainRing:
    """A ring with the same parameters as a :class:`~googol.distributions.TensorRing`, one tensor a variable.

    Example:
        >>> from googol.distributions import Normal
        >>> ring = TensorRing([Normal(5)] * 4, rank=3)
        >>> v = torch.randn(7, 4)
        >>> torch.allclose(PlainRing(ring).log_prob(v), ring().log_prob(v), atol=1e-4)
        True
    """

    def __init__(self, ring: TensorRing) -> None:
        self.log_cores = [core.detach().log().requires_grad_() for core in ring.cores]
        self.components: list[tuple[Tensor, Tensor] | None] = [None] * len(ring)
        for positions, parameters in ring._emissions().groups:
            if not ring.variables[positions[0]].is_discrete:
                stacked = zip(parameters["loc"].detach(), parameters["log_scale"].detach(), strict=True)
                for j, (loc, log_scale) in zip(positions, stacked, strict=True):
                    self.components[j] = loc.clone().requires_grad_(), log_scale.clone().requires_grad_()

    def parameters(self) -> list[Tensor]:
        """All parameters: the logarithms of the cores, means and logarithms of deviations."""
        return self.log_cores + [parameter for pair in self.components if pair for parameter in pair]

    def _densities(self, j: int, value: Tensor) -> Tensor:
        """p(v_j given s_j) for values ``(B,)``, one where they are NaN: ``(B, N)``."""
        missing = value.isnan().unsqueeze(-1)
        value = value.nan_to_num(0.0).unsqueeze(-1)
        components = self.components[j]
        if components is None:
            densities = (value == torch.arange(self.log_cores[j].shape[0])).to(value.dtype)
        else:
            loc, log_scale = components
            z = (value - loc) / log_scale.exp()
            densities = (-0.5 * z * z).exp() / (math.sqrt(2 * math.pi) * log_scale.exp())
        return densities.masked_fill(missing, 1.0)

    def log_prob(self, value: Tensor) -> Tensor:
        """Algorithm 1, from ``(B, n)`` to ``(B,)``; NaN = summed out."""
        m = self.log_cores[0].shape[-1]
        buffer = torch.eye(m).expand(len(value), m, m)
        normalizer = torch.eye(m)
        log_scale = torch.zeros(len(value))
        log_scale_normalizer = torch.zeros(())
        for j, log_core in enumerate(self.log_cores):
            core = log_core.exp()
            densities = self._densities(j, value[:, j])
            buffer = torch.bmm(buffer, (densities[:, :, None, None] * core).sum(1))
            normalizer = normalizer @ core.sum(0)
            total = buffer.sum((1, 2))
            buffer = buffer / total[:, None, None]
            log_scale = log_scale + total.log()
            total = normalizer.sum()
            normalizer = normalizer / total
            log_scale_normalizer = log_scale_normalizer + total.log()
        trace = buffer.diagonal(dim1=1, dim2=2).sum(-1)
        return trace.log() + log_scale - (normalizer.trace().log() + log_scale_normalizer)

    @torch.no_grad()
    def sample(self, count: int, given: Tensor | None = None) -> Tensor:
        """Equations 5 and 7: one variable after the other, given those before it and the observed ones.

        Args:
            count: The number of samples.
            given: Observed values ``(count, n)``, NaN where open; by default nothing is observed.

        Returns:
            Shape ``(count, n)``.
        """
        n, m = len(self.log_cores), self.log_cores[0].shape[-1]
        cores = [log_core.exp() for log_core in self.log_cores]
        observed = [given is not None and not bool(given[:, j].isnan().all()) for j in range(n)]

        # Products of all that follows a variable: one for all samples where nothing that follows is observed.
        suffix = torch.eye(m).unsqueeze(0)
        suffixes = [suffix]
        for j in reversed(range(1, n)):
            if given is not None and observed[j]:
                core = (self._densities(j, given[:, j])[:, :, None, None] * cores[j]).sum(1)
            else:
                core = cores[j].sum(0)
            suffix = core @ suffix
            suffix = suffix / suffix.sum((1, 2), keepdim=True)
            suffixes.append(suffix)
        suffixes.reverse()

        prefix = torch.eye(m).expand(count, m, m)
        values = []
        for j in range(n):
            if given is not None and observed[j]:
                value = given[:, j]
            else:
                around = (suffixes[j] @ prefix).mT
                weights = (around.unsqueeze(1) * cores[j]).sum((2, 3))
                index = torch.multinomial(weights, 1).squeeze(1)
                components = self.components[j]
                if components is None:
                    value = index.to(prefix.dtype)
                else:
                    loc, log_scale = components
                    value = torch.normal(loc[index], log_scale[index].exp())
            values.append(value)
            prefix = torch.bmm(prefix, (self._densities(j, value)[:, :, None, None] * cores[j]).sum(1))
            prefix = prefix / prefix.sum((1, 2), keepdim=True)
        return torch.stack(values, 1)

"""A joint VAE of one latent and two conditions, whose integrals are sums over a grid."""

import math

import torch
from torch import nn
from torch.distributions import Independent, Normal

from googol.distributions import Categorical, TensorRing
from googol.distributions import Normal as NormalVariable
from googol.models import JointVAE

NAN = math.nan


class Encoder(nn.Module):
    latents = 1

    def __init__(self):
        super().__init__()
        self.slope = nn.Parameter(torch.tensor(0.7, dtype=torch.float64))

    def forward(self, x: torch.Tensor) -> Independent:
        return Independent(Normal(self.slope * x.mean(-1, keepdim=True), torch.tensor(0.5, dtype=x.dtype)), 1)


class Decoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.slope = nn.Parameter(torch.tensor([1.0, 0.6], dtype=torch.float64))

    def forward(self, z: torch.Tensor) -> Independent:
        return Independent(Normal(z * self.slope, torch.tensor(0.8, dtype=z.dtype)), 1)


def make(**options) -> JointVAE:
    torch.manual_seed(0)
    variables = [NormalVariable(3, loc=[-2.0, 0.0, 2.0], scale=0.7), Categorical(3), Categorical(2)]
    return JointVAE(TensorRing(variables, rank=3, dtype=torch.float64), Encoder(), Decoder(), **options)


X = torch.tensor([[0.5, -1.0], [2.0, 1.5], [-3.0, -1.0], [0.1, 0.0]], dtype=torch.float64)
Y = torch.tensor([[0.0, 1.0], [NAN, 0.0], [2.0, NAN], [NAN, NAN]], dtype=torch.float64)
GRID = torch.linspace(-12, 12, 4001, dtype=torch.float64).unsqueeze(-1)
STEP = 24 / 4000


def over_grid(model: JointVAE, x: torch.Tensor, y: torch.Tensor) -> dict[str, torch.Tensor]:
    """log p(x, y) and the terms of the objective for one object, integrated over z."""
    rows = torch.cat([GRID, y.expand(len(GRID), -1)], -1)
    joint, prior = model.prior(), model.likelihood(GRID).log_prob(x)
    log_joint = joint.log_prob(rows)
    log_code = joint.log_prob(torch.cat([GRID, torch.full((len(GRID), 2), NAN)], -1))
    q = model.posterior(x.unsqueeze(0))
    density = q.log_prob(GRID).exp() * STEP
    elbo = (density * (prior + log_joint - q.log_prob(GRID))).sum()
    label = (density * (log_joint - log_code)).sum()
    return {"log_prob": (prior + log_joint + math.log(STEP)).logsumexp(0), "elbo": elbo, "label": label}

"""A tiny model and data set, and a program that trains one on the other, for tests that end the process."""

import argparse
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.distributions import Independent, Normal, kl_divergence

from googol.data import Condition, Dataset
from googol.models import WGAN
from googol.networks import MLPDecoder, MLPEncoder
from googol.training import TrainingSettings, fit


def tiny_data(n: int, *, seed: int = 0) -> Dataset:
    """Images of 4 × 4 pixels whose brightness depends on a class that is sometimes missing."""
    generator = torch.Generator().manual_seed(seed)
    classes = torch.randint(3, (n, 1), generator=generator).float()
    images = 60 * classes.view(n, 1, 1, 1) + torch.randint(60, (n, 1, 4, 4), generator=generator)
    classes[torch.rand(n, 1, generator=generator) < 0.3] = torch.nan
    return Dataset("tiny", images.to(torch.uint8), classes, (Condition("kind", ("low", "middle", "high")),))


class TinyPrior(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.loc = nn.Parameter(torch.zeros(2))

    def forward(self) -> Independent:
        return Independent(Normal(self.loc, 1.0), 1)


class TinyVAE(nn.Module):
    """A VAE with dropout, batch normalisation and a sampled code: noise and buffers that a resume must keep."""

    calls = 0  # of loss, counted for the class, so that copies of the model count too

    def __init__(self, *, noisy: bool = True) -> None:
        super().__init__()
        torch.manual_seed(0)
        noise = [nn.BatchNorm1d(8), nn.Dropout(0.2)] if noisy else []
        self.encoder = nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.Tanh(), *noise, nn.Linear(8, 4))
        self.decoder = nn.Linear(2, 16)
        self.prior = TinyPrior()
        self.noisy = noisy
        self.register_buffer("started", torch.tensor(True))
        TinyVAE.calls = 0

    def posterior(self, x: Tensor) -> Independent:
        loc, log_scale = self.encoder(x).chunk(2, -1)
        return Independent(Normal(loc, log_scale.exp()), 1)

    def likelihood(self, z: Tensor) -> Independent:
        return Independent(Normal(self.decoder(z).view(-1, 1, 4, 4).sigmoid(), 0.3), 3)

    def sample(self, n: int) -> Tensor:
        return self.likelihood(self.prior().sample((n,))).mean

    def reconstruct(self, x: Tensor) -> Tensor:
        return self.likelihood(self.posterior(x).sample()).mean

    def loss(self, x: Tensor, y: Tensor) -> dict[str, Tensor]:
        TinyVAE.calls += 1
        posterior = self.posterior(x)
        z = posterior.rsample() if self.noisy else posterior.mean
        reconstruction = self.likelihood(z).log_prob(x).mean()
        if not self.started:
            return {"loss": -reconstruction, "reconstruction": reconstruction}
        kl = kl_divergence(posterior, self.prior()).mean()
        return {"loss": kl - reconstruction, "reconstruction": reconstruction, "kl": kl}


class StagedVAE(TinyVAE):
    """Has no prior in the first epoch; then moves it to the codes of the training data."""

    def __init__(self, *, noisy: bool = True) -> None:
        super().__init__(noisy=noisy)
        self.started.fill_(False)

    def on_epoch_start(self, epoch: int, encode_batches: Callable[[], Iterator[tuple[Tensor, Tensor]]]) -> bool:
        if epoch != 1:
            return False
        posteriors = [self.posterior(x) for x, _ in encode_batches()]
        codes = torch.cat([q.sample() if self.noisy else q.mean for q in posteriors])
        self.prior.loc.copy_(codes.mean(0))
        self.started.fill_(True)
        return True


class Announcing(StagedVAE):
    """Says on standard output when it is asked for a loss."""

    def loss(self, x: Tensor, y: Tensor) -> dict[str, Tensor]:
        print(f"call {TinyVAE.calls}", flush=True)
        return super().loss(x, y)


class NoisePrior(TinyPrior):
    """Its samples are a location and the noise that it was given."""

    noise: Tensor

    def forward(self) -> Independent:
        distribution = super().forward()
        distribution.rsample = lambda shape: self.loc + self.noise  # type: ignore[method-assign]
        distribution.sample = lambda shape: (self.loc + self.noise).detach()  # type: ignore[method-assign]
        return distribution


class TinyGame(WGAN):
    """The noise of each generated image comes from an image, so that it is the same whichever process draws it."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        generator = nn.Sequential(MLPDecoder(2, (1, 4, 4), hidden=(8,)), nn.Sigmoid())
        super().__init__(NoisePrior(), generator, MLPEncoder((1, 4, 4), 1, hidden=(8,)), clip=0.3, critic_steps=2)

    def loss(self, x: Tensor, y: Tensor, player: str | None = None) -> dict[str, Tensor]:
        self.prior.noise = 4 * x.flatten(1)[:, :2] - 2
        return super().loss(x, y, player)


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path)
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--announce", action="store_true")
    parser.add_argument("--without-noise", action="store_true")
    parser.add_argument("--game", action="store_true")
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--settings", type=eval, default={})
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    made = Announcing if given.announce else StagedVAE
    model: nn.Module = TinyGame() if given.game else made(noisy=not given.without_noise)
    settings = TrainingSettings(accelerator="cpu", **given.settings)
    fit(model, tiny_data(given.images), tiny_data(30, seed=1), given.out, settings, resume=given.resume)
    if settings.devices > 1:
        rank = torch.distributed.get_rank()
        torch.save(model.state_dict(), given.out / f"rank{rank}.pt")


if __name__ == "__main__":
    main(sys.argv[1:])

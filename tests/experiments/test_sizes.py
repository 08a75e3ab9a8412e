"""The width of networks at which a model has so many parameters."""

import pytest

from googol.experiments import config
from googol.experiments.sizes import match_parameters
from googol.metrics import parameter_counts

SHAPE = (1, 12, 8)
CHOICES = [
    config.VAE(latents=4, network=config.MLP(hidden=(30, 70))),
    config.VAE(latents=4, network=config.Conv(), prior=config.TensorRing(rank=8, components=5)),
    config.VAE(latents=4, network=config.MLP(), posterior=config.Sylvester(flows=2)),
]


def size(choice: config.Model) -> int:
    return sum(parameter_counts(choice.build(SHAPE, ())).values())


@pytest.mark.parametrize("choice", CHOICES)
def test_no_width_is_closer(choice):
    for wanted in (20_000, 77_777):
        found = match_parameters(choice, SHAPE, (), wanted)
        network = found.network
        width = network.width if isinstance(network, config.Conv) else network.hidden[0]
        around = [choice.network.of_width(width + step) for step in (-1, 0, 1)]
        counts = [size(config.VAE(**{**vars(choice), "network": each})) for each in around]
        assert counts[0] < counts[1] < counts[2]
        assert min(abs(count - wanted) for count in counts) == abs(size(found) - wanted)


def test_a_model_cannot_be_smaller_than_its_prior():
    with pytest.raises(ValueError, match=r"parameters with the narrowest of networks; got 100 to match"):
        match_parameters(CHOICES[1], SHAPE, (), 100)

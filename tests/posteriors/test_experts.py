"""The product of normal experts."""

import math

import pytest
import torch
from torch import nn

from googol.networks import ConditionCoding
from googol.posteriors import ConditionedPosterior, DiagonalNormal, ProductOfExperts

NAN = math.nan
X = torch.rand(3, 1, 1, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
Y = torch.tensor([[1.0, 0.4], [NAN, -1.0], [NAN, NAN]], dtype=torch.float64)


def make(latents: int = 1) -> ProductOfExperts:
    torch.manual_seed(0)
    image = DiagonalNormal(nn.Sequential(nn.Flatten(-3), nn.Linear(4, 2 * latents)), latents)
    return ProductOfExperts(image, ConditionCoding([3, None])).double()


def test_it_is_the_normalised_product_of_the_densities_of_what_is_known():
    posterior = make()
    z = torch.arange(-12, 12, 0.01, dtype=torch.float64).unsqueeze(-1)
    q = posterior(X, Y)
    for row in range(3):
        factors = [torch.distributions.Normal(0.0, 1.0), posterior.image(X[row]).base_dist]
        for j in (~Y[row].isnan()).nonzero().flatten():
            vector = posterior.coding.write(Y[row]).split([3, 1])[j]
            loc, raw = posterior.conditions[j](vector).chunk(2)
            factors.append(torch.distributions.Normal(loc, nn.functional.softplus(raw) ** -0.5))
        product = sum(factor.log_prob(z) for factor in factors).squeeze(-1)
        log_density = product - (product.logsumexp(0) + math.log(0.01))
        of_row = torch.distributions.Independent(torch.distributions.Normal(q.mean[row], q.stddev[row]), 1)
        torch.testing.assert_close(of_row.log_prob(z), log_density)


def test_nothing_known_leaves_the_prior():
    q = make(2)(y=torch.full((4, 2), NAN, dtype=torch.float64))
    assert q.mean.equal(torch.zeros(4, 2, dtype=torch.float64))
    assert q.stddev.equal(torch.ones(4, 2, dtype=torch.float64))


def test_an_image_without_conditions_is_an_image_alone():
    posterior = make(2)
    torch.testing.assert_close(posterior(X).mean, posterior(X, torch.full_like(Y, NAN)).mean)


def test_more_evidence_is_more_precise():
    posterior = make(2)
    assert (posterior(X, Y).stddev[:2] < posterior(X).stddev[:2]).all()


def test_neither_image_nor_conditions_is_refused():
    with pytest.raises(ValueError, match="expected an image x or conditions y, got neither"):
        make()()


def test_an_encoder_sees_conditions_as_constant_channels():
    torch.manual_seed(0)
    coding = ConditionCoding([3, None])
    of_both = DiagonalNormal(nn.Sequential(nn.Flatten(-3), nn.Linear(5 * 4, 4)), 2)
    posterior = ConditionedPosterior(of_both, nn.Sequential(nn.Flatten(-3), nn.Linear(4, 5)), coding).double()
    channels = posterior.channels(X, Y.nan_to_num(2.0))
    assert channels.shape == (3, 5, 1, 4)
    assert channels[:, :1].equal(X)
    assert channels[:, 1:].equal(coding.write(Y.nan_to_num(2.0))[..., None, None].expand(-1, -1, 1, 4))
    assert posterior.channels(X.expand(6, *X.shape), Y.nan_to_num(0.0).expand(6, 3, 2)).shape == (6, 3, 5, 1, 4)
    torch.manual_seed(1)
    means = posterior(X.expand(2000, *X.shape), Y.expand(2000, 3, 2)).mean
    assert (means[:, 0] == means[0, 0]).all()  # nothing is missing
    assert (means[:, 1:].std(0) > 0).all()  # what is missing is drawn

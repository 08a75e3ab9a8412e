"""The prior that is a mixture of normal distributions."""

import pytest
import torch

from googol.priors import NormalMixture


def test_density_is_the_weighted_sum():
    torch.manual_seed(0)
    prior = NormalMixture(2, components=3).double()
    with torch.no_grad():
        for parameter in prior.parameters():
            parameter.normal_()
    z = torch.randn(5, 2, dtype=torch.double)
    terms = torch.distributions.Normal(prior.loc, prior.log_scale.exp()).log_prob(z.unsqueeze(1)).sum(-1).exp()
    torch.testing.assert_close(prior().log_prob(z), (terms @ prior.logits.softmax(0)).log())


@pytest.mark.parametrize("distance", [5.0, 50.0, 1e4])
def test_every_parameter_learns_from_far_away(distance):
    prior = NormalMixture(4, components=5)
    prior().log_prob(torch.full((2, 4), distance)).sum().backward()
    for parameter in prior.parameters():
        assert parameter.grad.isfinite().all()
        assert parameter.grad.abs().sum() > 0


def test_starts_from_codes():
    torch.manual_seed(0)
    centres = torch.tensor([[-4.0, 0.0], [4.0, 1.0], [0.0, 5.0]])
    codes = centres[torch.randint(3, (3000,))] + torch.tensor([0.1, 0.5]) * torch.randn(3000, 2)
    before = codes.clone()
    prior = NormalMixture(2, components=3)
    prior.fit_initial(codes)
    assert torch.equal(codes, before)
    order = torch.cdist(centres, prior.loc).argmin(1)
    torch.testing.assert_close(prior.loc[order].detach(), centres, atol=0.1, rtol=0)
    torch.testing.assert_close(prior.log_scale.exp().detach(), torch.tensor([[0.1, 0.5]] * 3), atol=0.03, rtol=0)
    torch.testing.assert_close(prior.logits.softmax(0).detach(), torch.full((3,), 1 / 3), atol=0.05, rtol=0)
    assert all(parameter.requires_grad for parameter in prior.parameters())


def test_starts_with_scales_that_are_asked_for():
    torch.testing.assert_close(NormalMixture(2, components=3, scale=0.2).log_scale.exp(), torch.full((3, 2), 0.2))


def test_codes_that_are_all_alike_leave_it_finite():
    prior = NormalMixture(2, components=3)
    prior.fit_initial(torch.randn(2, 2).repeat(5, 1))
    assert prior().log_prob(torch.randn(4, 2)).isfinite().all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: NormalMixture(0, components=2), "latents to be at least 1; got 0"),
        (lambda: NormalMixture(2, components=0), "components to be at least 1; got 0"),
        (lambda: NormalMixture(2, components=2, scale=0.0), "scale must be a positive number, got 0.0"),
        (lambda: NormalMixture(2, components=3).fit_initial(torch.zeros(2, 2)), "3 codes to start from; got 2"),
        (lambda: NormalMixture(2, components=3).fit_initial(torch.zeros(9, 4)), r"2 numbers; got shape \(9, 4\)"),
    ],
)
def test_wrong_arguments_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()

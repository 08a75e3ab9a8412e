"""What a joint VAE answers: samples under conditions, conditions filled in, edits."""

import pytest
import torch
from joint_parts import GRID, NAN, STEP, Decoder, Encoder, X, Y, make, over_grid
from scipy.stats import kstest

from googol.distributions import Categorical, Interval, OneOf, TensorRing
from googol.distributions import Normal as NormalVariable
from googol.models import JointVAE


def test_samples_obey_the_given_conditions_and_leave_the_others_open():
    model = make()
    torch.manual_seed(2)
    given = torch.tensor([2.0, NAN])
    images, conditions = model.generate(20_000, given)
    assert (conditions[:, 0] == 2).all()
    probs = model.prior().condition(torch.tensor([NAN, 2.0, NAN], dtype=torch.float64)).component_probs()
    assert (conditions[:, 1].mean() - probs[2, 1]).abs() < 0.02
    assert images.shape == (20_000, 2)
    assert model.sample(5, given).shape == (5, 2)


def test_every_image_may_have_conditions_of_its_own():
    model = make()
    given = torch.tensor([[0.0, NAN], [NAN, 1.0], [2.0, 0.0], [NAN, NAN]])
    _, conditions = model.generate(4, given)
    observed = ~given.isnan()
    assert (conditions[observed] == given[observed]).all()
    assert conditions.isfinite().all()


def test_imputation_averages_the_probabilities_over_the_posterior():
    model = make()
    torch.manual_seed(3)
    with torch.no_grad():
        digits, binary = model.impute(X, draws=4000)
        for row, x in enumerate(X):
            density = model.posterior(x.unsqueeze(0)).log_prob(GRID).exp() * STEP
            joint = model.prior()
            given_z = joint.condition(torch.cat([GRID, torch.full((len(GRID), 2), NAN)], -1)).component_probs()
            expected = (density[:, None, None] * given_z).sum(0)
            torch.testing.assert_close(digits[row], expected[1], atol=0.03, rtol=0)
            torch.testing.assert_close(binary[row], expected[2, :2], atol=0.03, rtol=0)


def test_what_is_known_already_is_kept_when_imputing():
    model = make()
    digits, _ = model.impute(X, Y)
    torch.testing.assert_close(digits[0], torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64))


def test_generated_images_keep_to_events():
    torch.manual_seed(0)
    model = make()
    within = {0: OneOf([0, 2]), 1: Interval(0, 0)}
    images, conditions = model.generate(5000, within=within)
    assert images.shape == (5000, 2)
    assert set(conditions[:, 0].tolist()) == {0.0, 2.0}
    assert set(conditions[:, 1].tolist()) == {0.0}
    labels = model.label_distribution().condition(within=within)
    share = labels.log_prob(torch.tensor([2.0, NAN], dtype=torch.float64)).exp().item()
    assert (conditions[:, 0] == 2).double().mean().item() == pytest.approx(share, abs=5 * 0.5 / 5000**0.5)


def test_at_temperature_zero_codes_are_means_of_components():
    torch.manual_seed(0)
    model = make()
    images, _ = model.generate(500, temperature=0.0)
    means = model.likelihood(torch.tensor([[-2.0], [0.0], [2.0]], dtype=torch.float64)).mean
    assert torch.cdist(images, means).min(1).values.max() < 1e-9


@pytest.mark.parametrize("temperature", [0.0, 0.5, 1.4])
def test_the_temperature_moves_codes_and_leaves_conditions_as_they_are_drawn(temperature):
    """Also continuous ones, open and in an interval; the components that are drawn are the same."""
    torch.manual_seed(0)
    variables = [NormalVariable(1, loc=[0.5], scale=0.7), NormalVariable(3), NormalVariable(3), Categorical(2)]
    model = JointVAE(TensorRing(variables, rank=3, dtype=torch.float64), Encoder(), Decoder())
    within = {0: Interval(0.2, 0.9), 2: OneOf([1])}
    found = {}
    for t in (1.0, temperature):
        torch.manual_seed(1)
        found[t] = *model.generate(1000, within=within, temperature=t), torch.rand(1)
    (images, conditions, following), (moved, kept, following_moved) = found[1.0], found[temperature]
    assert torch.equal(kept, conditions)
    assert 0.2 <= kept[:, 0].min() < kept[:, 0].max() <= 0.9
    mean = model.likelihood(torch.tensor([[0.5]], dtype=torch.float64)).mean
    torch.testing.assert_close(moved - mean, temperature * (images - mean))
    assert torch.equal(following, following_moved)


def test_the_distribution_of_the_conditions_has_the_codes_summed_out():
    model = make()
    rows = torch.cat([torch.full((4, 1), NAN, dtype=torch.float64), Y], -1)
    torch.testing.assert_close(model.label_distribution().log_prob(Y), model.prior().log_prob(rows))


def test_an_edit_moves_codes_from_one_conditional_distribution_to_the_other():
    """Objects whose codes follow p(z given y) get codes that follow p(z given y'); equal conditions change nothing."""
    torch.manual_seed(0)
    model = make()
    old, new = (torch.tensor([label, NAN], dtype=torch.float64) for label in (0.0, 2.0))
    codes = model.conditional(old).sample((4000,))[:, :1]
    x = codes / model.posterior.slope.detach()  # whose mean codes these are
    x = x.expand(-1, 2)
    torch.testing.assert_close(model.reconstruct(x), model.likelihood(codes).mean)
    torch.testing.assert_close(model.edit(x, old, old), model.likelihood(codes).mean, rtol=1e-5, atol=1e-5)
    moved = model.edit(x, old, new)[:, 0] / model.likelihood.slope[0].detach()
    u = model.conditional(new).marginal([0]).to_uniform(moved.unsqueeze(-1))
    assert kstest(u.flatten().numpy(), "uniform").pvalue > 1e-3


def test_the_weighted_answers_tend_to_bayes_rule():
    """p(y_j given x, y_ob) = p(x, y_j, y_ob) / p(x, y_ob), by quadrature, though q is far from the posterior."""
    model = make()
    model.posterior.slope.data.fill_(0.2)
    torch.manual_seed(1)
    bound, answers = model.importance_impute(X, 100_000, Y)
    torch.manual_seed(1)
    with torch.no_grad():
        torch.testing.assert_close(bound, model.importance_bound(X, 100_000, Y))
        for row, (x, y) in enumerate(zip(X, Y, strict=True)):
            for j in y.isnan().nonzero().flatten().tolist():
                values = range(answers[j].shape[1])
                asked = [y.index_fill(0, torch.tensor(j), float(value)) for value in values]
                log_joint = torch.stack([over_grid(model, x, each)["log_prob"] for each in asked])
                torch.testing.assert_close(answers[j][row], log_joint.softmax(0), atol=0.02, rtol=0)
    assert [answer.shape for answer in answers] == [(4, 3), (4, 2)]


def test_conditions_count_from_the_end_and_others_are_refused():
    model = make()
    drawn = model.generate(50, within={-1: OneOf([1]), -2: OneOf([0, 2])})[1]
    assert (drawn[:, 1] == 1).all()
    assert (drawn[:, 0] != 1).all()
    for wrong in (2, -3):
        with pytest.raises(ValueError, match=rf"within must be of conditions from -2 to 1, got {wrong}"):
            model.generate(3, within={wrong: OneOf([0])})


def test_half_precision_keeps_conditions_apart():
    torch.manual_seed(0)
    ring = TensorRing([NormalVariable(3), Categorical(400)], rank=3)
    model = JointVAE(ring, Encoder().float(), Decoder().float())
    x, y = X[:2].float(), torch.tensor([[301.0], [torch.nan]])
    z = torch.zeros(2, 1, dtype=torch.bfloat16)
    assert model._condition_probs(z.unsqueeze(0), y)[0][0, 0].argmax() == 301
    for bound in (model.log_prior(z, y), *model.log_code_and_label(ring(), z, y)):
        assert bound.dtype == torch.float32
    assert model.impute(x.bfloat16(), y)[0][0].argmax() == 301


def test_no_draws_are_refused():
    with pytest.raises(ValueError, match="draws must be at least 1, got 0"):
        make().impute(X, draws=0)

"""Second derivatives are right, or refused: never silently zero."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.distributions import Independent, Normal

from googol.distributions import Categorical, Mixture, TensorRing, VonMisesFisher
from googol.distributions import Normal as NormalVariable
from googol.transforms.vector import solve_tanh


def ring(**options) -> TensorRing:
    torch.manual_seed(0)
    return TensorRing([NormalVariable(3)] * 2 + [Categorical(2)], rank=2, dtype=torch.float64, **options)


def of_values(boundary: str) -> tuple[Tensor, Tensor]:
    x = torch.randn(5, 3, dtype=torch.float64)
    x[:, 2] = torch.arange(5) % 2
    x.requires_grad_()
    return x, ring(boundary=boundary)().log_prob(x).mean()


def of_conditions() -> tuple[Tensor, Tensor]:
    parameter = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    value = torch.cat([parameter[:2], torch.ones(1, dtype=torch.float64)])
    return parameter, ring()().condition(torch.tensor([torch.nan, torch.nan, 1.0])).log_prob(value)


def of_samples() -> tuple[Tensor, Tensor]:
    model = ring()
    given = model().condition(torch.tensor([torch.nan, torch.nan, 1.0]))
    return next(model.parameters()), given.rsample((4,))[:, :2].square().mean()


def of_mixture() -> tuple[Tensor, Tensor]:
    loc = torch.randn(2, 3, dtype=torch.float64, requires_grad=True)
    mixture = Mixture(torch.zeros(2, dtype=torch.float64), Independent(Normal(loc, 1.0), 1))
    return loc, mixture.rsample((4,)).square().mean()


def of_directions() -> tuple[Tensor, Tensor]:
    concentration = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)
    direction = torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64)
    return concentration, VonMisesFisher(direction, concentration).rsample((4,))[:, 0].mean()


def of_normalizer() -> tuple[Tensor, Tensor]:
    model = ring()
    return next(model.log_cores.parameters()), model().log_normalizer


EVERY = pytest.mark.parametrize(
    "make",
    [
        *(lambda: of_values("ring"), lambda: of_values("train"), of_conditions),
        *(of_samples, of_mixture, of_directions, of_normalizer),
    ],
    ids=["ring", "train", "conditioned", "samples", "mixture", "directions", "normalizer"],
)


@EVERY
@pytest.mark.parametrize("backward", [True, False])
def test_second_derivatives_are_refused_to_whoever_asks_for_them_alone(
    make: Callable[[], tuple[Tensor, Tensor]], backward: bool
):
    torch.manual_seed(1)
    leaf, loss = make()
    (gradient,) = torch.autograd.grad(loss, leaf, create_graph=True)
    penalty = gradient.square().sum()
    with pytest.raises(RuntimeError, match="second derivatives are not known here"):
        penalty.backward(inputs=[leaf]) if backward else torch.autograd.grad(penalty, leaf, allow_unused=True)


def test_a_hessian_is_refused():
    with pytest.raises(RuntimeError, match="second derivatives are not known here"):
        torch.autograd.functional.hessian(lambda v: ring()().log_prob(v), torch.zeros(3, dtype=torch.float64))


@EVERY
def test_a_penalty_on_a_gradient_is_refused(make: Callable[[], tuple[Tensor, Tensor]]):
    torch.manual_seed(1)
    leaf, loss = make()
    (gradient,) = torch.autograd.grad(loss, leaf, create_graph=True)
    assert gradient.abs().sum() > 0
    with pytest.raises(RuntimeError, match="second derivatives are not known here"):
        (loss + gradient.square().sum()).backward()


def test_the_root_of_a_planar_flow_has_second_derivatives():
    torch.manual_seed(0)
    p, q = torch.rand(6, dtype=torch.float64) * 3 - 0.9, torch.randn(6, dtype=torch.float64) * 2
    assert torch.autograd.gradcheck(solve_tanh, (p.requires_grad_(), q.requires_grad_()))
    assert torch.autograd.gradgradcheck(solve_tanh, (p, q))

"""The laws of invertible maps, for every transform there is."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pyro.distributions.transforms import Sylvester as PyroSylvester
from pyro.distributions.transforms.householder import ConditionedHouseholder
from pyro.distributions.transforms.planar import ConditionedPlanar
from torch import Tensor
from torch.distributions import Independent, Normal, Transform, TransformedDistribution
from torch.nn.functional import softplus

from googol.transforms import Householder, Planar, Reversal, Sylvester, orthonormal
from googol.transforms.sylvester import LARGEST_DIAGONAL
from googol.transforms.vector import solve_tanh

MAKERS = {
    "planar": lambda draw, d: Planar(draw(3, d), draw(3, d), draw(3)),
    "householder": lambda draw, d: Householder(draw(3, d)),
    "reversal": lambda draw, d: Reversal(d),
    "sylvester": lambda draw, d: Sylvester(draw(d, d), draw(d), draw(d)),
    "sylvester with columns": lambda draw, d: Sylvester(
        draw(d // 2 + 1, d // 2 + 1), draw(d // 2 + 1), draw(d // 2 + 1), orthonormal(draw(d, d // 2 + 1))
    ),
}


def drawer(*batch: int, seed: int = 0, dtype: torch.dtype = torch.float64, scale: float = 1.0):
    generator = torch.Generator().manual_seed(seed)
    return lambda *shape: scale * torch.randn((*batch, *shape), generator=generator, dtype=torch.float64).to(dtype)


@pytest.fixture(params=MAKERS, ids=lambda name: name.replace(" ", "-"))
def make(request):
    return MAKERS[request.param]


@given(d=st.integers(1, 6), seed=st.integers(0, 100), scale=st.sampled_from([0.1, 1.0, 3.0]))
@pytest.mark.parametrize("name", MAKERS)
def test_inverse_and_jacobian(name, d, seed, scale):
    transform: Transform = MAKERS[name](drawer(seed=seed, scale=scale), d)
    x = 2 * drawer(seed=seed + 1)(d)
    y, ladj = transform.call_and_ladj(x)
    torch.testing.assert_close(transform(x), y)
    torch.testing.assert_close(transform.inv(y), x, rtol=1e-9, atol=1e-9)
    dense = torch.autograd.functional.jacobian(transform, x)
    expected = torch.linalg.slogdet(dense).logabsdet
    torch.testing.assert_close(ladj, expected, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(transform.log_abs_det_jacobian(x, y), expected, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(transform.inv.log_abs_det_jacobian(y, x), -expected, rtol=1e-9, atol=1e-9)


def test_any_point_is_an_image(make):
    transform = make(drawer(20, scale=2.0), 4)
    y = 10 * drawer(20, seed=1)(4)
    torch.testing.assert_close(transform(transform.inv(y)), y, rtol=1e-9, atol=1e-9)


def test_draws_broadcast_against_the_batch(make):
    draw = drawer(5)
    transform = make(draw, 4)
    x = drawer(3, 2, 5, seed=1)(4)
    y, ladj = transform.call_and_ladj(x)
    assert (y.shape, ladj.shape) == ((3, 2, 5, 4), (3, 2, 5))
    torch.testing.assert_close(transform.inv(y), x)
    for i, j in ((0, 0), (2, 1)):
        torch.testing.assert_close(y[i, j], transform(x[i, j]))
        torch.testing.assert_close(ladj[i, j], transform.call_and_ladj(x[i, j])[1])
    assert transform.call_and_ladj(x[0, 0, 0])[0].shape[-1] == 4


def test_inverse_is_differentiable_in_values_and_parameters():
    parameters = [
        drawer(3, seed=i)(*shape) for i, shape in enumerate([(2, 4), (2, 4), (2,), (2, 2), (2,), (2,), (4, 2)])
    ]

    def inverses(y: Tensor, u: Tensor, w: Tensor, b: Tensor, t: Tensor, a: Tensor, c: Tensor, q: Tensor) -> Tensor:
        return Planar(u, w, b).inv(y) + Sylvester(t, a, c, orthonormal(q)).inv(y)

    inputs = [t.requires_grad_() for t in (drawer(3, seed=9)(4), *parameters)]
    assert torch.autograd.gradcheck(inverses, inputs)


def test_float32_agrees_with_float64(make):
    results = {}
    for dtype in (torch.float32, torch.float64):
        transform = make(drawer(50, dtype=dtype), 8)
        results[dtype] = transform.call_and_ladj(drawer(50, seed=1, dtype=dtype)(8))
        assert results[dtype][0].dtype == results[dtype][1].dtype == dtype
    for single, double in zip(*results.values(), strict=True):
        torch.testing.assert_close(single.double(), double, rtol=1e-4, atol=1e-4)


def test_torch_takes_them_for_transforms(make):
    base = Independent(Normal(torch.zeros(5, 3), torch.ones(5, 3)), 1)
    q = TransformedDistribution(base, [make(drawer(5, dtype=torch.float32, scale=0.3), 3)])
    z = q.rsample((2,))
    assert (q.batch_shape, q.event_shape, q.log_prob(z).shape) == ((5,), (3,), (2, 5))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_root_solves_its_equation(dtype):
    p = torch.cat([-0.999 + torch.logspace(-9, 0, 100), torch.logspace(-3, 4, 100)]).to(dtype).unsqueeze(1)
    q = torch.cat([torch.zeros(1), torch.logspace(-12, 6, 200)]).to(dtype)
    q = torch.cat([-q, q])
    s = solve_tanh(p, q)
    error = (s + p * s.tanh() - q).abs() / (s.abs() + q.abs()).clamp_min(1e-30)
    assert error.max() < 8 * torch.finfo(dtype).eps


# -- beside Pyro's


def test_planar_agrees_with_pyro():
    draw = drawer(6)
    u, w, b = draw(3, 4), draw(3, 4), draw(3)
    ours = Planar(u, w, b)
    # Pyro's has another function of w · u: what u gives the same shift there?
    product = (w * ours.u).sum(-1)
    there = torch.log(torch.expm1(product + 1))
    same = ours.u + ((there - product) / w.square().sum(-1)).unsqueeze(-1) * w
    x = y = drawer(6, seed=1)(4)
    ladj = torch.zeros(6, dtype=torch.float64)
    for k in range(3):
        theirs = ConditionedPlanar((b[:, k, None], same[:, k], w[:, k]))
        z = theirs(y)
        ladj, y = ladj + theirs.log_abs_det_jacobian(y, z), z
    torch.testing.assert_close(softplus(there) - 1, product)
    torch.testing.assert_close(ours(x), y)
    torch.testing.assert_close(ours.log_abs_det_jacobian(x, y), ladj)


def test_householder_agrees_with_pyro():
    v, x = drawer(6)(3, 4), drawer(6, seed=1)(4)
    theirs = ConditionedHouseholder(v)
    torch.testing.assert_close(Householder(v)(x), theirs(x))
    torch.testing.assert_close(Householder(v).inv(x), theirs.inv(x))


def test_sylvester_agrees_with_pyro():
    torch.manual_seed(0)
    # Two equal reflections give Q = I. With any other, Pyro's log |det| is not that of its own map: it multiplies rows.
    theirs = PyroSylvester(4, 2).double()
    with torch.no_grad():
        theirs.u_unnormed.fill_(1.0)
        for parameter in (theirs.b, theirs.R_diag, theirs.S_diag, theirs.R_dense, theirs.S_dense):
            parameter.normal_()
        x = torch.randn(6, 4, dtype=torch.float64)
        # Rows times upper triangles: lower ones, which are upper ones in reversed order.
        r1, r2 = (matrix.mT.flip(0, 1) for matrix in (theirs.R(), theirs.S()))
        diagonals = [torch.atanh(r.diagonal() / LARGEST_DIAGONAL) for r in (r1, r2)]
        triangles = r1.triu(1) + r2.triu(1).mT + torch.diag(diagonals[0])
        ours = Sylvester(triangles, diagonals[1], theirs.b.flip(0))
        z, ladj = ours.call_and_ladj(x.flip(-1))
        torch.testing.assert_close(z.flip(-1), theirs(x))
        torch.testing.assert_close(ladj, theirs.log_abs_det_jacobian(x, theirs(x)), rtol=1e-6, atol=1e-6)


# -- rounding, extremes, mistakes


@pytest.mark.parametrize("scale", [1e-30, 1e-8, 1e3])
def test_extreme_parameters_stay_finite(make, scale):
    draw = drawer(10, dtype=torch.float32, scale=scale)
    given = []

    def parameter(*shape: int) -> Tensor:
        given.append(draw(*shape).requires_grad_())
        return given[-1]

    y, ladj = make(parameter, 6).call_and_ladj(drawer(10, seed=1, dtype=torch.float32)(6))
    assert y.isfinite().all()
    assert ladj.isfinite().all()
    for gradient in torch.autograd.grad(y.sum() + ladj.sum(), given) if given else ():
        assert gradient.isfinite().all()


def test_zeros_are_the_identity():
    x = drawer(5)(4)
    zeros = x.new_zeros
    for transform in (
        Planar(zeros(2, 4), zeros(2, 4), zeros(2)),
        Planar(zeros(1, 4), x.unsqueeze(-2), zeros(1)),
        Householder(zeros(2, 4)),
        Sylvester(zeros(4, 4), zeros(4), zeros(4)),
    ):
        y, ladj = transform.call_and_ladj(x)
        torch.testing.assert_close(y, x)
        torch.testing.assert_close(ladj, zeros(5))


def test_nearly_parallel_reflections_stay_orthogonal_in_float32():
    v = drawer(20, dtype=torch.float32)(1, 6) + 1e-4 * drawer(20, seed=1, dtype=torch.float32)(8, 6)
    matrices = Householder(v.unsqueeze(1))(torch.eye(6).expand(20, 6, 6))
    torch.testing.assert_close(matrices @ matrices.mT, torch.eye(6).expand(20, 6, 6), rtol=0, atol=1e-5)


MISTAKES = [
    (lambda: Planar(torch.ones(1, 3), torch.ones(1, 4), torch.ones(1)), r"dimensions \(1, 3\) for w; got \(1, 4\)"),
    (lambda: Planar(torch.ones(1, 3), torch.ones(1, 3), torch.ones(2)), r"dimensions \(1,\) for b; got \(2,\)"),
    (lambda: Planar(torch.ones(4), torch.ones(4), torch.ones(())), r"vectors \(…, F, d\) for u; got shape \(4,\)"),
    (lambda: Householder(torch.ones(3)), r"vectors \(…, K, d\) for v; got shape \(3,\)"),
    (lambda: Sylvester(torch.ones(3, 2), *[torch.ones(2)] * 2), r"\(2, 2\) for triangles; got \(3, 2\)"),
    (lambda: Sylvester(torch.ones(2, 2), torch.ones(3), torch.ones(2)), r"\(2,\) for diagonal; got \(3,\)"),
    (lambda: Sylvester(torch.ones(2, 2), torch.ones(2), torch.ones(())), "vectors .* for b; got a number"),
    (
        lambda: Sylvester(torch.ones(2, 2), torch.ones(2), torch.ones(2), torch.ones(1, 2)),
        r"for q, d ≥ 2; got shape \(1, 2\)",
    ),
    (lambda: Reversal(3)(torch.ones(2, 4)), r"trailing dimension 3 for x; got \(2, 4\)"),
    (lambda: Householder(torch.ones(1, 3)).inv(torch.ones(4)), r"trailing dimension 3 for x; got \(4,\)"),
    (lambda: orthonormal(torch.ones(2, 3)), r"d ≥ m for a; got shape \(2, 3\)"),
]


@pytest.mark.parametrize(("mistake", "message"), MISTAKES)
def test_mistakes_are_refused(mistake, message):
    with pytest.raises(ValueError, match=message):
        mistake()

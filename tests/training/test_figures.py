"""Pictures show what they should."""

import numpy as np
import pytest
import torch
from tiny_run import TinyVAE, tiny_data
from torch import Tensor, nn
from torch.distributions import Independent
from torch.distributions import Normal as TorchNormal

from googol.data import Dataset
from googol.distributions import Categorical, Mixture, Normal, TensorRing
from googol.priors import NormalMixture, StandardNormal
from googol.training import STANDARD_FIGURES, image_grid, to_png
from googol.training.pairs import dependent_pairs, pair_density


class RingModel(nn.Module):
    """Codes of 5 numbers under a ring of 5 Normals and a Categorical."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.prior = TensorRing([Normal(3)] * 4 + [Normal(4), Categorical(3)], rank=2)
        self.encoder = nn.Linear(16, 5)

    def posterior(self, x: Tensor) -> Independent:
        return Independent(TorchNormal(self.encoder(x.flatten(1)), 0.5), 1)


def pixels(name: str, model, data) -> np.ndarray:
    import io

    from matplotlib.image import imread

    with torch.no_grad():
        figure = STANDARD_FIGURES[name](model, data)
    return imread(io.BytesIO(to_png(figure)))


def test_image_grid_places_images_row_by_row() -> None:
    images = torch.arange(6.0).view(6, 1, 1, 1).expand(6, 1, 2, 3) / 5
    grid = np.asarray(image_grid(images, columns=4, padding=1, scale=2))
    assert grid.shape == (2 * 5 + 1, 4 * 7 + 1)
    for number in range(6):
        top, left = number // 4 * 5 + 1, number % 4 * 7 + 1
        assert (grid[top : top + 4, left : left + 6] == 51 * number).all()
    assert (grid[0] == 255).all()
    assert (grid[6:, 15:] == 255).all()


@pytest.mark.parametrize("options", [{"columns": 0}, {"scale": 0}, {"padding": -1}])
def test_image_grid_refuses_numbers_out_of_range(options: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="expected columns and scale of at least 1 and padding of at least 0, got"):
        image_grid(torch.zeros(3, 1, 2, 2), **options)


def test_image_grid_in_colour_and_beyond_the_range() -> None:
    red = torch.tensor([2.0, -1.0, 0.5]).view(1, 3, 1, 1).expand(2, 3, 4, 4)
    grid = image_grid(red, columns=8)
    assert (grid.mode, grid.size) == ("RGB", (11, 6))
    assert grid.getpixel((1, 1)) == (255, 0, 128)


@pytest.mark.parametrize("shape", [(0, 1, 4, 4), (3, 2, 4, 4), (3, 4, 4)])
def test_image_grid_refuses_other_shapes(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"expected images of shape \(n, 1 or 3, height, width\), got"):
        image_grid(torch.zeros(shape))


def test_pairs_of_latents_of_a_ring_are_drawn() -> None:
    model, data = RingModel(), tiny_data(50)
    with torch.no_grad():
        figure = STANDARD_FIGURES["prior"](model, data)
    assert len(figure.axes) == 2
    shown = [int(label[2:-1]) for axis in figure.axes for label in (axis.get_xlabel(), axis.get_ylabel())]
    assert len(set(shown)) == 4
    assert set(shown) <= set(range(5))


def test_marginals_of_pairs_are_those_of_samples_and_densities() -> None:
    """The marginal of a mixture integrates the third variable out, here by a sum over a fine grid."""
    torch.manual_seed(0)
    components = Independent(TorchNormal(torch.randn(4, 3).double(), torch.rand(4, 3).double() + 0.3), 1)
    mixture = Mixture(torch.randn(4).double(), components)
    third = torch.linspace(-9, 9, 2001, dtype=torch.float64)
    z = torch.stack([torch.full_like(third, 0.7), third, torch.full_like(third, -0.2)], -1)
    exact = mixture.log_prob(z).exp().sum() * (third[1] - third[0])
    found = pair_density(mixture, (0, 2)).log_prob(torch.tensor([0.7, -0.2]).double()).exp()
    torch.testing.assert_close(found, exact)


def test_the_most_dependent_variables_are_found_also_without_correlation() -> None:
    torch.manual_seed(0)
    z = torch.randn(4000, 6)
    z[:, 4] = 0.8 * z[:, 1] + 0.6 * z[:, 4]
    z[:, 3] *= 1 + (z[:, 0].abs() > 1) * 3  # uncorrelated, but of a scale that the other one knows
    assert dependent_pairs(z, 3)[:2] == [(1, 4), (0, 3)]
    assert len({i for pair in dependent_pairs(z, 3) for i in pair}) == 6


@pytest.mark.parametrize("made", [StandardNormal(5), NormalMixture(5, components=3)])
def test_priors_of_many_latents_are_drawn_over_the_pairs_that_are_asked_for(made: nn.Module) -> None:
    model = nn.Module()
    model.prior = made
    with torch.no_grad():
        figure = STANDARD_FIGURES["prior"](model, tiny_data(5), [(3, 1), (0, 4)])
        labels = [(axis.get_xlabel(), axis.get_ylabel()) for axis in figure.axes]
        assert labels == [("z[1]", "z[3]"), ("z[0]", "z[4]")]
        with pytest.raises(ValueError, match="expected a pair of two latents out of 0 to 4, got 1,5"):
            STANDARD_FIGURES["prior"](model, tiny_data(5), [(1, 5)])


def test_ellipses_are_the_components_of_the_marginal() -> None:
    """Two pairs of components out of four are possible: two ellipses, at their means, with their deviations."""
    cores = [torch.eye(2).view(2, 2, 1) * torch.eye(2).view(2, 1, 2)] * 2
    prior = TensorRing(
        [Normal(2, loc=[-1.0, 2.0], scale=[0.5, 0.25]), Normal(2, loc=[5.0, 7.0], scale=[1.0, 2.0])],
        rank=2,
        cores=cores,
    )
    model = RingModel()
    model.prior, model.encoder = prior, nn.Linear(16, 2)
    with torch.no_grad():
        (axis,) = STANDARD_FIGURES["prior"](model, tiny_data(50)).axes
    (ellipses,) = [each for each in axis.collections if type(each).__name__ == "EllipseCollection"]
    np.testing.assert_allclose(ellipses.get_offsets(), [[-1, 5], [2, 7]], rtol=1e-5)
    np.testing.assert_allclose(ellipses.get_widths(), [1, 0.5], rtol=1e-5)
    np.testing.assert_allclose(ellipses.get_heights(), [2, 4], rtol=1e-5)


def test_codes_are_coloured_by_their_class_and_grey_where_it_is_missing() -> None:
    data = tiny_data(50)
    with torch.no_grad():
        (axis,) = STANDARD_FIGURES["latent_space"](TinyVAE().eval(), data).axes
    counts = {line.get_label(): len(line.get_xdata()) for line in axis.lines}
    labels = data.conditions[:, 0]
    classes = {"low": 0, "middle": 1, "high": 2}
    assert counts == {"missing": int(labels.isnan().sum())} | {
        name: int((labels == number).sum()) for name, number in classes.items()
    }


def test_codes_of_more_latents_are_projected_onto_their_principal_axes() -> None:
    data = tiny_data(50)
    with torch.no_grad():
        (axis,) = STANDARD_FIGURES["latent_space"](RingModel(), data).axes
    points = np.concatenate([line.get_xydata() for line in axis.lines])
    covariance = np.cov(points.T)
    assert abs(covariance[0, 1]) < 1e-3 * covariance[0, 0]
    assert covariance[0, 0] > covariance[1, 1]


@pytest.mark.parametrize("name", ["samples", "reconstructions", "latent_space", "prior"])
def test_figures_are_pictures(name: str) -> None:
    picture = pixels(name, TinyVAE().eval(), tiny_data(50))
    assert picture.ndim == 3
    assert picture.std() > 0.02


@pytest.mark.parametrize("name", ["reconstructions", "latent_space", "prior"])
def test_what_a_model_does_not_have_is_not_drawn(name: str) -> None:
    assert STANDARD_FIGURES[name](nn.Linear(1, 1), tiny_data(50)) is None


class BrightnessModel(nn.Module):
    """Two codes that both tell how bright an image is, under a train of two far components tied by their bond."""

    def __init__(self) -> None:
        super().__init__()
        eye = torch.eye(2)
        tied = torch.einsum("ka,kb->kab", eye, eye)
        variables = [Normal(2, loc=[-3.0, 3.0], scale=1.0)] * 2
        self.prior = TensorRing(variables, rank=2, boundary="train", cores=[tied, tied])

    def posterior(self, x: Tensor) -> Independent:
        return Independent(TorchNormal((6 * x.mean((1, 2, 3)) - 3).unsqueeze(1).expand(-1, 2), 0.1), 1)


def test_groups_are_of_images_whose_codes_have_one_bond_value() -> None:
    images = torch.zeros(80, 1, 4, 4, dtype=torch.uint8)
    images[::4] = 255
    with torch.no_grad():
        figure = STANDARD_FIGURES["groups"](BrightnessModel(), Dataset("two", images, torch.zeros(80, 0), ()))
    shown = np.asarray(figure.axes[0].images[0].get_array())
    assert shown.shape[0] == 2 * 5 + 1  # the group of the dark ones, which are more, comes first
    assert all((shown[1:5, left : left + 4] == 0).all() for left in range(1, 80, 5))
    assert all((shown[6:10, left : left + 4] == 255).all() for left in range(1, 80, 5))


def test_a_model_without_a_ring_has_no_groups() -> None:
    assert STANDARD_FIGURES["groups"](TinyVAE(), tiny_data(8)) is None

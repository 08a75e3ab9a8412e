"""Pictures of a model while it trains: samples, reconstructions, the latent space, the learned prior.

Each is a function of a model and a data set that returns a matplotlib `Figure`, or None where the model has
no such thing. They use no global state of matplotlib and need no display.
"""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from googol.data import Dataset
from googol.distributions import TensorRing, TensorRingDistribution
from googol.metrics import groups as groups_of_codes
from googol.training.checkpoints import write_file
from googol.training.pairs import active_pairs, dependent_pairs, pair_density

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from PIL.Image import Image

FigureMaker = Callable[[Any, Dataset], "Figure | None"]

CODES = 2000  # images whose codes are shown
GROUPS, GROUP = 16, 16  # groups of codes that are shown, and images of each
PANELS = 4  # pairs of latent variables whose prior is shown
MISSING = "0.85"  # light grey


def image_grid(images: Tensor, *, columns: int = 8, padding: int = 1, scale: int = 1) -> Image:
    """Puts images side by side, row by row, on white.

    Arguments:
        images: (n, channels, height, width) in [0, 1], of 1 or 3 channels.
        columns: Images in a row.
        padding: Pixels between the images and around them.
        scale: Whole factor by which each image is enlarged.

    Raises:
        ValueError: If the images have another shape, there are none, or a number is out of its range.

    Example:
        >>> image_grid(torch.zeros(10, 1, 8, 8), columns=5).size
        (46, 19)
    """
    from PIL import Image

    if min(columns, scale) < 1 or padding < 0:
        raise ValueError(
            f"expected columns and scale of at least 1 and padding of at least 0, got {columns}, {scale} and {padding}"
        )
    if images.ndim != 4 or images.shape[1] not in (1, 3) or len(images) == 0:
        raise ValueError(f"expected images of shape (n, 1 or 3, height, width), got {tuple(images.shape)}")
    pixels = (images.detach().cpu().float().clamp(0, 1) * 255).round().to(torch.uint8)
    pixels = pixels.repeat_interleave(scale, -1).repeat_interleave(scale, -2).permute(0, 2, 3, 1)
    height, width = pixels.shape[1] + padding, pixels.shape[2] + padding
    columns = min(columns, len(pixels))
    rows = math.ceil(len(pixels) / columns)
    canvas = torch.full((rows * height + padding, columns * width + padding, pixels.shape[3]), 255, dtype=torch.uint8)
    for number, image in enumerate(pixels):
        top, left = (number // columns) * height + padding, (number % columns) * width + padding
        canvas[top : top + image.shape[0], left : left + image.shape[1]] = image
    return Image.fromarray(canvas.squeeze(-1).numpy())


def grid_png(images: Tensor, *, columns: int, tile: int = 64) -> bytes:
    """A grid of images as the content of a PNG file, small images enlarged to about ``tile`` pixels.

    Example:
        >>> grid_png(torch.zeros(10, 1, 8, 8), columns=5)[:4]
        b'\\x89PNG'
    """
    content = io.BytesIO()
    scale = max(1, round(tile / max(images.shape[-2:])))
    image_grid(images, columns=columns, padding=scale, scale=scale).save(content, "png", optimize=True)
    return content.getvalue()


def to_png(figure: Figure) -> bytes:
    """A figure as the content of a PNG file."""
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=120, bbox_inches="tight", facecolor="white")
    return content.getvalue()


@contextmanager
def names_as_they_are() -> Iterator[None]:
    """While figures are made: the names of conditions and their values may have dollar signs, which are no formulas."""
    from matplotlib import rc_context

    with rc_context({"text.parse_math": False}):
        yield


@torch.no_grad()
def draw_figures(makers: Mapping[str, FigureMaker], model: Any, data: Dataset, folder: Path) -> None:
    """Writes `NAME.png` for each name; a figure that fails is left out with a warning."""
    for name, make in makers.items():
        try:
            with names_as_they_are():
                figure = make(model, data)
                content = None if figure is None else to_png(figure)
        except Exception as error:  # a picture is not worth a run
            warnings.warn(f"figure {name} was not drawn: {error!r}", stacklevel=2)
            continue
        if content is not None:
            write_file(folder / f"{name}.png", content)


def keep_figure(path: Path, name: str) -> None:
    """Copies a picture, if it was drawn, under another name beside it, where the next one will not replace it."""
    if path.is_file():
        write_file(path.with_name(name), path.read_bytes())


def samples(model: Any, data: Dataset) -> Figure | None:
    """64 images drawn from the model; of points in the plane, as images of two pixels, some thousand over the data."""
    if math.prod(data.image_shape) == 2:
        return _points({"data": data.pixels(slice(CODES)), "samples": model.sample(CODES)})
    return _pictures(model.sample(64), columns=8, title="samples")


def reconstructions(model: Any, data: Dataset) -> Figure | None:
    """Images of the data, each above what the model makes of its code."""
    if not hasattr(model, "reconstruct"):
        return None
    columns = min(12, len(data))
    x = _images(model, data, 3 * columns)
    rows = zip(x.split(columns), model.reconstruct(x).split(columns), strict=True)
    whole = [row for pair in rows if len(pair[0]) == columns for row in pair]
    return _pictures(torch.cat(whole), columns=columns, title="images, and below each its reconstruction")


def latent_space(model: Any, data: Dataset) -> Figure | None:
    """Codes drawn from q(z given x), coloured by the first categorical condition.

    More than two latent variables are projected onto the two principal axes of the codes.
    """
    if not hasattr(model, "posterior"):
        return None
    codes, _ = _codes(model, data)
    if codes.shape[1] < 2:
        return None
    names = ("z[0]", "z[1]")
    if codes.shape[1] > 2:
        centred = codes - codes.mean(0)
        _, axes = torch.linalg.eigh(centred.mT @ centred)
        codes, names = centred @ axes[:, [-1, -2]], ("first principal axis", "second principal axis")
    figure, (axis,) = _panels(1, size=5)
    draw_codes(axis, codes.cpu(), data)
    axis.set(xlabel=names[0], ylabel=names[1], title="latent space")
    return figure


def prior(model: Any, data: Dataset, pairs: Sequence[tuple[int, int]] | None = None) -> Figure | None:
    """The density of the prior over pairs of latent variables, with codes drawn from q(z given x), or else from it.

    Of a tensor ring, the components are shown too: an ellipse at one standard deviation for each pair of
    components, the darker the more probable. The pairs, if they are not given, are those of the latent variables that
    tell most about the image, or else the most dependent ones under the prior.

    Raises:
        ValueError: A pair is not one of two latent variables.
    """
    if not hasattr(model, "prior"):
        return None
    distribution = model.prior()
    codes, others = _codes(model, data) if hasattr(model, "posterior") else (distribution.sample((CODES,)), None)
    latents = codes.shape[1]
    if latents < 2:
        return None
    pairs = None if pairs is None else [(min(pair), max(pair)) for pair in pairs]
    for pair in pairs or ():
        if len(set(pair)) != 2 or not all(0 <= i < latents for i in pair):
            raise ValueError(f"expected a pair of two latents out of 0 to {latents - 1}, got {pair[0]},{pair[1]}")
    if pairs is None:
        pairs = dependent_pairs(codes, PANELS) if others is None else active_pairs(codes, others, PANELS)
    densities = [pair_density(distribution, pair) for pair in pairs]
    if None in densities:
        return None
    is_ring = isinstance(distribution, TensorRingDistribution)
    figure, axes = _panels(len(pairs), size=4)
    for axis, pair, density in zip(axes, pairs, densities, strict=True):
        _contours(axis, density, codes[:, pair])
        if is_ring:
            draw_components(axis, density)
        axis.plot(*codes[:500, pair].T.cpu().numpy(), ".", color="black", markersize=1.5, alpha=0.5)
        axis.set(xlabel=f"z[{pair[0]}]", ylabel=f"z[{pair[1]}]")
    dots = "samples" if others is None else "codes of images"
    figure.suptitle(f"prior: density, {'components (ellipses), ' if is_ring else ''}{dots} (dots)")
    return figure


def groups(model: Any, data: Dataset) -> Figure | None:
    """Images in the groups that a tensor ring divides codes into (:func:`googol.metrics.groups`): a row for each of the
    largest.
    """
    ring = getattr(model, "prior", None)
    if not hasattr(model, "posterior") or not isinstance(ring, TensorRing) or len(ring) < 2:
        return None
    x = _images(model, data, CODES)
    group = groups_of_codes(model, x)
    sizes = group.bincount(minlength=ring.rank)
    rows = [x[group == g][:GROUP] for g in sizes.argsort(descending=True).tolist() if sizes[g] >= GROUP][:GROUPS]
    return _pictures(torch.cat(rows), columns=GROUP, title="images by group (a row each)") if rows else None


STANDARD_FIGURES: dict[str, FigureMaker] = {
    "samples": samples,
    "reconstructions": reconstructions,
    "latent_space": latent_space,
    "prior": prior,
    "groups": groups,
}


def _contours(axis: Axes, density: Any, codes: Tensor) -> None:
    low, high = codes.min(0).values, codes.max(0).values
    margin = 0.1 * (high - low) + 1e-3
    steps = torch.linspace(0, 1, 120, device=codes.device).unsqueeze(1)
    ticks = (low - margin) + steps * (high - low + 2 * margin)
    grid = torch.stack(torch.meshgrid(ticks[:, 0], ticks[:, 1], indexing="xy"), -1)
    values = density.log_prob(grid.flatten(0, 1)).exp().view(grid.shape[:2])
    horizontal, vertical = ticks.T.cpu().numpy()
    axis.contourf(horizontal, vertical, values.cpu().numpy(), levels=12, cmap="Blues")
    axis.set(xlim=horizontal[[0, -1]], ylim=vertical[[0, -1]])


def draw_components(
    axis: Axes, density: TensorRingDistribution, *, colour: str = "tab:red", above_codes: bool = False
) -> None:
    """Draws the pairs of components of two variables: ellipses at one standard deviation, darker the more probable."""
    from matplotlib.collections import EllipseCollection
    from matplotlib.colors import to_rgba

    means, variances = density.emissions.moments()  # (2, N)
    count = means.shape[1]
    pairs = torch.cartesian_prod(*[torch.arange(count, device=means.device)] * 2).mT  # (2, N²)
    # The weight of a pair of components: that of the chain in which only these two are possible.
    only = torch.full((2, count * count, count), -math.inf, device=means.device).scatter(2, pairs.unsqueeze(2), 0.0)
    log_weights = density.chain.log_sum(only)
    strength = (log_weights - log_weights.max()).exp()
    shown = pairs[:, strength > 0.02]
    widths, heights = (2 * variances.gather(1, shown).sqrt()).cpu().numpy()
    ellipses = EllipseCollection(
        widths,
        heights,
        angles=0 * widths,
        units="xy",
        offsets=means.gather(1, shown).T.cpu().numpy(),
        offset_transform=axis.transData,
        facecolors="none",
        zorder=3 if above_codes else 1,
        edgecolors=[to_rgba(colour, 0.15 + 0.85 * float(value)) for value in strength[strength > 0.02]],
    )
    axis.add_collection(ellipses)


def draw_codes(axis: Axes, codes: Tensor, data: Dataset) -> None:
    """Draws codes (n, 2) of the first images of a data set, coloured by its first categorical condition."""
    from matplotlib import colormaps

    columns = [i for i, condition in enumerate(data.schema) if condition.values is not None]
    labels = data.conditions[: len(codes), columns[0]].cpu() if columns else codes[:, 0] * math.nan
    missing = labels.isnan()
    axis.plot(
        *codes[missing].T.numpy(),
        ".",
        color=MISSING,
        markersize=3,
        label="missing" if columns and missing.any() else None,
    )
    values: Sequence[str] = (data.schema[columns[0]].values or ()) if columns else ()
    colours = colormaps["tab10" if len(values) <= 10 else "tab20"]
    for number, value in enumerate(values):
        axis.plot(*codes[labels == number].T.numpy(), ".", color=colours(number % 20), markersize=3, label=value)
    if 0 < len(values) <= 20:
        title = data.schema[columns[0]].name
        axis.legend(title=title, loc="center left", bbox_to_anchor=(1, 0.5), markerscale=3, frameon=False)


def _codes(model: Any, data: Dataset) -> Tensor:
    codes: Tensor = model.posterior(_images(model, data, CODES)).sample((2,))
    return codes


def _images(model: Any, data: Dataset, count: int) -> Tensor:
    return data.pixels(slice(count)).to(next(model.parameters()).device)


def _points(sets: Mapping[str, Tensor]) -> Figure:
    figure, (axis,) = _panels(1, size=5)
    for colour, (label, points) in zip((MISSING, "tab:blue"), sets.items(), strict=True):
        axis.plot(*points.flatten(1).T.cpu().numpy(), ".", markersize=2, color=colour, label=label)
    axis.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
    axis.legend(markerscale=4, loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    return figure


def _pictures(images: Tensor, *, columns: int, title: str) -> Figure:
    figure, (axis,) = _panels(1, size=6)
    axis.imshow(image_grid(images, columns=columns), cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    axis.set_axis_off()
    axis.set_title(title)
    return figure


def _panels(count: int, *, size: float) -> tuple[Figure, list[Axes]]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(count * size, size), layout="constrained")
    return figure, [figure.add_subplot(1, count, number + 1) for number in range(count)]

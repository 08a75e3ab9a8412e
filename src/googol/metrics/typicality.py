"""How far a score tells strangers from what is known: p-values, and the area under the ROC curve."""

import torch
from torch import Tensor


def typicality(scores: Tensor, calibration: Tensor) -> Tensor:
    r"""The share of known examples that score no higher, the example itself among them: a conformal p-value.

    .. math:: t(x) = \frac{1 + \#\{i : s_i \le s(x)\}}{n + 1}

    If the example is one more of those that were not trained on, drawn as the n of the calibration were (so that
    all n + 1 are exchangeable), then whatever the scores are,

    .. math:: P(t(x) \le \alpha) \le \alpha .

    A stranger with a score below all others gets the least value there is, 1 / (n + 1).

    References:
        Vovk, Gammerman & Shafer, Algorithmic Learning in a Random World, 2005, chapter 2.

    Args:
        scores: Any shape, the larger the more probable, such as log p(x).
        calibration: The scores (n,) of known examples that were not trained on.

    Returns:
        The shape of ``scores``, float64 in (0, 1].

    Raises:
        ValueError: There is no calibration, or a score is NaN.

    Example:
        >>> import torch
        >>> from googol.metrics import typicality
        >>> typicality(torch.tensor([-900.0, -90.0]), calibration=torch.tensor([-110.0, -100.0, -95.0, -80.0]))
        tensor([0.2000, 0.8000], dtype=torch.float64)
    """
    _check(scores=scores, calibration=calibration)
    if calibration.dim() != 1 or len(calibration) == 0:
        raise ValueError(f"Expected calibration of shape (n,) with n at least 1; got {tuple(calibration.shape)}.")
    lower = torch.searchsorted(calibration.double().sort().values, scores.double().contiguous(), right=True)
    return (1 + lower).double() / (len(calibration) + 1)


def auroc(known: Tensor, strangers: Tensor) -> float:
    """The area under the ROC curve: how probably a known example scores higher than a stranger.

    1 if every known example scores higher than every stranger, 0.5 if the scores tell nothing, below 0.5 if
    strangers score higher; ties count half.

    Args:
        known: Scores (n,).
        strangers: Scores (m,).

    Raises:
        ValueError: One of them is empty, or a score is NaN.

    Example:
        >>> import torch
        >>> from googol.metrics import auroc
        >>> auroc(torch.tensor([-90.0, -80.0]), torch.tensor([-500.0, -85.0]))
        0.75
    """
    _check(known=known, strangers=strangers)
    if len(known) == 0 or len(strangers) == 0:
        raise ValueError(f"Expected known and strangers not to be empty; got {len(known)} and {len(strangers)}.")
    # Counted in pairs (Mann and Whitney): the usual implementations put scores outside [0, 1] through a sigmoid,
    # which in single precision is 0 for every log p(x) of an image.
    order = strangers.double().sort().values
    below, not_above = (torch.searchsorted(order, known.double().contiguous(), right=right) for right in (False, True))
    return ((below + not_above).double().mean() / (2 * len(order))).item()


def _check(**scores: Tensor) -> None:
    for name, values in scores.items():
        if values.isnan().any():
            raise ValueError(f"Expected {name} without NaN; got {int(values.isnan().sum())} of {values.numel()}.")

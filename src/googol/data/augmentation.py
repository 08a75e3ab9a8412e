"""Images as they might also have been: mirrored, and shifted by a few pixels."""

import torch
from torch import Tensor


def augmented(x: Tensor, *, mirror: bool = False, shift: int = 0) -> Tensor:
    """Each image mirrored with a probability of one half, and shifted by its own few pixels.

    Args:
        x: Images (n, channels, height, width).
        mirror: Whether left and right may be exchanged.
        shift: The most pixels to shift by, up or down and left or right; the edges are repeated.

    Returns:
        Images of the same shape; x itself if nothing is asked for.

    Raises:
        ValueError: ``shift`` is negative.

    Example:
        >>> import torch
        >>> x = torch.arange(12.0).view(1, 1, 3, 4)
        >>> augmented(x, mirror=True, shift=1).shape
        torch.Size([1, 1, 3, 4])
    """
    if shift < 0:
        raise ValueError(f"shift must be at least 0, got {shift}")
    n, _, height, width = x.shape
    if mirror:
        x = torch.where(torch.rand(n, 1, 1, 1, device=x.device) < 0.5, x.flip(-1), x)
    if shift:
        by = torch.randint(-shift, shift + 1, (2, n, 1), device=x.device)
        rows = (torch.arange(height, device=x.device) + by[0]).clamp(0, height - 1)
        columns = (torch.arange(width, device=x.device) + by[1]).clamp(0, width - 1)
        each = torch.arange(n, device=x.device)[:, None, None]
        x = x[each, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
    return x

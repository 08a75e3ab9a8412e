"""Numbers and choices in plain words, as the page says them."""

from __future__ import annotations

from collections.abc import Sequence


def percent(probability: float) -> str:
    """A probability as people read it, with no more digits than help.

    Example:
        >>> [percent(p) for p in (0, 0.0004, 0.042, 0.42, 0.9996, 1)]
        ['0 %', 'under 0.1 %', '4.2 %', '42 %', 'over 99.9 %', '100 %']
    """
    if probability <= 0:
        return "0 %"
    if probability < 0.001:
        return "under 0.1 %"
    if probability < 0.0995:
        return f"{100 * probability:.1f} %"
    if 0.999 < probability < 1 - 1e-6:
        return "over 99.9 %"
    return f"{100 * probability:.0f} %" if probability < 0.99 or probability > 0.999 else f"{100 * probability:.1f} %"


def frequency(probability: float) -> str:
    """How often something happens, in words and as a number.

    Example:
        >>> [frequency(p) for p in (0.999, 0.62, 0.101, 0.0123, 1 / 34567, 1e-15)]  # doctest: +NORMALIZE_WHITESPACE
        ['nearly all (99.9 %)', 'about 6 in 10 (62 %)', 'about 1 in 10 (10 %)', 'about 1 in 81 (1.2 %)',
         'about 1 in 35,000', 'fewer than 1 in a billion']
    """
    if probability > 0.95:
        return f"nearly all ({percent(probability)})"
    if probability > 0.25:
        return f"about {round(10 * probability)} in 10 ({percent(probability)})"
    if probability < 1e-9:
        return "fewer than 1 in a billion"
    count = float(f"{1 / probability:.2g}")
    return f"about 1 in {count:,.0f}" + (f" ({percent(probability)})" if probability >= 0.001 else "")


def listed(words: Sequence[str], last: str = "and") -> str:
    """Words in a row.

    Example:
        >>> listed(["3", "5", "8"], "or")
        '3, 5 or 8'
    """
    *first, end = words
    return f"{', '.join(first)} {last} {end}" if first else end

"""Posteriors: modules that return q(z given x) when called with x."""

from googol.posteriors.diagonal import DiagonalNormal

__all__ = ["DiagonalNormal"]

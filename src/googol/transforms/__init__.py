"""Invertible maps of vectors with cheap Jacobians, one for every row of a batch."""

from googol.transforms.householder import Householder
from googol.transforms.orthonormal import orthonormal
from googol.transforms.planar import Planar
from googol.transforms.reversal import Reversal
from googol.transforms.sylvester import Sylvester

__all__ = ["Householder", "Planar", "Reversal", "Sylvester", "orthonormal"]

"""Generative models with tractable structure: tensor-ring priors and generation under any subset of conditions."""

__version__ = "0.1.0"

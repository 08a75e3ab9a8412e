"""Encoders and decoders: plain modules from images to vectors and back, under any leading batch shape."""

from .convolutional import ConvDecoder, ConvEncoder
from .mlp import MLP, MLPDecoder, MLPEncoder

__all__ = ["MLP", "ConvDecoder", "ConvEncoder", "MLPDecoder", "MLPEncoder"]

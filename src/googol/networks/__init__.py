"""Encoders and decoders: plain modules from images to vectors and back, under any leading batch shape."""

from googol.networks.convolutional import ConvDecoder, ConvEncoder
from googol.networks.mlp import MLP, MLPDecoder, MLPEncoder

__all__ = ["MLP", "ConvDecoder", "ConvEncoder", "MLPDecoder", "MLPEncoder"]

"""Encoders and decoders: plain modules from images to vectors and back, under any leading batch shape.

And the form in which they get conditions and say them.
"""

from googol.networks.conditions import ConditionCoding
from googol.networks.convolutional import ConvDecoder, ConvEncoder
from googol.networks.dcgan import DCGANDecoder, DCGANEncoder
from googol.networks.gated_conv import GatedConvDecoder, GatedConvFeatures
from googol.networks.joined import JoinedEncoder, JoinedMLP
from googol.networks.mlp import MLP, MLPDecoder, MLPEncoder
from googol.networks.pixelcnn import GatedPixelCNN

__all__ = [
    "MLP",
    "ConditionCoding",
    "ConvDecoder",
    "ConvEncoder",
    "DCGANDecoder",
    "DCGANEncoder",
    "GatedConvDecoder",
    "GatedConvFeatures",
    "GatedPixelCNN",
    "JoinedEncoder",
    "JoinedMLP",
    "MLPDecoder",
    "MLPEncoder",
]

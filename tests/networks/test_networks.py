"""Both pairs of networks obey the same laws: shapes, batches, gradients, refusals."""

import pytest
import torch
from torch import nn

from googol.networks import (
    MLP,
    ConvDecoder,
    ConvEncoder,
    DCGANDecoder,
    DCGANEncoder,
    GatedConvDecoder,
    GatedConvFeatures,
    JoinedEncoder,
    JoinedMLP,
    MLPDecoder,
    MLPEncoder,
)
from googol.networks.layers import GAINS, scaled

SHAPES = [(1, 8, 8), (1, 28, 28), (1, 28, 20), (3, 32, 32), (3, 64, 64), (2, 9, 15)]


def gated_encoder(shape, outputs):
    features = GatedConvFeatures(shape, width=8)
    return nn.Sequential(features, nn.Linear(features.features, outputs))


def gated_decoder(latents, shape):
    return GatedConvDecoder([2, latents - 2], shape, hidden=20, width=8)


PAIRS = [(ConvEncoder, ConvDecoder), (MLPEncoder, MLPDecoder), (DCGANEncoder, DCGANDecoder)]
PAIRS += [(gated_encoder, gated_decoder)]


@pytest.mark.parametrize("leading", [(), (0,), (2,), (3, 2)])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("encoder", "decoder"), PAIRS)
def test_shapes(encoder, decoder, shape, leading):
    codes = encoder(shape, 7)(torch.rand(*leading, *shape))
    assert codes.shape == (*leading, 7)
    assert decoder(7, shape).eval()(codes).shape == (*leading, *shape)


@pytest.mark.parametrize(("encoder", "decoder"), PAIRS)
def test_an_image_does_not_depend_on_its_neighbours(encoder, decoder):
    shape = (2, 12, 9)
    networks = [encoder(shape, 4).double(), decoder(4, shape).double().eval()]
    for network, inputs in zip(networks, [torch.rand(3, 5, *shape), torch.randn(3, 5, 4)], strict=True):
        inputs = inputs.double()
        alone = torch.stack([torch.stack([network(one) for one in row]) for row in inputs])
        torch.testing.assert_close(network(inputs), alone)


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 28, 20)])
@pytest.mark.parametrize(("encoder", "decoder"), PAIRS)
def test_every_parameter_learns(encoder, decoder, shape):
    torch.manual_seed(0)
    networks = nn.Sequential(encoder(shape, 6), decoder(6, shape))
    networks(torch.rand(4, *shape)).square().mean().backward()
    for name, parameter in networks.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().max() > 0, name


def test_the_convolutional_pair_has_eight_layers_each():
    kinds = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)
    for network in [ConvEncoder((1, 28, 28), 10), ConvDecoder(5, (1, 28, 28))]:
        layers = [layer for layer in network.modules() if isinstance(layer, kinds)]
        assert len(layers) == 8
        assert sum(isinstance(layer, nn.Linear) for layer in layers) == 2


def test_every_pixel_reaches_the_code_and_is_reached_by_it():
    # Odd sizes are halved with rounding down: no last row or column may get lost on the way.
    torch.manual_seed(0)
    x = torch.rand(1, 1, 15, 13, requires_grad=True)
    encoder, decoder = ConvEncoder((1, 15, 13), 4), ConvDecoder(4, (1, 15, 13))
    encoder(x).square().sum().backward()
    assert (x.grad != 0).all()
    spread = decoder(torch.randn(8, 4)).std(0)
    assert (spread > 0).all()


@pytest.mark.parametrize(
    "layers",
    [
        [nn.Linear(400, 400) for _ in range(6)],
        [nn.Conv2d(64, 64, 4, stride=2, padding=1) for _ in range(2)],
        [nn.ConvTranspose2d(64, 64, 4, stride=2, padding=1) for _ in range(2)],
        [nn.ConvTranspose2d(64, 64, 3, padding=1) for _ in range(3)],
    ],
)
def test_scaled_layers_keep_the_size_of_a_signal(layers):
    torch.manual_seed(0)
    signal = torch.randn(200, 400) if isinstance(layers[0], nn.Linear) else torch.randn(8, 64, 24, 24)
    for layer in layers:
        signal = scaled(layer)(nn.functional.silu(signal))
    inner = signal if signal.dim() == 2 else signal[..., 2:-2, 2:-2]
    assert 0.8 < inner.std() < 1.25


def test_the_published_gated_networks():
    """Tomczak & Welling: 294 features of an image of 28 × 28; five gated convolutions in, four out and one of 1 × 1."""
    features, decoder = GatedConvFeatures((1, 28, 28)), GatedConvDecoder([40, 40], (1, 28, 28))
    assert features.features == 294
    layers = [[part for part in network.modules() if isinstance(part, nn.Conv2d)] for network in (features, decoder)]
    assert [(c.in_channels, c.out_channels // 2, c.kernel_size[0], c.stride[0]) for c in layers[0]] == [
        *[(1, 32, 7, 1), (32, 32, 3, 2), (32, 64, 5, 1), (64, 64, 3, 2), (64, 6, 3, 1)]
    ]
    assert [c.kernel_size[0] for c in layers[1]] == [3, 3, 3, 3, 1]


def test_a_joined_network_sees_all_its_inputs_and_each_image_once():
    torch.manual_seed(0)
    of_image, of_codes, joined = MLPEncoder((1, 2, 3), 5), MLP(3, 4), MLP(9, 2)
    encoder = JoinedEncoder(of_image, of_codes, joined)
    x, z = torch.rand(4, 1, 2, 3), torch.randn(6, 4, 3)
    seen = []
    of_image.register_forward_hook(lambda module, inputs, output: seen.append(len(inputs[0])))
    found = encoder(x, z)
    assert seen == [4]
    each = torch.stack([joined(torch.cat([of_image(x), of_codes(code)], -1)) for code in z])
    torch.testing.assert_close(found, each)


def test_each_code_has_a_first_layer_of_its_own():
    network = JoinedMLP([2, 3], 4, hidden=(5,), activation="gated").double()
    z = torch.randn(7, 5, dtype=torch.float64)
    hidden = [part(code) for part, code in zip(network.each, z.split([2, 3], -1), strict=True)]
    torch.testing.assert_close(network(z), network.joined(torch.cat(hidden, -1)))
    assert [part[0].weight.shape for part in network.each] == [(10, 2), (10, 3)]
    with pytest.raises(ValueError, match=r"\(5,\) for z; got \(7, 4\)"):
        network(z[:, :4])


def test_mlp_without_hidden_layers_is_linear():
    network = MLP(3, 2, hidden=())
    a, b = torch.randn(2, 5, 3)
    torch.testing.assert_close(network(a) + network(b), network(a + b) + network(0 * a))


def test_mlp_agrees_with_its_formula():
    network = MLP(3, 2, hidden=(4,)).double()
    first, last = (layer for layer in network if isinstance(layer, nn.Linear))
    x = torch.randn(5, 3, dtype=torch.double)
    hidden = x @ first.weight.T + first.bias
    expected = (hidden / (1 + torch.exp(-hidden))) @ last.weight.T + last.bias
    torch.testing.assert_close(network(x), expected)
    assert not first.bias.any()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ConvEncoder((1, 7, 28), 3), r"sides of at least 8; got \(1, 7, 28\)"),
        (lambda: ConvDecoder(3, (28, 28)), r"\(channels, height, width\).*got \(28, 28\)"),
        (lambda: MLPEncoder((0, 4, 4), 3), r"image_shape.*got \(0, 4, 4\)"),
        (lambda: ConvEncoder((1, 8, 8), 3)(torch.rand(2, 1, 8, 9)), r"\(1, 8, 8\) for x; got \(2, 1, 8, 9\)"),
        (lambda: MLPEncoder((1, 8, 8), 3)(torch.rand(64)), r"\(1, 8, 8\) for x; got \(64,\)"),
        (lambda: ConvDecoder(3, (1, 8, 8))(torch.rand(2, 4)), r"\(3,\) for z; got \(2, 4\)"),
        (lambda: MLPDecoder(3, (1, 8, 8))(torch.rand(())), r"\(3,\) for z; got \(\)"),
        (lambda: MLP(0, 2), "inputs to be at least 1; got 0"),
        (lambda: MLP(2, -1), "outputs to be at least 1; got -1"),
        (lambda: MLPEncoder((1, 8, 8), 2, hidden=(3, 0)), "hidden to be at least 1; got 0"),
        (lambda: ConvEncoder((1, 8, 8), 0), "outputs to be at least 1; got 0"),
        (lambda: ConvEncoder((1, 8, 8), 2, width=0), "width to be at least 1; got 0"),
        (lambda: ConvDecoder(0, (1, 8, 8)), "latents to be at least 1; got 0"),
        (lambda: DCGANEncoder((1, 8, 8), 2, width=-2), "width to be at least 1; got -2"),
        (lambda: DCGANDecoder(0, (1, 8, 8)), "latents to be at least 1; got 0"),
        (lambda: GatedConvFeatures((1, 8, 8), width=0), "width to be at least 1; got 0"),
        (lambda: GatedConvFeatures((1, 8, 8), kernels=(3, 3, 2, 3, 3)), r"five odd sizes; got \(3, 3, 2, 3, 3\)"),
        (lambda: GatedConvDecoder([], (1, 8, 8)), "latents to be at least 1; got 0"),
        (lambda: JoinedMLP([2, 0], 3), "inputs to be at least 1; got 0"),
        (lambda: JoinedMLP([2, 1], 3, hidden=()), "hidden to be at least 1; got 0"),
    ],
)
def test_wrong_shapes_and_sizes_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("activation", ["silu", "elu", "gated"])
def test_a_deep_stack_keeps_the_size_of_a_signal(activation):
    torch.manual_seed(0)
    stack = nn.Sequential(*list(MLP(300, 300, hidden=(300,) * 6, activation=activation))[:-1])
    signal = torch.randn(500, 300) / GAINS[activation]  # of the size that activations have
    assert 0.5 < stack(signal).square().mean() * GAINS[activation] ** 2 < 2


def test_an_unknown_activation_is_refused():
    with pytest.raises(ValueError, match="one of silu, elu, relu, gated; got 'tanh'"):
        MLP(3, 2, activation="tanh")

"""Networks whose features the perceptual loss compares."""

import pytest
import torch
from torch import nn
from torch.nn.functional import interpolate

from dlbi.training.paper.features import StructureFeatures, Vgg19Features, resized

TORCHVISION = {
    0: (64, 3), 2: (64, 64), 5: (128, 64), 7: (128, 128), 10: (256, 128), 12: (256, 256),
    14: (256, 256), 16: (256, 256), 19: (512, 256), 21: (512, 512), 23: (512, 512), 25: (512, 512),
}  # fmt: skip
"""Output and input channels of the convolutions of torchvision's vgg19, by their number."""


def test_layers_of_vgg19_are_named_and_shaped_as_in_torchvision():
    with torch.device("meta"):
        state = Vgg19Features().state_dict()
    assert {name: tuple(v.shape) for name, v in state.items()} == {
        f"features.{n}.{kind}": (m, k, 3, 3) if kind == "weight" else (m,)
        for n, (m, k) in TORCHVISION.items()
        for kind in ("weight", "bias")
    }


def test_vgg19_embeds_an_image_of_224_pixels_as_512_by_14_by_14():
    layers = nn.Sequential(*Vgg19Features().features).to("meta")
    assert layers(torch.empty(1, 3, 224, 224, device="meta")).shape == (1, 512, 14, 14)


@pytest.mark.parametrize(("n", "side"), [(120, 224), (480, 224), (16, 16), (7, 5)])
def test_resizing_is_linear_interpolation_with_antialiasing(n, side):
    image = torch.rand(2, 1, n, n + 3)
    expected = interpolate(image, (side, side), mode="bilinear", antialias=True)
    torch.testing.assert_close(resized(image, side), expected, rtol=1e-4, atol=1e-5)


def test_gradients_pass_through_frozen_features():
    features = StructureFeatures(16, 8).requires_grad_(False)
    image = torch.rand(1, 1, 24, 24, requires_grad=True)
    features(image).square().sum().backward()
    assert image.grad.abs().sum() > 0

from __future__ import annotations

import pytest
import torch

from cyclr.tasks._resnet import Block, ResNet


def count(model: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize(("depth", "millions"), [(20, 0.27), (32, 0.46), (44, 0.66), (56, 0.85), (110, 1.7)])
def test_it_has_as_many_parameters_as_the_paper_says(depth: int, millions: float) -> None:
    with torch.device("meta"):  # no weights are drawn
        assert count(ResNet(depth=depth)) / 1e6 == pytest.approx(millions, abs=0.035 if depth == 110 else 0.005)


def test_resnet_20_has_269722_parameters_and_20_layers_with_weights() -> None:
    model = ResNet()
    assert count(model) == 269_722
    assert sum(isinstance(module, (torch.nn.Conv2d, torch.nn.Linear)) for module in model.modules()) == 20
    assert model(torch.zeros(2, 3, 32, 32)).shape == (2, 10)


def test_a_shortcut_takes_every_second_pixel_and_fills_up_with_zeros() -> None:
    block = Block(2, 4)
    torch.nn.init.zeros_(block.norm2.weight)  # so that the convolutions add nothing
    x = torch.rand(1, 2, 6, 6)
    found = block(x)
    assert torch.equal(found[:, :2], x[:, :, ::2, ::2])
    assert torch.equal(found[:, 2:], torch.zeros(1, 2, 3, 3))


def test_first_weights_have_the_spread_that_he_and_others_derive() -> None:
    torch.manual_seed(0)
    model = ResNet()
    weight = model.blocks[-1].conv2.weight
    assert weight.std().item() == pytest.approx((2 / (64 * 9)) ** 0.5, rel=0.02)


@pytest.mark.parametrize("depth", [2, 7, 18, 21])
def test_other_depths_are_refused(depth: int) -> None:
    with pytest.raises(ValueError, match=r"depth must be 6n \+ 2"):
        ResNet(depth=depth)

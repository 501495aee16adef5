from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from cyclr import Constant, Triangular
from cyclr.tasks._resnet import ResNet
from cyclr.tasks.finetune import MEAN, SPREAD, finetune
from cyclr.torch import Scheduler, train
from tests.tasks.test_cifar100 import data as data


class Published(nn.Module):
    """The network of the published weights with their names, as its author wrote it."""

    def __init__(self, depth: int = 8) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16)
        given = 16
        for stage, width in enumerate((16, 32, 64), 1):
            blocks = []
            for _ in range((depth - 2) // 6):
                block = nn.Module()
                block.conv1 = nn.Conv2d(given, width, 3, 1 if given == width else 2, 1, bias=False)
                block.bn1, block.bn2 = nn.BatchNorm2d(width), nn.BatchNorm2d(width)
                block.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
                blocks.append(block)
                given = width
            self.add_module(f"layer{stage}", nn.Sequential(*blocks))
        self.linear = nn.Linear(64, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.bn1(self.conv1(x)))
        for stage in (self.layer1, self.layer2, self.layer3):
            for block in stage:
                found = block.bn2(block.conv2(torch.relu(block.bn1(block.conv1(x)))))
                if found.shape != x.shape:
                    half = x.shape[1] // 2
                    x = nn.functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, half, half))
                x = torch.relu(found + x)
        return self.linear(x.mean(dim=(2, 3)))


@pytest.fixture
def published(tmp_path: Path) -> tuple[Published, Path]:
    torch.manual_seed(0)
    model = Published()
    state = {f"module.{name}": value for name, value in model.state_dict().items() if "num_batches" not in name}
    torch.save({"state_dict": state}, tmp_path / "resnet8.th")
    return model, tmp_path / "resnet8.th"


def test_the_network_begins_with_the_published_function_but_for_its_classifier(
    published: tuple[Published, Path], data: Path
) -> None:
    model, path = published
    task = finetune(0, weights=path, data=data, images=60)
    assert isinstance(task.model, ResNet)
    assert task.model.classify.out_features == 100
    inputs, _ = next(iter(task.test_loader))
    model.linear, task.model.classify = nn.Identity(), nn.Identity()
    with torch.no_grad():
        torch.testing.assert_close(task.model.eval()(inputs), model.eval()(inputs), rtol=1e-4, atol=1e-5)
    pixels = task.test_loader.dataset.images[:1].permute(0, 3, 1, 2) / 255
    expected = (pixels - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(SPREAD).view(3, 1, 1)
    torch.testing.assert_close(inputs[:1], expected, rtol=1e-4, atol=1e-5)


def test_the_new_classifier_keeps_ten_times_the_rate(published: tuple[Published, Path], data: Path) -> None:
    task = finetune(1, weights=published[1], data=data, images=60, labels="coarse")
    Scheduler(task.optimizer, Triangular(0.01, 0.2, step_size=5))
    assert [group["lr"] for group in task.optimizer.param_groups] == pytest.approx([0.001, 0.01])
    (point,) = train(finetune(1, weights=published[1], data=data, images=60), Constant(0.05), steps=2, eval_every=2)
    assert 0 <= point["test_accuracy"] <= 1


def test_without_weights_it_says_where_to_get_them(data: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"needs the path of trained weights, got None; download resnet20"):
        finetune(0, data=data)
    with pytest.raises(FileNotFoundError, match="weights must be an existing file, got '/nowhere'"):
        finetune(0, weights="/nowhere", data=data)


@pytest.mark.parametrize("content", [b"", b"no weights", {"conv1.weight": torch.zeros(3)}, {"a": torch.zeros(3)}])
def test_other_files_are_named_in_one_line(tmp_path: Path, data: Path, content: object) -> None:
    path = tmp_path / "other.th"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save(content, path)
    with pytest.raises(ValueError, match=r"must be (a file of weights|those of a ResNet)") as caught:
        finetune(0, weights=path, data=data, images=60)
    assert "\n" not in str(caught.value)

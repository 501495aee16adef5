from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from cyclr import Constant
from cyclr.tasks._densenet import DenseNet
from cyclr.tasks._resnet import Block, ResNet
from cyclr.tasks.cifar100 import cifar100
from cyclr.torch import Task, train
from tests.tasks.test_cifar10 import pack

Arrays = dict[str, NDArray[np.uint8]]
COUNTS = {"train": 60, "test": 30}


def made(train: int = COUNTS["train"], test: int = COUNTS["test"]) -> Arrays:
    """Random images with both kinds of labels."""
    rng = np.random.default_rng(0)
    found: Arrays = {}
    for half, count in (("train", train), ("test", test)):
        found[f"{half}_images"] = rng.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
        found[f"{half}_fine_labels"] = rng.permutation(np.arange(count, dtype=np.uint8) % 100)
        found[f"{half}_coarse_labels"] = found[f"{half}_fine_labels"] % 20
    return found


def write_files(folder: Path, **counts: int) -> None:
    """Both official folders."""
    arrays = made(**counts)
    binary, python = folder / "cifar-100-binary", folder / "cifar-100-python"
    binary.mkdir()
    python.mkdir()
    for half in COUNTS:
        planes = arrays[f"{half}_images"].transpose(0, 3, 1, 2).reshape(-1, 3072)
        coarse, fine = (arrays[f"{half}_{kind}_labels"] for kind in ("coarse", "fine"))
        np.concatenate([coarse[:, None], fine[:, None], planes], axis=1).tofile(binary / f"{half}.bin")
        content = {"data": planes, "fine_labels": fine.tolist(), "coarse_labels": coarse.tolist(), "filenames": []}
        (python / half).write_bytes(pickle.dumps(content, protocol=3))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same images in every form: two folders, two archives, an .npz file."""
    folder = tmp_path_factory.mktemp("cifar100")
    write_files(folder)
    (folder / "archives").mkdir()
    for name in ("cifar-100-binary", "cifar-100-python"):
        pack(folder / name, folder / f"archives/{name}.tar.gz", prefix=f"{name}/")
    np.savez(folder / "all.npz", **made())
    return folder


FORMS = [
    "cifar-100-binary",
    "cifar-100-python",
    "archives/cifar-100-binary.tar.gz",
    "archives/cifar-100-python.tar.gz",
    "all.npz",
    ".",
    "archives",
]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("labels", ["fine", "coarse"])
def test_every_form_gives_the_same_images_and_labels_in_the_order_of_the_files(
    data: Path, form: str, labels: str
) -> None:
    task, arrays = cifar100(0, data=data / form, labels=labels), made()
    for half, loader in (("train", task.train_loader), ("test", task.test_loader)):
        np.testing.assert_array_equal(loader.dataset.images, arrays[f"{half}_images"])
        np.testing.assert_array_equal(loader.dataset.labels, arrays[f"{half}_{labels}_labels"])
    assert task.model.classify.out_features == {"fine": 100, "coarse": 20}[labels]


def test_an_archive_is_read_without_unpacking_it(data: Path) -> None:
    cifar100(0, data=data / "archives")
    assert sorted(path.name for path in (data / "archives").iterdir()) == [
        "cifar-100-binary.tar.gz",
        "cifar-100-python.tar.gz",
    ]


def test_a_pickle_that_would_run_code_is_refused(tmp_path: Path) -> None:
    class Harm:
        def __reduce__(self) -> tuple[object, ...]:
            return (os.mkdir, (str(tmp_path / "harmed"),))

    for half in COUNTS:
        (tmp_path / half).write_bytes(pickle.dumps({"data": Harm()}, protocol=3))
    with pytest.raises(ValueError, match=r"must be a file of cifar-100-python.tar.gz, got 'it refers to posix.mkdir"):
        cifar100(0, data=tmp_path)
    assert not (tmp_path / "harmed").exists()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "must be a file of cifar-100-python.tar.gz"),
        (b"no pickle", "must be a file of"),
        (pickle.dumps({"data": np.zeros((2, 3072), np.uint8)}), "must be a file of .*fine_labels"),
        (pickle.dumps({"data": np.zeros((2, 5), np.uint8), "fine_labels": [0, 1]}), r"'data' of .* must be bytes"),
        (pickle.dumps({"data": np.zeros((2, 3072), np.uint8), "fine_labels": [0, 100]}), "from 0 to 99 for each of 2"),
    ],
)
def test_other_python_files_are_named(tmp_path: Path, content: bytes, words: str) -> None:
    for half in COUNTS:
        (tmp_path / half).write_bytes(content)
    with pytest.raises(ValueError, match=words):
        cifar100(0, data=tmp_path)


def test_without_data_one_line_says_where_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CYCLR_DATA", raising=False)
    with pytest.raises(FileNotFoundError) as caught:
        cifar100(0)
    for part in ("kriz/cifar-100-binary.tar.gz", "data=PATH", "CYCLR_DATA=PATH"):
        assert part in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"labels": "fin"}, "did you mean 'fine'"),
        ({"network": "full"}, "network must be one of 'resnet'"),
        ({"batch": 0}, "batch must be a positive integer"),
    ],
)
def test_wrong_arguments_are_refused(data: Path, settings: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        cifar100(0, **{"data": data, **settings})


# ---------------------------------------------------------------- networks


def weights(task: Task) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in task.model.parameters()])


def test_a_training_with_blocks_left_out_at_random_resumes_bit_by_bit(data: Path, tmp_path: Path) -> None:
    def built() -> Task:
        torch.manual_seed(3)  # as cyclr compare does
        task = cifar100(3, data=data, network="densenet-small", batch=20)
        task.model = ResNet(depth=14, width=4, classes=100, survival=0.5)
        task.optimizer = torch.optim.SGD(task.model.parameters(), lr=0.1)
        return task

    def trained(task: Task, folder: Path, stop: int = 5) -> Task:
        def progress(step: int, total: int, rate: float, loss: float) -> None:
            if step == stop:
                raise KeyboardInterrupt

        train(task, Constant(0.1), steps=4, eval_every=2, checkpoint=folder, progress=progress)
        return task

    whole = trained(built(), tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        trained(built(), tmp_path / "cut", stop=4)
    assert torch.equal(weights(trained(built(), tmp_path / "cut")), weights(whole))


def test_a_block_is_its_shortcut_or_all_of_it_and_their_mean_when_it_is_evaluated() -> None:
    torch.manual_seed(0)
    block = Block(2, 2, survival=0.25)
    x = torch.rand(4, 2, 6, 6)
    left_out = sum(torch.equal(block(x), x) for _ in range(400))
    assert 0.68 < left_out / 400 < 0.82
    block.eval()
    added = block.norm2(block.conv2(torch.relu(block.norm1(block.conv1(x)))))
    torch.testing.assert_close(block(x), torch.relu(x + added / 4))


def test_blocks_are_left_out_more_often_towards_the_end() -> None:
    blocks = ResNet(depth=110, survival=0.5).blocks
    assert [blocks[place].survival for place in (0, 26, 53)] == pytest.approx([1 - 0.5 / 54, 0.75, 0.5])
    assert {block.survival for block in ResNet().blocks} == {1.0}


def test_densenet_has_the_parameters_and_the_shapes_of_its_authors() -> None:
    with torch.device("meta"):
        assert sum(parameter.numel() for parameter in DenseNet().parameters()) / 1e6 == pytest.approx(1.0, abs=0.05)
        assert sum(p.numel() for p in DenseNet(depth=100).parameters()) / 1e6 == pytest.approx(7.0, abs=0.05)
    model = DenseNet(depth=10, classes=7)
    assert sum(isinstance(module, (torch.nn.Conv2d, torch.nn.Linear)) for module in model.modules()) == 10
    assert model(torch.zeros(2, 3, 32, 32)).shape == (2, 7)
    with pytest.raises(ValueError, match=r"depth must be 3n \+ 4"):
        DenseNet(depth=12)

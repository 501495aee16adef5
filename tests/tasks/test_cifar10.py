from __future__ import annotations

import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from cyclr import Linear, Ramp
from cyclr.tasks import _find
from cyclr.tasks._caffe import Full, SigmoidBatchNorm, normalize
from cyclr.tasks._cifar import OPTIMIZERS
from cyclr.tasks.cifar10 import cifar10, resnet
from cyclr.torch import Checkpoint, Task, range_test, train


def write_binary(folder: Path, *, train: int = 60, test: int = 40, seed: int = 0) -> dict[str, np.ndarray]:
    """Random images in the official layout: five files of `train` records, one of `test`."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    found: dict[str, np.ndarray] = {}
    for half, names, each in (
        ("train", [f"data_batch_{i}.bin" for i in range(1, 6)], train),
        ("test", ["test_batch.bin"], test),
    ):
        images = rng.integers(0, 256, (each * len(names), 32, 32, 3), dtype=np.uint8)
        labels = rng.integers(0, 10, each * len(names), dtype=np.uint8)
        images[np.arange(len(labels)), :8] = labels[:, None, None, None] * 25  # something to learn
        found |= {f"{half}_images": images, f"{half}_labels": labels}
        planes = images.transpose(0, 3, 1, 2).reshape(len(labels), 3072)
        for index, name in enumerate(names):
            part = slice(index * each, (index + 1) * each)
            records = [
                bytes([label]) + plane.tobytes() for label, plane in zip(labels[part], planes[part], strict=True)
            ]
            (folder / name).write_bytes(b"".join(records))
    return found


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cifar") / "cifar-10-batches-bin"
    write_binary(folder)
    return folder


# ---------------------------------------------------------------- the data


def test_images_come_in_the_order_of_the_files_less_the_mean_image_in_every_pass(tmp_path: Path) -> None:
    arrays = write_binary(tmp_path)
    task = cifar10(3, data=tmp_path)
    images = arrays["train_images"].astype(np.float64)
    expected = (images - images.mean(axis=0)).transpose(0, 3, 1, 2)
    for _ in range(2):
        batches = list(task.train_loader)
        assert [len(labels) for _, labels in batches] == [100, 100, 100]
        found = torch.cat([inputs for inputs, _ in batches])
        np.testing.assert_allclose(found.numpy(), expected, atol=1e-4)
        np.testing.assert_array_equal(torch.cat([labels for _, labels in batches]), arrays["train_labels"])
    (inputs, labels), *_ = task.test_loader
    tests = arrays["test_images"].astype(np.float64) - images.mean(axis=0)  # the mean of what is trained on
    np.testing.assert_allclose(inputs.numpy(), tests.transpose(0, 3, 1, 2), atol=1e-4)
    np.testing.assert_array_equal(labels, arrays["test_labels"])


def test_the_folder_its_parent_the_variable_and_an_npz_file_give_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arrays = write_binary(tmp_path / "cifar-10-batches-bin")
    np.savez(tmp_path / "cifar.npz", **arrays)
    monkeypatch.setenv("CYCLR_DATA", str(tmp_path))
    tasks = [cifar10(0, data=tmp_path / name) for name in ("cifar-10-batches-bin", ".", "cifar.npz")]
    for task in [*tasks, cifar10(0)]:
        for loader, first in ((task.train_loader, tasks[0].train_loader), (task.test_loader, tasks[0].test_loader)):
            for (inputs, labels), (others, theirs) in zip(loader, first, strict=True):
                torch.testing.assert_close(inputs, others, rtol=0, atol=0)
                assert labels.tolist() == theirs.tolist()


def pack(folder: Path, archive: Path, prefix: str = "cifar-10-batches-bin/") -> Path:
    with tarfile.open(archive, "w:gz") as tar:
        for path in folder.iterdir():
            tar.add(path, f"{prefix}{path.name}")
    return archive


def test_the_archive_as_downloaded_is_read_where_it_lies(data: Path, tmp_path: Path) -> None:
    archive = pack(data, tmp_path / "cifar-10-binary.tar.gz")
    expected = cifar10(0, data=data)
    for path in (archive, tmp_path):  # or the folder that holds it
        task = cifar10(0, data=path)
        for loader, other in ((task.train_loader, expected.train_loader), (task.test_loader, expected.test_loader)):
            assert torch.equal(loader.dataset.images, other.dataset.images)
            assert torch.equal(loader.dataset.labels, other.dataset.labels)
    assert [path.name for path in tmp_path.iterdir()] == [archive.name]


def test_an_archive_with_paths_that_climb_writes_nothing(data: Path, tmp_path: Path) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    archive = pack(data, inner / "climbs.tgz", prefix="../")
    assert len(cifar10(0, data=archive).test_loader.dataset) == 40
    assert [path.name for path in tmp_path.iterdir()] == ["inner"]
    assert [path.name for path in inner.iterdir()] == ["climbs.tgz"]


def test_a_link_in_an_archive_is_not_followed(data: Path, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "links.tar", "w") as tar:
        for path in data.iterdir():
            link = tarfile.TarInfo(path.name)
            link.type, link.linkname = tarfile.SYMTYPE, str(path)
            tar.addfile(link)
    with pytest.raises(FileNotFoundError, match=r"links.tar must contain data_batch_1.bin, got \[\]"):
        cifar10(0, data=tmp_path / "links.tar")


def test_broken_and_other_archives_are_named(data: Path, tmp_path: Path) -> None:
    whole = pack(data, tmp_path / "whole.tar.gz").read_bytes()
    (tmp_path / "cut.tar.gz").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "page.tar.gz").write_bytes(b"<html>not found</html>")
    for name in ("cut", "page"):
        with pytest.raises(
            ValueError, match=rf"must be a complete tar archive, got '.*{name}.tar.gz'; download it again"
        ):
            cifar10(0, data=tmp_path / f"{name}.tar.gz")
    (tmp_path / "python").mkdir()
    (tmp_path / "python/data_batch_1").write_bytes(b"a pickle")
    pack(tmp_path / "python", tmp_path / "cifar-10-python.tar.gz")
    with pytest.raises(
        FileNotFoundError, match=r"must contain data_batch_1.bin, got \['data_batch_1'\]; take the binary"
    ):
        cifar10(0, data=tmp_path / "cifar-10-python.tar.gz")


def test_without_data_the_error_says_where_it_is_and_both_ways_to_name_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CYCLR_DATA", raising=False)
    with pytest.raises(FileNotFoundError) as caught:
        cifar10(0)
    for part in ("https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz", "data=PATH", "CYCLR_DATA=PATH"):
        assert part in str(caught.value)


def test_tuning_holds_out_the_last_training_images_and_hides_the_test_images(data: Path) -> None:
    task = cifar10(0, data=data, tuning=True)
    assert task.test_loader is None
    assert (task.steps_per_epoch, len(task.val_loader.dataset)) == (3, 30)
    final = torch.cat([labels for _, labels in cifar10(0, data=data).train_loader])
    assert torch.cat([labels for _, labels in task.train_loader]).tolist() == final[:-30].tolist()
    assert torch.cat([labels for _, labels in task.val_loader]).tolist() == final[-30:].tolist()
    fitted = torch.cat([inputs for inputs, _ in task.train_loader])
    assert fitted.mean(dim=0).abs().max() < 1e-3  # so the mean is of those alone


def test_fewer_images_are_the_first_ones(data: Path) -> None:
    few, all_of_them = cifar10(0, data=data, images=150), cifar10(0, data=data)
    assert [len(labels) for _, labels in few.train_loader] == [100, 50]
    first = torch.cat([labels for _, labels in all_of_them.train_loader])[:150]
    assert torch.cat([labels for _, labels in few.train_loader]).tolist() == first.tolist()
    assert len(few.test_loader.dataset) == len(all_of_them.test_loader.dataset)


def test_the_old_name_of_images_still_works_with_a_warning(data: Path) -> None:
    with pytest.warns(DeprecationWarning, match="pictures: pass images=150 instead"):
        assert len(cifar10(0, data=data, pictures=150).train_loader.dataset) == 150
    for name in ("cifar10", "cifar10-resnet"):
        with pytest.warns(DeprecationWarning, match="pictures: pass images=20 instead"):
            task = _find.build(f"{name}(data={str(data)!r}, pictures=20)", 0)
        assert len(task.train_loader.dataset) == 20
    with pytest.raises(_find.TaskError, match="no argument 'picture'"):
        _find.build("cifar10(picture=20)", 0)


def broken_size(folder: Path) -> None:
    (folder / "data_batch_3.bin").write_bytes(b"\0" * 3074)


def broken_label(folder: Path) -> None:
    (folder / "test_batch.bin").write_bytes(b"\x0a" + b"\0" * 3072)


def missing_file(folder: Path) -> None:
    (folder / "data_batch_5.bin").unlink()


@pytest.mark.parametrize(
    ("harm", "error", "words"),
    [
        (broken_size, ValueError, "data_batch_3.bin must consist of records of 3073 bytes, got '3074 bytes'"),
        (broken_label, ValueError, "must be a label from 0 to 9 for each of 1 images"),
        (missing_file, FileNotFoundError, "must contain data_batch_5.bin"),
    ],
)
def test_broken_files_are_named(tmp_path: Path, harm: object, error: type[Exception], words: str) -> None:
    write_binary(tmp_path, train=2, test=1)
    harm(tmp_path)
    with pytest.raises(error, match=words):
        cifar10(0, data=tmp_path)


def test_a_broken_npz_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "cut.npz").write_bytes(b"PK\3\4 and so on")
    np.savez(tmp_path / "other.npz", pictures=np.zeros(3))
    arrays = write_binary(tmp_path / "bin", train=1, test=1)
    np.savez(tmp_path / "floats.npz", **{**arrays, "train_images": arrays["train_images"] / 255})
    for name, words in (
        ("cut", "must be a complete .npz file, got '.*cut.npz'"),
        ("other", "must contain train_images, .*got \\['pictures'\\]"),
        ("floats", "must be bytes of shape"),
    ):
        with pytest.raises(ValueError, match=words):
            cifar10(0, data=tmp_path / f"{name}.npz")


@pytest.mark.parametrize(
    ("settings", "error", "words"),
    [
        ({"seed": -1}, ValueError, "seed must be an integer of at least 0"),
        ({"seed": 1.0}, TypeError, "seed must be"),
        ({"data": 3}, TypeError, "data must be a path, got 3"),
        (
            {"data": "/nowhere"},
            FileNotFoundError,
            "test_batch.bin .*got '/nowhere'; download .*pass data=PATH or set CYCLR_DATA",
        ),
        ({"network": "ful"}, ValueError, "did you mean 'full'"),
        ({"optimizer": "sdg"}, ValueError, "did you mean 'sgd'"),
        ({"precision": "half"}, ValueError, "precision must be one of"),
        ({"images": 9, "tuning": True}, ValueError, "images must be at least 10 if tuning is True, got 9; use more"),
        ({"images": 0}, ValueError, "images must be a positive integer"),
        ({"images": 301}, ValueError, "images must not exceed the 300 of the data, got 301"),
    ],
)
def test_wrong_arguments_are_refused(data: Path, settings: dict, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        cifar10(**{"seed": 0, "data": data, **settings})


def test_without_any_path_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CYCLR_DATA", raising=False)
    with pytest.raises(FileNotFoundError, match="pass data=PATH or set CYCLR_DATA"):
        cifar10(0)


# ---------------------------------------------------------------- the network


def plain_normalize(x: Tensor) -> Tensor:
    """The formula, one window at a time."""
    padded = functional.pad(x * x, (1, 1, 1, 1))
    height, width = x.shape[2:]
    total = sum(padded[:, :, i : i + height, j : j + width] for i in range(3) for j in range(3))
    return x / (1 + 5e-5 * total / 9) ** 0.75


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (5, 4)])
@pytest.mark.parametrize("scale", [0.0, 1.0, 1e3])
def test_normalisation_is_the_formula_and_its_gradient_is_that_of_autograd(size: tuple[int, int], scale: float) -> None:
    draw = torch.Generator().manual_seed(0)
    x = (scale * torch.randn(2, 3, *size, generator=draw, dtype=torch.float64)).requires_grad_()
    grad = torch.randn(x.shape, generator=draw, dtype=torch.float64)
    torch.testing.assert_close(normalize(x), plain_normalize(x))
    (found,) = torch.autograd.grad(normalize(x), x, grad)
    (expected,) = torch.autograd.grad(plain_normalize(x), x, grad)
    torch.testing.assert_close(found, expected)


def test_the_gradient_of_normalisation_passes_finite_differences() -> None:
    x = 100 * torch.randn(1, 2, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert torch.autograd.gradcheck(normalize, (x.requires_grad_(),))


def test_the_network_is_the_one_of_the_example_layer_by_layer() -> None:
    net = Full()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.normal_(std=0.05)
    x = 50 * torch.randn(2, 3, 32, 32)

    def mean_pool(y: Tensor) -> Tensor:
        """3x3, stride 2, rounded up: the last window hangs over the edge and counts only what is inside."""
        y = functional.pad(y, (0, 1, 0, 1), value=torch.nan)
        windows = y.unfold(2, 3, 2).unfold(3, 3, 2)
        return windows.flatten(4).nanmean(dim=-1)

    def max_pool(y: Tensor) -> Tensor:
        y = functional.pad(y, (0, 1, 0, 1), value=-torch.inf)
        return y.unfold(2, 3, 2).unfold(3, 3, 2).flatten(4).amax(dim=-1)

    def conv(y: Tensor, layer: nn.Conv2d) -> Tensor:
        return functional.conv2d(y, layer.weight, layer.bias, padding=2)

    y = plain_normalize(max_pool(conv(x, net.conv1)).clamp(min=0))
    assert y.shape == (2, 32, 16, 16)
    y = plain_normalize(mean_pool(conv(y, net.conv2).clamp(min=0)))
    assert y.shape == (2, 32, 8, 8)
    y = mean_pool(conv(y, net.conv3).clamp(min=0))
    assert y.shape == (2, 64, 4, 4)
    torch.testing.assert_close(net(x), y.flatten(1) @ net.ip1.weight.T + net.ip1.bias, rtol=1e-4, atol=1e-4)


def test_initial_weights_are_those_of_the_example() -> None:
    torch.manual_seed(0)
    net = Full()
    spreads = {name: p.std().item() for name, p in net.named_parameters() if name.endswith("weight")}
    assert spreads == {
        "conv1.weight": pytest.approx(1e-4, rel=0.05),
        "conv2.weight": pytest.approx(0.01, rel=0.05),
        "conv3.weight": pytest.approx(0.01, rel=0.05),
        "ip1.weight": pytest.approx(0.01, rel=0.05),
    }
    assert all(not p.any() for name, p in net.named_parameters() if name.endswith("bias"))
    assert sum(p.numel() for p in net.parameters()) == 89_578


def settings(task: Task) -> dict[str, tuple[float, float]]:
    names = {id(p): name for name, p in task.model.named_parameters()}
    groups = task.optimizer.param_groups
    return {names[id(p)]: (g["lr"], round(g["weight_decay"], 9)) for g in groups for p in g["params"]}


def test_rates_and_decays_of_each_parameter_are_those_of_the_example(data: Path) -> None:
    assert settings(cifar10(0, data=data)) == {
        "conv1.weight": (0.001, 0.004),
        "conv1.bias": (0.002, 0.004),
        "conv2.weight": (0.001, 0.004),
        "conv2.bias": (0.002, 0.004),
        "conv3.weight": (0.001, 0.004),
        "conv3.bias": (0.001, 0.004),
        "ip1.weight": (0.001, 1.0),
        "ip1.bias": (0.002, 0.0),
    }


def test_the_sigmoid_network_has_no_biases_under_its_norms_and_no_decay(data: Path) -> None:
    task = cifar10(0, data=data, network="sigmoid")
    names = ("conv1.weight", "conv2.weight", "conv3.weight", "ip1.weight", "ip1.bias")
    assert settings(task) == dict.fromkeys(names, (0.001, 0.0))
    assert task.model(torch.randn(4, 3, 32, 32)).shape == (4, 10)
    assert isinstance(task.model, SigmoidBatchNorm)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_optimizer_takes_the_groups_and_steps(data: Path, optimizer: str) -> None:
    task = cifar10(0, data=data, optimizer=optimizer, images=20)
    before = [p.clone() for p in task.model.parameters()]
    train(task, Linear(0.002, 0.001, steps=1), steps=1)
    assert settings(task)["ip1.weight"][1] == 1.0
    assert all((p != old).any() for p, old in zip(task.model.parameters(), before, strict=True))


def test_the_seed_decides_the_weights_and_nothing_else_moves(data: Path) -> None:
    torch.manual_seed(5)
    state = torch.get_rng_state()
    first, again, other = (cifar10(seed, data=data).model.state_dict() for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["conv1.weight"], other["conv1.weight"])


def test_half_precision_gives_nearly_the_same_scores_and_gradients_in_float32(data: Path) -> None:
    exact, half = (cifar10(0, data=data, precision=precision) for precision in ("float32", "bfloat16"))
    inputs, labels = next(iter(exact.train_loader))
    with torch.no_grad():
        for task in (exact, half):
            task.model.conv1.weight.mul_(100)  # at the initial weights all scores are nearly 0
    found = []
    for task in (exact, half):
        scores = task.model(inputs)
        task.loss_fn(scores, labels).backward()
        assert scores.dtype == task.model.conv2.weight.grad.dtype == torch.float32
        found.append((scores.detach(), task.model.conv2.weight.grad))
    (scores, grad), (rough_scores, rough_grad) = found
    assert (scores - rough_scores).norm() < 0.02 * scores.norm()
    assert (grad - rough_grad).norm() < 0.05 * grad.norm()
    assert not torch.equal(scores, rough_scores)


def test_it_learns_and_a_range_test_leaves_no_trace(data: Path) -> None:
    task = cifar10(0, data=data, precision="bfloat16")
    before = {name: value.clone() for name, value in task.model.state_dict().items()}
    range_test(task, ramp=Ramp(1e-4, 0.1, steps=3))
    assert all(torch.equal(value, before[name]) for name, value in task.model.state_dict().items())
    points = train(task, Linear(0.01, 0.005, steps=24), steps=24, eval_every=12)
    assert points[-1]["loss"] < points[0]["loss"] - 0.05


# ---------------------------------------------------------------- the residual network


def test_the_residual_network_is_trained_as_its_authors_do(data: Path) -> None:
    task = resnet(0, data=data)
    assert task.steps_per_epoch == 3
    (group,) = task.optimizer.param_groups
    assert (group["lr"], group["momentum"], group["weight_decay"]) == (0.1, 0.9, 1e-4)
    assert sum(parameter.numel() for parameter in task.model.parameters()) == 269_722
    assert (task.train_loader.shuffle, task.train_loader.augment) == (True, True)
    assert not cifar10(0, data=data, network="resnet", augment=False).train_loader.augment
    assert cifar10(0, data=data, augment=True).train_loader.augment


def test_the_seed_decides_order_and_augmentation_of_the_residual_network(data: Path) -> None:
    first, again, other = ([x for x, _ in resnet(seed, data=data, images=50).train_loader] for seed in (1, 1, 2))
    assert torch.equal(first[0], again[0])
    assert not torch.equal(first[0], other[0])


def test_a_residual_network_goes_on_from_a_checkpoint_in_mid_epoch_bit_by_bit(data: Path, tmp_path: Path) -> None:
    def short() -> Task:
        task = resnet(0, data=data, images=12)
        task.train_loader.batch = 4
        return task

    class StopError(Exception):
        pass

    def stop(step: int, *_: float) -> None:
        if step == 10:
            raise StopError

    whole, cut, rest = short(), short(), short()
    schedule = Linear(0.1, 0, steps=11)
    points = train(whole, schedule, steps=11, eval_every=4)
    options = {"steps": 11, "eval_every": 4, "checkpoint": Checkpoint(tmp_path, every=1)}
    with pytest.raises(StopError):
        train(cut, schedule, **options, progress=stop)
    assert train(rest, schedule, **options) == points
    for name, value in rest.model.state_dict().items():
        assert torch.equal(value, whole.model.state_dict()[name])


def test_caffe_s_networks_are_not_compiled(data: Path) -> None:
    for network in ("full", "sigmoid"):
        with pytest.raises(ValueError, match="compiled must be False for this network, got True; leave it out"):
            cifar10(0, data=data, network=network, compiled=True)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_gpu_the_compiled_network_has_the_gradients_of_the_plain_one(data: Path) -> None:
    found = []
    for compiled in (False, True):
        task = resnet(0, data=data, device="cuda", compiled=compiled)
        inputs, labels = next(iter(task.train_loader))
        assert inputs.is_cuda
        task.loss_fn(task.model(inputs), labels).backward()
        found.append(torch.cat([parameter.grad.flatten() for parameter in task.model.parameters()]))
    assert (found[0] - found[1]).norm() < 1e-2 * found[0].norm()

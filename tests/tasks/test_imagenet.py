from __future__ import annotations

import importlib
import io
import shutil
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("PIL")
from PIL import Image
from scipy.io import savemat

from cyclr import Constant, Ramp
from cyclr.tasks._decoding import Crop, Loader, Looks, transform
from cyclr.tasks._imagenet_networks import AlexNet, GoogLeNet, ResNet50, loss
from cyclr.tasks._photos import Files, check_labels
from cyclr.tasks.imagenet import imagenet
from cyclr.torch import Checkpoint, Task, range_test, train
from cyclr.torch._batches import in_order
from tests import forked

COLOURS = {"n01": (250, 20, 20), "n02": (20, 250, 20), "n03": (20, 20, 250)}
SHAPES = [(64, 64), (97, 41), (31, 200), (300, 180)]  # width and height, also far from square
MODES = ["RGB", "L", "CMYK", "RGB"]
SMALL = {"size": 51, "width": 0.1, "batch": 4}


def encoded(colour: tuple[int, int, int], number: int) -> bytes:
    """A JPEG of one colour with a dark left half, in one of several shapes and modes."""
    width, height = SHAPES[number % len(SHAPES)]
    pixels = np.full((height, width, 3), colour, np.uint8)
    pixels[:, : width // 2] //= 2
    stream = io.BytesIO()
    Image.fromarray(pixels).convert(MODES[number % len(MODES)]).save(stream, "JPEG", quality=95)
    return stream.getvalue()


def write_folders(folder: Path, *, train: int = 8, val: int = 4) -> Path:
    for half, count in (("train", train), ("val", val)):
        for name, colour in COLOURS.items():
            place = folder / half / name
            place.mkdir(parents=True)
            for number in range(count):
                (place / f"{name}_{number:02}.JPEG").write_bytes(encoded(colour, number))
    return folder


def added(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    archive.addfile(member, io.BytesIO(content))


def write_archives(folders: Path, folder: Path, *, val: int = 4) -> Path:
    """The three official archives, with the images of `folders`; validation images are in another order."""
    folder.mkdir()
    with tarfile.open(folder / "ILSVRC2012_img_train.tar", "w") as outer:
        for name in COLOURS:
            stream = io.BytesIO()
            with tarfile.open(fileobj=stream, mode="w") as inner:
                for path in sorted((folders / "train" / name).iterdir()):
                    added(inner, path.name, path.read_bytes())
            added(outer, f"{name}.tar", stream.getvalue())
    chosen = [path for number in range(val) for path in sorted((folders / "val").glob(f"*/*_{number:02}.JPEG"))]
    with tarfile.open(folder / "ILSVRC2012_img_val.tar", "w") as archive:
        for number, path in enumerate(chosen, 1):
            added(archive, f"ILSVRC2012_val_{number:08}.JPEG", path.read_bytes())
    numbers = {"n02": 1, "n01": 2, "n03": 3}  # not those of the sorted names
    synsets = np.array([(i, n) for n, i in numbers.items()], [("ILSVRC2012_ID", "u2"), ("WNID", "O")])
    meta = io.BytesIO()
    savemat(meta, {"synsets": synsets})
    truth = "".join(f"{numbers[path.parent.name]}\n" for path in chosen)
    with tarfile.open(folder / "ILSVRC2012_devkit_t12.tar.gz", "w:gz") as kit:
        added(kit, "ILSVRC2012_devkit_t12/data/meta.mat", meta.getvalue())
        added(kit, "ILSVRC2012_devkit_t12/data/ILSVRC2012_validation_ground_truth.txt", truth.encode())
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folders(tmp_path_factory.mktemp("a folder with blanks"))


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A copy that may be harmed."""
    return write_folders(tmp_path / "own", train=2, val=1)


# ---------------------------------------------------------------- the input path


def test_odd_shapes_grey_and_cmyk_images_become_squares_of_three_colours(data: Path) -> None:
    for network in ("alexnet", "resnet50"):
        task = imagenet(0, data=data, network=network, library="pillow", **SMALL)
        inputs, labels = (torch.cat(parts) for parts in zip(*task.train_loader, strict=True))
        assert inputs.shape == (24, 3, 51, 51)
        assert inputs.is_contiguous(memory_format=torch.channels_last)
        assert labels.bincount().tolist() == [8, 8, 8]
        if network == "alexnet":
            pixels = inputs + torch.tensor([123.675, 116.28, 103.53]).view(3, 1, 1)
            brightest = pixels.amax(dim=(2, 3))  # of a colour: the class; of a grey one: all three alike
            coloured = brightest.amax(dim=1) - brightest.amin(dim=1) > 100
            assert coloured.sum() == 18
            assert torch.equal(brightest.argmax(dim=1)[coloured], labels[coloured])


def test_the_order_and_the_augmentation_come_from_the_seed_whatever_the_workers(data: Path) -> None:
    def batches(seed: int, workers: int) -> torch.Tensor:
        torch.manual_seed(workers)  # must not matter
        task = imagenet(seed, data=data, workers=workers, library="pillow", **SMALL)
        return torch.cat([inputs for _ in range(2) for inputs, _ in task.train_loader])

    first = batches(1, 0)
    assert torch.equal(first, batches(1, 1))
    assert not torch.equal(first[:24], first[24:])
    assert not torch.equal(first, batches(2, 0))


def test_evaluation_is_in_order_and_without_augmentation(data: Path) -> None:
    loader = imagenet(0, data=data, library="pillow", **SMALL).test_loader
    (first, labels), (again, _) = next(iter(loader)), next(iter(loader))
    assert torch.equal(first, again)
    assert labels.tolist() == [0] * 4 + [1] * 4 + [2] * 4


def test_a_centre_crop_takes_the_middle_and_a_warp_all_of_the_image() -> None:
    columns = np.tile(np.linspace(0, 250, 300), (100, 1)).astype(np.uint8)
    image = Image.fromarray(np.stack([columns] * 3, axis=2))
    middle = np.asarray(transform(Crop(50, 50, "random part"), train=False, library="pillow")(image), float)
    assert middle[0, 0, 0] == pytest.approx(250 / 3, abs=3)
    assert middle[0, -1, 0] == pytest.approx(500 / 3, abs=3)
    whole = np.asarray(transform(Crop(50, 50, "warp"), train=False, library="pillow")(image), float)
    assert (whole[0, 0, 0], whole[0, -1, 0]) == (pytest.approx(0, abs=5), pytest.approx(250, abs=5))


def test_random_parts_have_the_areas_and_ratios_that_are_drawn() -> None:
    ramp = np.stack(np.meshgrid(np.arange(200), np.arange(200)), axis=2).astype(np.uint8)
    image = Image.fromarray(np.concatenate([ramp, ramp[:, :, :1]], axis=2))
    change = transform(Crop(20, 23, "random part"), train=True, library="pillow")
    torch.manual_seed(0)
    shares, mirrored = [], 0
    for _ in range(300):
        pixels = np.asarray(change(image)).astype(float)
        width = abs(pixels[10, -1, 0] - pixels[10, 0, 0]) * 20 / 19
        height = (pixels[-1, 10, 1] - pixels[0, 10, 1]) * 20 / 19
        mirrored += pixels[10, -1, 0] < pixels[10, 0, 0]
        assert 0.7 < width / height < 1.42
        shares.append(width * height / 200**2)
    assert 0.07 < min(shares) < 0.15
    assert 0.8 < max(shares) <= 1.02
    assert 110 < mirrored < 190


def test_grey_of_16_bits_keeps_its_contrast(own: Path) -> None:
    ramp = np.tile(np.linspace(0, 65535, 256), (64, 1)).astype(np.uint16)
    for path in [*own.glob("*/n01/*")]:
        path.unlink()
        Image.fromarray(ramp).save(path.with_suffix(".png"))
    inputs, labels = next(iter(imagenet(0, data=own, library="pillow", **SMALL).test_loader))
    grey = inputs[labels == 0][0] + torch.tensor([123.675, 116.28, 103.53]).view(3, 1, 1)
    assert grey[:, 25, 0].tolist() == pytest.approx([15] * 3, abs=4)
    assert grey[:, 25, 25].tolist() == pytest.approx([128] * 3, abs=4)
    assert grey[:, 25, -1].tolist() == pytest.approx([240] * 3, abs=4)


def test_torchvision_is_used_where_it_loads_and_named_where_it_does_not(data: Path) -> None:
    try:
        importlib.import_module("torchvision.transforms.v2")
    except (ImportError, RuntimeError):
        with pytest.raises(ImportError, match=r"library='torchvision' needs a torchvision that fits torch"):
            imagenet(0, data=data, library="torchvision", **SMALL)
    else:
        inputs, _ = next(iter(imagenet(0, data=data, library="torchvision", **SMALL).train_loader))
        assert inputs.shape == (4, 3, 51, 51)
    next(iter(imagenet(0, data=data, **SMALL).train_loader))


# ---------------------------------------------------------------- the forms of the data


def everything(task: Task) -> list[tuple[int, bytes]]:
    """Labels and bytes of all images that are tested on, in no order."""
    photos = task.test_loader.photos
    return sorted((label, photos.read(number)) for number, label in enumerate(photos.labels))


def test_the_official_archives_are_read_without_unpacking_them(data: Path, tmp_path: Path) -> None:
    folder = write_archives(data, tmp_path / "archives")
    before = sorted(path.name for path in folder.iterdir())
    packed, plain = imagenet(0, data=folder, **SMALL), imagenet(0, data=data, **SMALL)
    assert everything(packed) == everything(plain)
    for (one, labels), (other, theirs) in zip(packed.train_loader, plain.train_loader, strict=True):
        assert torch.equal(one, other)
        assert torch.equal(labels, theirs)
    assert sorted(path.name for path in folder.iterdir()) == before


@pytest.mark.parametrize("kind", ["parquet", "webdataset"])
def test_shards_are_read_by_a_library(data: Path, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    library = pytest.importorskip("datasets")
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    monkeypatch.setattr(library.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    folder = tmp_path / kind
    folder.mkdir()
    for half in ("train", "val"):
        rows = [(path, list(COLOURS).index(path.parent.name)) for path in sorted((data / half).glob("*/*"))]
        if kind == "parquet":
            images = [{"bytes": path.read_bytes(), "path": path.name} for path, _ in rows]
            table = pyarrow.table({"image": images, "label": [label for _, label in rows]})
            parquet.write_table(table, folder / f"{half}-00000-of-00001.parquet")
        else:
            with tarfile.open(folder / f"cats-{half}-000000.tar", "w") as archive:
                for path, label in rows:
                    added(archive, f"{path.stem}.jpg", path.read_bytes())
                    added(archive, f"{path.stem}.cls", str(label).encode())
    assert everything(imagenet(0, data=folder, **SMALL)) == everything(imagenet(0, data=data, **SMALL))


def write_published_tiny(folders: Path, folder: Path) -> Path:
    """Tiny-ImageNet as published: images in a folder of their own in each class; one list says the classes of val."""
    lines = []
    for path in sorted((folders / "train").glob("*/*")):
        place = folder / "train" / path.parent.name / "images" / path.name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(path.read_bytes())
        (place.parents[1] / f"{path.parent.name}_boxes.txt").write_text("a.JPEG\t0\t0\t63\t63\n")
    (folder / "val/images").mkdir(parents=True)
    for number, path in enumerate(sorted((folders / "val").glob("*/*"), key=lambda path: path.name[-7:])):
        (folder / f"val/images/val_{number}.JPEG").write_bytes(path.read_bytes())
        lines.append(f"val_{number}.JPEG\t{path.parent.name}\t0\t32\t44\t62\n")
    (folder / "val/val_annotations.txt").write_text("".join(lines))
    (folder / "test/images").mkdir(parents=True)
    return folder


def test_tiny_imagenet_is_read_as_it_is_published(data: Path, tmp_path: Path) -> None:
    published = imagenet(0, data=write_published_tiny(data, tmp_path / "tiny"), **SMALL)
    plain = imagenet(0, data=data, **SMALL)
    assert everything(published) == everything(plain)
    for (one, labels), (other, theirs) in zip(published.train_loader, plain.train_loader, strict=True):
        assert torch.equal(one, other)
        assert torch.equal(labels, theirs)


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ("val_0.JPEG\tn01\n", "must have a line for each image of .*val/images, and no other, got 'val_1.JPEG, val_10"),
        ("val_0.JPEG\n", "each line of .*val_annotations.txt must be a file, a tab and its class, got 'val_0.JPEG'"),
        ("val_0.JPEG\tn07\n", "every class in .*/val must also be in .*/train, got 'n07'"),
    ],
)
def test_a_list_of_classes_that_does_not_fit_is_one_line(data: Path, tmp_path: Path, lines: str, words: str) -> None:
    folder = write_published_tiny(data, tmp_path / "tiny")
    (folder / "val/val_annotations.txt").write_text(lines)
    with pytest.raises(ValueError, match=words):
        imagenet(0, data=folder, **SMALL)


def test_of_several_data_sets_none_is_chosen(data: Path, tmp_path: Path) -> None:
    (tmp_path / "tiny-imagenet-200").symlink_to(data)
    one = imagenet(0, data=tmp_path, **SMALL)
    assert everything(one) == everything(imagenet(0, data=data, **SMALL))
    (tmp_path / "imagenet").symlink_to(data)
    from cyclr.tasks.imagenet import _found

    _found.cache_clear()
    with pytest.raises(ValueError, match=r"must hold one data set, got 'imagenet, tiny-imagenet-200'; pass the path"):
        imagenet(0, data=tmp_path, **SMALL)
    imagenet(0, data=tmp_path / "imagenet", **SMALL)


def test_tuning_holds_out_training_images_of_every_class_and_hides_the_test_images(data: Path) -> None:
    task = imagenet(0, data=data, tuning=True, **SMALL)
    assert task.test_loader is None
    fitted, held = set(task.train_loader.chosen), set(task.val_loader.chosen)
    assert not fitted & held
    assert fitted | held == set(range(24))


def test_fewer_classes_are_the_first_ones(data: Path) -> None:
    task = imagenet(0, data=data, classes=2, **SMALL)
    assert {label for _, labels in task.train_loader for label in labels.tolist()} == {0, 1}
    assert task.model.fc8.out_features == 2


# ---------------------------------------------------------------- errors, before the first step where they can be known


def empty_class(folder: Path) -> None:
    (folder / "train/n02/n02_00.JPEG").unlink()
    (folder / "train/n02/n02_01.JPEG").rename(folder / "train/n02/notes.txt")


def unknown_class(folder: Path) -> None:
    (folder / "val/n02").rename(folder / "val/n09")


def dangling_file(folder: Path) -> None:
    (folder / "train/n03/n03_00.JPEG").unlink()
    (folder / "train/n03/n03_00.JPEG").symlink_to("gone.JPEG")


def dangling_class(folder: Path) -> None:
    (folder / "train/n04").symlink_to("gone")


def empty_file(folder: Path) -> None:
    (folder / "val/n01/n01_00.JPEG").write_bytes(b"")


def no_class(folder: Path) -> None:
    shutil.rmtree(folder / "train")
    (folder / "train").mkdir()


def no_halves(folder: Path) -> None:
    shutil.rmtree(folder / "val")


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (empty_class, "the class .*/train/n02 must have an image .*got 'none'; add some, or remove the folder"),
        (unknown_class, "every class in .*/val must also be in .*/train, got 'n09'; remove it from val"),
        (dangling_file, "the link .*/n03/n03_00.JPEG must lead to a file, got 'gone.JPEG'"),
        (dangling_class, "the link .*/train/n04 must lead to a file, got 'gone'"),
        (empty_file, "n01_00.JPEG must be an image, got 'an empty file'"),
        (no_class, "train must hold a folder for each class, got 'none'"),
        (no_halves, "data must be a folder with train/ and val/.*image-net.org/download and pass data=FOLDER"),
    ],
)
def test_what_is_wrong_with_the_folders_is_one_line_before_any_work(
    own: Path, harm: Callable[[Path], None], words: str
) -> None:
    harm(own)
    with pytest.raises((ValueError, FileNotFoundError), match=words) as caught:
        imagenet(0, data=own, **SMALL)
    assert "\n" not in str(caught.value)


def test_an_empty_class_in_the_archives_is_named(own: Path, tmp_path: Path) -> None:
    for path in (own / "train/n02").iterdir():
        path.unlink()
    folder = write_archives(own, tmp_path / "archives", val=1)
    with pytest.raises(ValueError, match=r"the class n02 in .*ILSVRC2012_img_train.tar must have an image, got 'none'"):
        imagenet(0, data=folder, **SMALL)


def test_an_empty_image_in_the_archives_is_named(own: Path, tmp_path: Path) -> None:
    (own / "train/n02/n02_00.JPEG").write_bytes(b"")
    folder = write_archives(own, tmp_path / "archives", val=1)
    with pytest.raises(ValueError, match=r"img_train.tar/n02_00.JPEG must be an image, got 'an empty file'"):
        imagenet(0, data=folder, **SMALL)


@pytest.mark.parametrize(
    ("train", "val", "words"),
    [
        ([0, 1, 3], [0], "the class 2 in the shards of train must have an image, got 'none'"),
        ([0, 1, 2], [3], "the class 3 in the shards of train must have an image"),
        ([0, 1, -1], [0], r"the labels in the shards of train must be 0 to 3, got \[-1\]; -1 marks images without a"),
        ([0, 1, 2, 3], [-1], "the labels in the shards of val must be 0 to 3"),
    ],
)
def test_labels_of_shards_count_from_0_without_gaps(train: list[int], val: list[int], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        check_labels(train, val, ("0", "1", "2", "3"), ("the shards of train", "the shards of val"))


def truncated(raw: bytes) -> bytes:
    return raw[: len(raw) // 2]


def flipped(raw: bytes) -> bytes:
    return b"\0" * 20 + raw[20:]


def text(raw: bytes) -> bytes:
    return b"<html>not found</html>"


@pytest.mark.parametrize(("harm", "workers"), [(truncated, 0), (flipped, 0), (text, 0), (truncated, 1)])
def test_a_damaged_image_is_one_line_with_its_path(own: Path, harm: Callable[[bytes], bytes], workers: int) -> None:
    path = own / "train/n02/n02_01.JPEG"
    path.write_bytes(harm(path.read_bytes()))
    task = imagenet(0, data=own, workers=workers, **SMALL)
    with pytest.raises(
        ValueError, match=r"the image .*/train/n02/n02_01.JPEG must be complete and undamaged"
    ) as caught:
        list(task.train_loader)
    assert "\n" not in str(caught.value)


def test_links_to_files_and_to_folders_are_followed(own: Path, tmp_path: Path) -> None:
    (own / "train/n02").rename(tmp_path / "elsewhere")
    (own / "train/n02").symlink_to(tmp_path / "elsewhere")
    (own / "train/n01/link.JPEG").symlink_to(own / "train/n01/n01_00.JPEG")
    task = imagenet(0, data=own, **SMALL)
    assert sorted(label for _, labels in task.train_loader for label in labels.tolist()) == [0, 0, 0, 1, 1, 2, 2]


def test_without_data_one_line_says_where_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CYCLR_DATA", raising=False)
    with pytest.raises(
        FileNotFoundError, match=r"https://image-net.org/download and pass data=FOLDER or set CYCLR_DATA"
    ):
        imagenet(0)


def test_an_incomplete_set_of_archives_is_named(data: Path, tmp_path: Path) -> None:
    folder = write_archives(data, tmp_path / "archives")
    whole = (folder / "ILSVRC2012_img_train.tar").read_bytes()
    (folder / "ILSVRC2012_img_train.tar").write_bytes(whole[:700])
    with pytest.raises(ValueError, match=r"the archives in .* must be complete"):
        imagenet(0, data=folder, **SMALL)
    (folder / "ILSVRC2012_img_val.tar").unlink()
    with pytest.raises(FileNotFoundError, match=r"must also contain ILSVRC2012_img_val.tar"):
        imagenet(0, data=folder, **SMALL)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"network": "alexnt"}, "did you mean 'alexnet'"),
        ({"size": 40}, "size must be at least 51 pixels for alexnet"),
        ({"classes": 4}, "classes must not exceed the 3 of the data"),
        ({"workers": -1}, "workers must be an integer of at least 0"),
        ({"width": 0}, "width must be positive"),
        ({"library": "opencv"}, "library must be one of"),
    ],
)
def test_wrong_arguments_are_refused(data: Path, settings: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        imagenet(0, **{"data": data, **SMALL, **settings})


# ---------------------------------------------------------------- networks


@pytest.mark.parametrize(
    ("network", "parameters"), [(AlexNet, 60_965_224), (GoogLeNet, 13_378_280), (ResNet50, 25_557_032)]
)
def test_the_networks_have_as_many_parameters_as_those_of_their_authors(
    network: type[torch.nn.Module], parameters: int
) -> None:
    with torch.device("meta"):
        assert sum(parameter.numel() for parameter in network(classes=1000).parameters()) == parameters


def test_googlenet_has_three_losses_while_it_trains_on_large_images() -> None:
    model = GoogLeNet(classes=3, width=0.05)
    labels = torch.tensor([1])
    scores = model(torch.rand(1, 3, 224, 224))
    parts = [torch.nn.functional.cross_entropy(one, labels) for one in scores]
    assert loss(scores, labels).item() == pytest.approx((parts[0] + 0.3 * (parts[1] + parts[2])).item())
    assert model.eval()(torch.rand(1, 3, 224, 224)).shape == (1, 3)
    assert GoogLeNet(classes=3, width=0.05, size=64)(torch.rand(1, 3, 64, 64)).shape == (1, 3)


# ---------------------------------------------------------------- resuming, and several processes


class Counted:
    """Images that count how often they are read."""

    def __init__(self, photos: object) -> None:
        self.photos, self.count, self.labels = photos, 0, photos.labels

    def read(self, number: int) -> bytes:
        self.count += 1
        return self.photos.read(number)


def test_a_resumed_training_ends_bit_by_bit_alike_and_decodes_nothing_again(data: Path, tmp_path: Path) -> None:
    def trained(folder: Path, stop: int = 99) -> tuple[torch.Tensor, int]:
        def progress(step: int, total: int, rate: float, loss: float) -> None:
            if step == stop:
                raise KeyboardInterrupt

        torch.manual_seed(0)
        task = imagenet(0, data=data, library="pillow", **SMALL)
        task.test_loader = None
        counted = task.train_loader.data.photos = Counted(task.train_loader.data.photos)
        train(task, Constant(0.01), steps=14, eval_every=14, checkpoint=Checkpoint(folder, every=3), progress=progress)
        return torch.cat([parameter.detach().flatten() for parameter in task.model.parameters()]), counted.count

    whole, read = trained(tmp_path / "whole")
    assert read == 14 * 4
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "cut", stop=10)
    resumed, read = trained(tmp_path / "cut")
    assert torch.equal(resumed, whole)
    assert read == 5 * 4  # from step 9 on


def test_a_range_test_leaves_the_order_and_the_augmentation_as_they_were(data: Path) -> None:
    task = imagenet(0, data=data, library="pillow", **SMALL)
    torch.manual_seed(0)
    first, again = (range_test(task, ramp=Ramp(steps=8)) for _ in range(2))
    assert not in_order(task.train_loader, 8)
    assert torch.equal(torch.tensor(first.losses), torch.tensor(again.losses))
    untouched = imagenet(0, data=data, library="pillow", **SMALL)
    for (one, _), (other, _) in zip(task.train_loader, untouched.train_loader, strict=True):
        assert torch.equal(one, other)


def shared(folder: Path, count: int, rank: int, size: int, *, batch: int, train: bool = False) -> Loader:
    """The loader of one of `size` processes, for so many copies of an image."""
    names = [str(path.relative_to(folder)) for path in sorted(folder.glob("train/n01/*"))[:1]] * count
    looks = Looks("cpu", (0, 0, 0), (1, 1, 1))
    generator = torch.Generator().manual_seed(0) if train else None
    photos, crop = Files(folder, names, list(range(count))), Crop(8, 8, "warp")
    return Loader(photos, range(count), batch, crop, looks, generator=generator, share=(rank, size), library="pillow")


@pytest.mark.parametrize("count", [3, 6, 7, 8, 12, 13, 14, 25])
def test_an_evaluation_by_several_processes_leaves_no_image_out(data: Path, count: int) -> None:
    parts = [[labels.tolist() for _, labels in shared(data, count, rank, 3, batch=6)] for rank in range(3)]
    assert sorted(label for part in parts for labels in part for label in labels) == list(range(count))
    assert len({len(part) for part in parts}) == 1  # or those that have fewer would leave the others waiting
    assert all(labels for part in parts for labels in part)
    assert len(shared(data, count, 0, 3, batch=6)) == len(parts[0])
    (alone,) = [[labels.tolist() for _, labels in shared(data, count, 0, 1, batch=6)]]
    assert alone == [list(range(start, min(start + 6, count))) for start in range(0, count, 6)]


def test_a_pass_of_training_is_divided_evenly(data: Path) -> None:
    parts = [[labels.tolist() for _, labels in shared(data, 14, rank, 3, batch=6, train=True)] for rank in range(3)]
    assert [[len(labels) for labels in part] for part in parts] == [[2, 2]] * 3
    assert len({label for part in parts for labels in part for label in labels}) == 12


@pytest.mark.parametrize(
    ("count", "size", "batch", "words"),
    [
        (24, 8, 4, "batch must be divisible by the 8 processes, got 4; choose a multiple of 8"),
        (24, 3, 8, "batch must be divisible by the 3 processes, got 8"),
        (2, 3, 6, "3 processes need as many images at least, got 2"),
    ],
)
def test_what_cannot_be_shared_is_refused(data: Path, count: int, size: int, batch: int, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        shared(data, count, 0, size, batch=batch)


PROGRAM = """
import sys, torch
from torch import distributed
from cyclr import Constant, Ramp
from cyclr.tasks.imagenet import imagenet
from cyclr.torch import train
distributed.init_process_group("gloo")
torch.manual_seed(0)
task = imagenet(0, data=sys.argv[1], network="resnet50", size=32, width=0.05, batch=4, library="pillow")
(point,) = train(task, Constant(0.01), steps=3, eval_every=3)
weights = torch.cat([parameter.detach().flatten() for parameter in task.model.parameters()])
theirs = weights.clone()
distributed.broadcast(theirs, src=0)
keys = {key for batch in iter(task.train_loader).batches for key, _ in batch}
everyone = [None, None]
distributed.all_gather_object(everyone, keys)
assert not everyone[0] & everyone[1] and len(everyone[0] | everyone[1]) == 24, everyone
masks = [None, None]
distributed.all_gather_object(masks, torch.nn.functional.dropout(torch.ones(64)).tolist())
assert masks[0] != masks[1]
assert torch.equal(weights, theirs)
assert task.steps_per_epoch == 6
print("well", flush=True)
distributed.destroy_process_group()
"""


def test_two_processes_share_the_images_and_end_with_the_same_weights(data: Path) -> None:
    said = forked.ranks("-c", PROGRAM, data, needs=(*forked.TORCH, "cyclr.tasks.imagenet"))
    assert said == ["well\n"] * 2


@pytest.fixture(autouse=True)
def forget() -> Iterator[None]:
    """Folders are read once in a process, but tests change them."""
    from cyclr.tasks.imagenet import _found

    _found.cache_clear()
    yield
    _found.cache_clear()

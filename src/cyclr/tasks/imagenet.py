"""ImageNet with the networks of the paper's Table 1, AlexNet and GoogLeNet, and with ResNet-50."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

import torch
from torch import Tensor, distributed
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils import convert_conv2d_weight_memory_format
from torch.optim import SGD

from cyclr import _check
from cyclr.torch import Task

from ._classify import accuracy
from ._decoding import Crop, Loader, Looks
from ._groups import groups
from ._imagenet_networks import AlexNet, GoogLeNet, ResNet50, check_size, loss
from ._photos import Found, find
from ._precision import PRECISIONS
from ._seeds import seeded

HELD_OUT = 20  # one of so many training images is held out for tuning
JUDGED_AT_ONCE = 250
MEAN = (123.675, 116.28, 103.53)


@dataclass(frozen=True, slots=True)
class Recipe:
    """A network with its published settings."""

    network: Callable[..., AlexNet | GoogLeNet | ResNet50]
    batch: int
    base_lr: float
    weight_decay: float
    crop: Crop
    spread: tuple[float, float, float]


NETWORKS = {
    "alexnet": Recipe(AlexNet, 256, 0.01, 5e-4, Crop(227, 256, "warp"), (1, 1, 1)),
    "googlenet": Recipe(GoogLeNet, 128, 0.01, 2e-4, Crop(224, 256, "warp"), (1, 1, 1)),
    "resnet50": Recipe(ResNet50, 256, 0.1, 1e-4, Crop(224, 256, "random part"), (58.395, 57.12, 57.375)),
}


def imagenet(
    seed: int,
    *,
    data: str | Path | None = None,
    tuning: bool = False,
    network: str = "alexnet",
    batch: int | None = None,
    size: int | None = None,
    width: float = 1.0,
    classes: int | None = None,
    workers: int = 0,
    precision: str = "float32",
    device: str = "cpu",
    library: str = "auto",
) -> Task:
    """ImageNet (ILSVRC 2012) or any folder of photographs, trained as in Caffe or as ResNet-50.

    AlexNet and GoogLeNet: pixels from 0 to 255 minus their mean, each image warped to 256x256, a random crop of 227
    (GoogLeNet: 224) that is mirrored with a probability of one half; batches of 256 (128), SGD with momentum 0.9,
    rate 0.01, weight decay 5e-4 (2e-4). Biases have twice the rate of weights, stored as `lr_mult` in their group, and
    no weight decay. ResNet-50: standardised pixels, a random part of the image scaled to 224; batches of 256, rate 0.1,
    weight decay 1e-4.

    Decoding in `workers` processes overlaps with the steps; normalisation is done on the device, and images are
    channels-last there. Under `torchrun`, with `torch.distributed.init_process_group` called before, the model is
    replicated (DDP) and each process takes its share of every batch; torch's global generators are then seeded with
    `seed` plus the index of the process, so that each has a dropout of its own. A resumed training decodes no image
    again.

    Args:
        seed: Random seed for the weights, the order and the augmentation. Dropout draws from torch's global generator.
        data: The folder with `train/` and `val/`, which hold a folder of images for each class; or with the official
            archives `ILSVRC2012_img_train.tar`, `ILSVRC2012_img_val.tar` and `ILSVRC2012_devkit_t12.tar.gz`, which are
            read without unpacking them; or with parquet or WebDataset shards named `*train*` and `*val*`, for which the
            library `datasets` is needed. Tiny-ImageNet is read as it is published, too. Or the folder that holds one
            of these, and only one, as `imagenet`, `ILSVRC2012` or `tiny-imagenet-200`. By default the path in the
            environment variable CYCLR_DATA.
        tuning: Hold out one of 20 training images as `val_loader`, for tuning rates; there is then no test data.
            Otherwise the validation images, whose labels are public, are the test data.
        network: "alexnet", "googlenet" or "resnet50".
        batch: Batch size of all processes together, divisible by their number.
        size: Pixels on a side of a crop; the image before the crop is scaled with it.
        width: The share of the network's channels in each layer, for small forms.
        classes: Number of classes to use, from the first in the order of their names; by default all.
        workers: Processes that decode images, for each process that trains; 0 decodes in that one.
        precision: "float32" or "bfloat16".
        device: The device; under `torchrun` "cuda" means the GPU of the local rank.
        library: "torchvision" (transforms.v2), "pillow", or "auto": torchvision if it fits the installed torch. The two
            round differently.

    Returns:
        The task; its metrics are the accuracy and the accuracy of the best five, fractions.

    Raises:
        TypeError: If an argument is of the wrong kind.
        FileNotFoundError: If the data is missing; the message says where to get it.
        ValueError: If an argument has an invalid value, the folder holds several data sets, a class has no images, a
            class of val/ is not in train/, a link leads nowhere; and, from a loader, if an image is damaged.
        ImportError: If Pillow, or for shards `datasets`, is not installed.

    Source:
        Russakovsky et al. (2015), ImageNet large scale visual recognition challenge, https://arxiv.org/abs/1409.0575.
        The networks: see `cyclr.tasks._imagenet_networks`.
    """
    seed = _check.count("seed", seed, "pass an int such as 0", least=0)
    recipe = NETWORKS[_check.choice("network", network, NETWORKS)]
    dtype = PRECISIONS[_check.choice("precision", precision, PRECISIONS)]
    workers = _check.count("workers", workers, least=0)
    batch = recipe.batch if batch is None else _check.count("batch", batch)
    side = check_size(network, recipe.crop.size if size is None else size)
    _check.positive("width", width)
    crop = Crop(side, math.ceil(side * recipe.crop.full / recipe.crop.size), recipe.crop.kind)
    found = _found(None if data is None else str(data)) if data is None or isinstance(data, (str, Path)) else find(data)
    count = len(found.classes) if classes is None else _check.count("classes", classes)
    if count > len(found.classes):
        raise ValueError(_check.problem(f"classes must not exceed the {len(found.classes)} of the data", count))
    share, place = _share(device, seed)
    with seeded(seed):
        made = recipe.network(classes=count, size=side, width=width, precision=dtype).to(place)
    convert_conv2d_weight_memory_format(made, torch.channels_last)
    loader = partial(
        Loader, crop=crop, looks=Looks(place, MEAN, recipe.spread), workers=workers, share=share, library=library
    )
    every, judged = (_of_first(half.labels, count) for half in (found.train, found.val))
    held = every[:: max(2, min(HELD_OUT, len(every) // 2))] if tuning else []
    fitted = sorted(set(every) - set(held))
    own = groups(made, made.multipliers(), recipe.base_lr, recipe.weight_decay)
    return Task(
        model=made if share == (0, 1) else DistributedDataParallel(made),
        optimizer=SGD(own, lr=recipe.base_lr, momentum=0.9),
        loss_fn=loss,
        train_loader=loader(found.train, fitted, batch, generator=torch.Generator().manual_seed(seed)),
        val_loader=loader(found.train, held, JUDGED_AT_ONCE * share[1]) if tuning else None,
        test_loader=None if tuning else loader(found.val, judged, JUDGED_AT_ONCE * share[1]),
        metrics={"accuracy": accuracy, "accuracy_5": (best_five, "max")},
        outputs="logits",
    )


def _of_first(labels: Sequence[int], count: int) -> list[int]:
    """The numbers of the images of the first classes."""
    return [number for number, label in enumerate(labels) if label < count]


def best_five(scores: Tensor, labels: Tensor) -> Tensor:
    """The fraction of images whose label is among the five largest scores."""
    best = scores.topk(min(5, scores.shape[1]), dim=1).indices
    return (best == labels[:, None]).any(dim=1).float().mean()


def _share(device: str, seed: int) -> tuple[tuple[int, int], str]:
    """The index of this process and their number; and its device. Gives it a dropout of its own."""
    if not distributed.is_available() or not distributed.is_initialized():
        return (0, 1), device
    rank, size = distributed.get_rank(), distributed.get_world_size()
    if rank:  # the first draws what a process alone would
        torch.manual_seed(seed + rank)
    return (rank, size), f"cuda:{torch.cuda.current_device()}" if device == "cuda" else device


# Found once per process: a study makes the task anew for each run, and a million file names take seconds.
@lru_cache(maxsize=1)
def _found(data: str | None) -> Found:
    return find(data)

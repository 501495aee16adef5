"""CIFAR-100 with the networks of the paper's Table 4."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from cyclr import _check
from cyclr.torch import Task

from ._cifar import RESIDUAL, Choices, assemble
from ._cifar_files import CIFAR100


def cifar100(
    seed: int,
    *,
    data: str | Path | None = None,
    tuning: bool = False,
    labels: str = "fine",
    network: str = "resnet",
    optimizer: str | None = None,
    batch: int | None = None,
    augment: bool | None = None,
    precision: str = "float32",
    device: str = "cpu",
    compiled: bool = False,
) -> Task:
    """CIFAR-100, 50,000 training and 10,000 test images of 32x32, trained as in the articles of its networks.

    Pixels minus their mean; each epoch has a new order, and each image is shifted by up to 4 pixels and mirrored with
    a probability of one half. SGD with momentum 0.9, weight decay 1e-4 and rate 0.1. Batches of 128, so 391 steps per
    epoch; DenseNet: 64, so 782. The paper's rates are 0.1, 0.2 and 0.3 divided by 10 after a half and three quarters of
    the training, and cycles from 0.1 to 0.3 (DenseNet: 0.2), each a tenth of the training, divided at the same steps.

    Args:
        seed: Random seed for the weights, the order and the augmentation.
        data: The official archive `cifar-100-binary.tar.gz` or `cifar-100-python.tar.gz`, which is read without
            unpacking it; or the folder with the files of one of them, or its parent; or an `.npz` file with
            `train_images` (n, 32, 32, 3), `train_fine_labels` or `train_coarse_labels`, and the same for `test`, all
            bytes. By default the path in the environment variable CYCLR_DATA.
        tuning: Hold out the last 5,000 training images as `val_loader`, for tuning rates; there is then no test data.
        labels: "fine", 100 classes; or "coarse", 20.
        network: "resnet": ResNet-20; "resnet56"; "resnet110"; "stochastic-depth": ResNet-110 whose blocks are left out
            at random, the last with probability 0.5; "densenet": 40 layers that add 12 channels each;
            "densenet-small": 13 layers.
        optimizer: By default that of the network's authors: "nesterov" for stochastic depth and DenseNet, else "sgd".
            Or another of those of `cifar10`.
        batch: Batch size, by default that of the network's authors.
        augment: Shift and mirror the training images randomly; by default yes.
        precision: "float32" or "bfloat16", which makes convolutions faster on hardware that supports it.
        device: The device of the network and of all images.
        compiled: Compile the network with `torch.compile`, on a GPU into CUDA graphs; the first steps are slow.

    Returns:
        The task; its metric is the accuracy, a fraction.

    Raises:
        TypeError: If an argument is of the wrong kind.
        FileNotFoundError: If the data is missing; the message says where to get it.
        ValueError: If an argument or a file has an invalid value.

    Source:
        Krizhevsky (2009), Learning multiple layers of features from tiny images. He et al. (2015), Deep residual
        learning for image recognition, https://arxiv.org/abs/1512.03385, section 4.2. Huang et al. (2016), Deep
        networks with stochastic depth, https://arxiv.org/abs/1603.09382. Huang et al. (2017), Densely connected
        convolutional networks, https://arxiv.org/abs/1608.06993.
    """
    chosen = Choices(
        data=data,
        tuning=tuning,
        network=network,
        optimizer=optimizer,
        batch=batch,
        images=None,
        augment=augment,
        precision=precision,
        device=device,
        compiled=compiled,
    )
    return assemble(seed, chosen, RESIDUAL, CIFAR100, _check.choice("labels", labels, CIFAR100.labels))


densenet = partial(cifar100, network="densenet")
"""`cifar100` with a DenseNet, under a name for the command line."""

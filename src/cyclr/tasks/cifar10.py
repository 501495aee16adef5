"""CIFAR-10 with the network on which cyclical rates were first shown: Caffe's `cifar10_full`."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from cyclr._renamed import renamed
from cyclr.torch import Task

from ._cifar import CAFFE, RENAMED, RESIDUAL, Choices, assemble
from ._cifar_files import CIFAR10


@renamed(RENAMED)
def cifar10(
    seed: int,
    *,
    data: str | Path | None = None,
    tuning: bool = False,
    network: str = "full",
    optimizer: str | None = None,
    images: int | None = None,
    augment: bool | None = None,
    precision: str = "float32",
    device: str = "cpu",
    compiled: bool = False,
) -> Task:
    """CIFAR-10 trained as in Caffe's example, or as the residual networks of He et al.

    Caffe's networks, "full" and "sigmoid": no augmentation, pixels from 0 to 255 minus their mean, batches of 100, so
    500 steps per epoch; SGD with momentum 0.9 and weight decay 0.004. The images are in the order of the files in every
    epoch and for every seed. Rates and weight decays differ between parameters: biases have twice the rate of weights,
    and the classifier has 250 times the weight decay. Each group of the optimizer stores the factor of its rate as
    `lr_mult`. Rates in the paper are those of the weights, with `lr_mult` 1; the rate of the whole task, as in
    `cyclr.torch.train(task, schedule)`, is that of the group with the largest rate, so twice the paper's rate.

    The other networks are those of the paper's Table 4: pixels minus their mean, batches of 128 (DenseNet: 64), so 391
    (782) steps per epoch; SGD with momentum 0.9, weight decay 1e-4 and rate 0.1. Each epoch has a new order, and each
    image is shifted by up to 4 pixels and mirrored with a probability of one half.

    Args:
        seed: Random seed for the weights, and for all but Caffe's networks also for the order and the augmentation.
        data: The official archive `cifar-10-binary.tar.gz` or `cifar-10-python.tar.gz`, which is read without unpacking
            it; or the folder with the files of one of them, or its parent; or an `.npz` file with `train_images`
            (n, 32, 32, 3), `train_labels`, `test_images` and `test_labels`, all bytes. By default the path in the
            environment variable CYCLR_DATA.
        tuning: Hold out the last 5,000 training images as `val_loader`, for tuning rates; there is then no test data.
        network: "full"; "sigmoid": sigmoids and batch normalisation, no weight decay; "resnet": ResNet-20; "resnet56";
            "resnet110"; "stochastic-depth": ResNet-110 whose blocks are left out at random, the last with probability
            0.5; "densenet": 40 layers that add 12 channels each; "densenet-small": 13 layers.
        optimizer: By default that of the network's authors: "nesterov" for stochastic depth and DenseNet, else "sgd".
            Also "adam", "rmsprop", "adagrad" or "adadelta", otherwise with torch's defaults;
            or "caffe-sgd", "caffe-nesterov": with the rate inside the velocity, which differs when the rate changes.
        images: Number of training images to use, from the start of the files; by default all.
        augment: Shift and mirror the training images randomly; by default for all but Caffe's networks.
        precision: "float32" or "bfloat16", which makes convolutions faster on hardware that supports it.
        device: The device of the network and of all images.
        compiled: Compile a network of Table 4 with `torch.compile`, on a GPU into CUDA graphs; the first steps are
            slow.
            Not for Caffe's networks: compiled by torch 2.13 on a CPU, "full" had gradients that were off by a third.

    Returns:
        The task; its metric is the accuracy, a fraction.

    Raises:
        TypeError: If an argument is of the wrong kind.
        FileNotFoundError: If the data is missing; the message says what is needed.
        ValueError: If an argument or a file has an invalid value.

    Source:
        Krizhevsky (2009), Learning multiple layers of features from tiny images. Caffe's networks and their solver:
        https://github.com/BVLC/caffe/tree/master/examples/cifar10. He et al. (2015), Deep residual learning for image
        recognition, https://arxiv.org/abs/1512.03385, section 4.2. Huang et al. (2016), Deep networks with stochastic
        depth, https://arxiv.org/abs/1603.09382. Huang et al. (2017), Densely connected convolutional networks,
        https://arxiv.org/abs/1608.06993.
    """
    chosen = Choices(
        data=data,
        tuning=tuning,
        network=network,
        optimizer=optimizer,
        batch=None,
        images=images,
        augment=augment,
        precision=precision,
        device=device,
        compiled=compiled,
    )
    return assemble(seed, chosen, {**CAFFE, **RESIDUAL}, CIFAR10, "label")


resnet = partial(cifar10, network="resnet")
"""`cifar10` with a residual network, under a name for the command line."""

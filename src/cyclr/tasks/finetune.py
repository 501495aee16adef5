"""Fine-tuning: a ResNet trained on CIFAR-10 goes on with the classes of CIFAR-100."""

from __future__ import annotations

import pickle
import re
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.utils import convert_conv2d_weight_memory_format
from torch.optim import SGD

from cyclr import _check
from cyclr._renamed import renamed
from cyclr.torch import Task

from ._cifar import JUDGED_AT_ONCE, RENAMED, parts
from ._cifar_files import CIFAR100
from ._classify import accuracy
from ._images import Drawn, InOrder
from ._precision import PRECISIONS
from ._resnet import ResNet
from ._seeds import seeded

GET = (
    "download resnet20-12fca82f.th from https://github.com/akamaster/pytorch_resnet_cifar10 (pretrained_models) and "
    "pass weights=FILE"
)
NAMES = {"conv1": "conv", "bn1": "norm", "linear": "classify"}
MEAN, SPREAD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
BATCH, BASE_LR, HEAD = 64, 0.01, 10


@renamed(RENAMED)
def finetune(
    seed: int,
    *,
    weights: str | Path | None = None,
    data: str | Path | None = None,
    tuning: bool = False,
    labels: str = "fine",
    images: int = 10_000,
    precision: str = "float32",
    device: str = "cpu",
) -> Task:
    """A ResNet trained on CIFAR-10 gets a new classifier and is trained on 10,000 images of CIFAR-100.

    All weights are trained; the new classifier has ten times the rate of the others, so that the optimizer has two
    groups whose ratio every schedule keeps. SGD with momentum 0.9 and weight decay 1e-4, batches of 64, so 157 steps
    per epoch; images are shifted by up to 4 pixels and mirrored at random.

    Args:
        seed: Random seed for the classifier, the order and the augmentation.
        weights: The file with the trained weights of ResNet-20, -32, -44, -56 or -110, by the names of
            https://github.com/akamaster/pytorch_resnet_cifar10; loaded without running code.
        data: The data of CIFAR-100, as for `cifar100`.
        tuning: Hold out the last tenth of the training images as `val_loader`, for tuning rates; there is then no test
            data.
        labels: "fine", 100 classes; or "coarse", 20.
        images: Number of training images to use, from the start of the file.
        precision: "float32" or "bfloat16".
        device: The device of the network and of all images.

    Returns:
        The task; its metric is the accuracy, a fraction.

    Raises:
        TypeError: If an argument is of the wrong kind.
        FileNotFoundError: If weights or data are missing; the message says where to get them.
        ValueError: If an argument or a file has an invalid value.

    Source:
        He et al. (2015), https://arxiv.org/abs/1512.03385; the weights: Idelbayev, Proper ResNet implementation for
        CIFAR10/CIFAR100 in PyTorch.
    """
    seed = _check.count("seed", seed, "pass an int such as 0", least=0)
    dtype = PRECISIONS[_check.choice("precision", precision, PRECISIONS)]
    kind = _check.choice("labels", labels, CIFAR100.labels)
    state = _trained(weights)
    train, held, test = parts(data, CIFAR100, kind, images=images, tuning=tuning, device=device)
    depth = 2 + 2 * sum(name.startswith("blocks.") and name.endswith("conv1.weight") for name in state)
    try:
        with seeded(seed):
            model = ResNet(depth=depth, classes=CIFAR100.labels[kind], centred=True, precision=dtype)
        own = model.state_dict()
        kept = [name for name in own if not name.startswith("classify.") and not name.endswith("num_batches_tracked")]
        model.load_state_dict(own | {name: state[name] for name in kept})
    except (KeyError, RuntimeError, ValueError) as error:
        must = "weights must be those of a ResNet for CIFAR-10"
        raise ValueError(_check.problem(must, str(error).splitlines()[0], GET)) from None
    model.to(device)
    convert_conv2d_weight_memory_format(model, torch.channels_last)
    mean, spread = (255 * torch.tensor(values, device=device) for values in (MEAN, SPREAD))
    body = [parameter for name, parameter in model.named_parameters() if not name.startswith("classify.")]
    groups = [{"params": body}, {"params": list(model.classify.parameters()), "lr": HEAD * BASE_LR}]
    return Task(
        model=model,
        optimizer=SGD(groups, lr=BASE_LR, momentum=0.9, weight_decay=1e-4),
        loss_fn=nn.functional.cross_entropy,
        train_loader=Drawn(
            train, mean, BATCH, torch.Generator().manual_seed(seed), shuffled=True, augment=True, spread=spread
        ),
        val_loader=None if held is None else InOrder(held, mean, JUDGED_AT_ONCE, spread),
        test_loader=None if test is None else InOrder(test, mean, JUDGED_AT_ONCE, spread),
        metrics={"accuracy": accuracy},
    )


def _trained(weights: str | Path | None) -> dict[str, Tensor]:
    """The weights by the names of our `ResNet`."""
    if weights is None or not isinstance(weights, (str, Path)):
        kind = FileNotFoundError if weights is None else TypeError
        raise kind(_check.problem("the task finetune needs the path of trained weights", weights, GET))
    if not Path(weights).is_file():
        raise FileNotFoundError(_check.problem("weights must be an existing file", str(weights), GET))
    try:
        state = torch.load(weights, map_location="cpu", weights_only=True)
        named = {name.removeprefix("module."): value for name, value in state.get("state_dict", state).items()}
    except (RuntimeError, EOFError, pickle.UnpicklingError, AttributeError) as error:
        said = next(iter(str(error).splitlines()), "an empty file")
        raise ValueError(_check.problem(f"{weights} must be a file of weights", said, GET)) from None
    stages: dict[str, int] = {}
    for name in named:  # layer2.0 comes after all blocks of layer1, which is how they are counted here
        if found := re.match(r"layer\d+\.\d+", name):
            stages.setdefault(found[0], len(stages))
    return {_as_ours(name, stages): value for name, value in named.items()}


def _as_ours(name: str, stages: dict[str, int]) -> str:
    """`layer2.0.bn1.weight` is `blocks.3.norm1.weight` in a ResNet-20."""
    if found := re.match(r"(layer\d+\.\d+)\.(.*)", name):
        return f"blocks.{stages[found[1]]}.{found[2].replace('bn', 'norm')}"
    first, _, rest = name.partition(".")
    return f"{NAMES.get(first, first)}.{rest}"

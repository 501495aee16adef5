"""Tasks to try learning rates on: real data, small networks, one file each.

A task is a callable `task(seed) -> cyclr.torch.Task`. The seed determines the weights and the
order of the data, so that two policies with the same seed start from the same weights and see the same batches. If
the callable takes `tuning`, `task(seed, tuning=True)` holds out part of the training data as `val_loader` and has no
test data: everything that is tuned (a rate, a policy) is tuned on that.
"""

from cyclr._displayed import public as _public

BUILT_IN: dict[str, str] = {
    "fashion": "cyclr.tasks.fashion:small",
    "fashion-resnet": "cyclr.tasks.fashion:resnet",
    "fashion-full": "cyclr.tasks.fashion:full",
    "digits": "cyclr.tasks.digits:digits",
    "text": "cyclr.tasks.text:text",
    "cifar10": "cyclr.tasks.cifar10:cifar10",
    "cifar10-resnet": "cyclr.tasks.cifar10:resnet",
    "cifar100": "cyclr.tasks.cifar100:cifar100",
    "cifar100-densenet": "cyclr.tasks.cifar100:densenet",
    "imagenet": "cyclr.tasks.imagenet:imagenet",
    "finetune": "cyclr.tasks.finetune:finetune",
    "sentences": "cyclr.tasks.sentences:sentences",
    "tabular": "cyclr.tasks.tabular:tabular",
}
"""The built-in tasks by name; each is imported when it is used."""


def __dir__() -> list[str]:
    return _public(globals())

"""Tasks to try learning rates on: real data, small networks, one file each.

A task is a callable `task(seed) -> cyclr.torch.Task`. Its seed decides the weights and the order of the
data, so that two policies under one seed start from the same weights and see the same batches. Where the
callable takes `tuning`, `task(seed, tuning=True)` holds out part of the training data as `val_loader` and has
no test data: whatever is chosen by trying (a rate, a policy) is chosen on that.
"""

BUILT_IN: dict[str, str] = {
    "fashion": "cyclr.tasks.fashion:small",
    "fashion-resnet": "cyclr.tasks.fashion:resnet",
    "fashion-full": "cyclr.tasks.fashion:full",
    "digits": "cyclr.tasks.digits:digits",
    "text": "cyclr.tasks.text:text",
    "cifar10": "cyclr.tasks.cifar10:cifar10",
    "cifar10-resnet": "cyclr.tasks.cifar10:resnet",
}
"""What a name on the command line stands for; nothing is imported before it is asked for."""

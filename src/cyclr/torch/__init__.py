"""The rim for PyTorch: tasks, schedulers, the transaction."""

from cyclr.torch.preserve import Transaction as Transaction
from cyclr.torch.preserve import preserved as preserved
from cyclr.torch.scheduler import Scheduler as Scheduler
from cyclr.torch.task import Task as Task

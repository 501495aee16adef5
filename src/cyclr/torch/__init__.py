"""The rim for PyTorch: tasks, schedulers, the transaction, range tests, and the loop that trains."""

from cyclr.torch.auto import auto as auto
from cyclr.torch.average import averaged_model as averaged_model
from cyclr.torch.average import trailing_average as trailing_average
from cyclr.torch.preserve import Transaction as Transaction
from cyclr.torch.preserve import preserved as preserved
from cyclr.torch.range_test import range_test as range_test
from cyclr.torch.scheduler import Scheduler as Scheduler
from cyclr.torch.task import Task as Task
from cyclr.torch.train import train as train
from cyclr.torch.update import evaluate as evaluate

"""The rim for PyTorch: tasks and schedulers."""

from cyclr.torch.scheduler import Scheduler as Scheduler
from cyclr.torch.task import Task as Task

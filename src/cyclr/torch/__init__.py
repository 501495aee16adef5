"""The rim for PyTorch: tasks."""

from .task import Task as Task

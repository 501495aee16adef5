"""A transaction that restores a training, whatever happens inside it."""

from cyclr.torch._restore.transaction import Transaction as Transaction
from cyclr.torch._restore.transaction import preserved as preserved

"""Whatever happens to a training inside the transaction, afterwards everything is as it was."""

from cyclr.torch._restore.transaction import Transaction as Transaction
from cyclr.torch._restore.transaction import preserved as preserved

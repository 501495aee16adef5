from __future__ import annotations

from tests.cli.conftest import task_file as task_file

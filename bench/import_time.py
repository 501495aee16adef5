"""Time of `import cyclr` compared with `import numpy`: must stay below 1.5 times.

    python bench/import_time.py

Each import is timed in fresh interpreters, alternating, and the fastest one counts, as disturbances only slow it down.
"""

from __future__ import annotations

import subprocess
import sys

ROUNDS = 15
LIMIT = 1.5
CODE = "import time; start = time.perf_counter(); import {}; print(time.perf_counter() - start)"


def seconds(package: str) -> float:
    """One import in a fresh interpreter."""
    command = [sys.executable, "-c", CODE.format(package)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def main() -> None:
    """Time both, print the ratio, exit with 1 if it is too large."""
    times = {package: [] for package in ("numpy", "cyclr")}
    for _ in range(ROUNDS):
        for package, found in times.items():
            found.append(seconds(package))
    numpy, cyclr = (min(found) for found in times.values())
    print(f"import numpy {1e3 * numpy:.0f} ms, import cyclr {1e3 * cyclr:.0f} ms: {cyclr / numpy:.2f} times")
    if cyclr > LIMIT * numpy:
        sys.exit(f"import cyclr must take less than {LIMIT} times as long as import numpy")


if __name__ == "__main__":
    main()

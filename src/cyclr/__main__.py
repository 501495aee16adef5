"""`python -m cyclr` is `cyclr`."""

import sys

from cyclr._cli import main

if __name__ == "__main__":  # not in the workers of a study, which import their parent's main module
    sys.exit(main())

"""`python -m clusterodm_py`: the same as `clusterodm`."""

from __future__ import annotations

import sys

from clusterodm_py.cli import main

if __name__ == "__main__":
    sys.exit(main())

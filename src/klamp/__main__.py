"""``python -m klamp`` is the command line."""

import sys

from klamp.cli import main

sys.exit(main())

"""``python -m klamp`` is the command line."""

import sys

from klamp.cli.main import main

sys.exit(main())

"""`python -m taskpress.bundler` is `taskpress`."""

import sys

from .cli import main

sys.exit(main())

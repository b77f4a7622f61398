"""`python -m rolegate`."""

import sys

from rolegate.fast import main

sys.exit(main())

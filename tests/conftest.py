"""One thread for torch, as in the learner's own process: with another number its sums differ in their last bits."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

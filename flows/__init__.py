"""START HERE with retrain.py: a flow is calls and ifs; the work is in `tasks` and `lstm_model`."""

import os

# Torch reads this at its first allocation: memory in pages of 2 MB where Linux has them. A training step on a CPU takes
# its workspace again, and having that cleared 4 kB at a time cost up to a third of it (docs/decisions.md).
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")

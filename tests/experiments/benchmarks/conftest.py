"""The benchmarks are scripts beside each other, which import each other by their bare names."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3] / "experiments" / "benchmarks"))

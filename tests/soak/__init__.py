"""`python -m tests.soak --minutes N`: real processes that are killed, stopped and starved at random, for as long as one likes."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))  # where the lives of processes are, which tests share

"""Puts the drawing modules of docs/ and this folder's helpers on the path."""

import sys
from pathlib import Path

HERE = Path(__file__).parent
for folder in (HERE, HERE.parents[1] / "docs"):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))

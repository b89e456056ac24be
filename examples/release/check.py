"""Checks that the links of some pages lead to pages that are there.

Usage: check.py FOLDER
"""

import json
import re
import sys
from pathlib import Path

folder = Path(sys.argv[1])
links = [
    (page.name, target)
    for page in sorted(folder.glob("*.html"))
    for target in re.findall(r'href="([^"#]+)', page.read_text(encoding="utf-8"))
]
dead = [f"{page} -> {target}" for page, target in links if not (folder / target).is_file()]
if dead:
    sys.exit(f"links that lead nowhere: {', '.join(dead)}")
print(json.dumps({"pages": len(list(folder.glob("*.html"))), "links": len(links)}))

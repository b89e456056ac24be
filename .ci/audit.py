"""Known vulnerabilities in what is installed: one that is found fails; a service that cannot be asked is told of, loudly.

pip-audit asks PyPI. Where only a mirror of its files can be reached nobody can say anything about vulnerabilities, and that
must not be taken for a clean bill.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

PATIENCE_S = 180


def asked() -> tuple[list[dict[str, Any]], str]:
    """What pip-audit says of each package, or why it says nothing."""
    argv = [sys.executable, "-m", "pip_audit", "--local", "--skip-editable", "--progress-spinner", "off"]
    try:
        done = subprocess.run(
            [*argv, "--format", "json"], capture_output=True, text=True, timeout=PATIENCE_S, check=False
        )
    except subprocess.TimeoutExpired:
        return [], f"pip-audit gave no answer within {PATIENCE_S} s"
    try:
        return json.loads(done.stdout)["dependencies"], ""
    except (ValueError, LookupError):
        said = done.stderr.strip().splitlines() or ["nothing"]
        return [], f"pip-audit gave no answer, and said: {said[-1]}"


def main() -> int:
    """Say what is known; 1 if something is vulnerable."""
    packages, why_not = asked()
    vulnerable = [each for each in packages if each.get("vulns")]
    for each in vulnerable:
        for found in each["vulns"]:
            mended = ", ".join(found["fix_versions"]) or "nothing yet"
            print(f"VULNERABLE: {each['name']} {each['version']}: {found['id']}, mended by {mended}")
    audited = [each for each in packages if "vulns" in each]
    skipped = {each.get("skip_reason", "").partition(":")[0] for each in packages if "vulns" not in each}
    if not audited:
        print(
            f"NOT AUDITED: nobody could be asked about vulnerabilities ({why_not or '; '.join(sorted(skipped))})"
        )
    else:
        print(f"audited: {len(audited)} of {len(packages)} packages, {len(vulnerable)} vulnerable")
    return 1 if vulnerable else 0


if __name__ == "__main__":
    sys.exit(main())

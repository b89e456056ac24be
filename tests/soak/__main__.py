"""The command; see the package."""

from __future__ import annotations

import argparse
import secrets
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from threading import Event
from typing import Final

from tests.soak.rounds import Lane, Tally, undisturbed

TELL_S: Final = 10.0
"""Between two lines of counts."""


def soak(
    minutes: float,
    seed: str,
    folder: Path,
    lanes: int,
    break_promise: Callable[[Path], None] = lambda _: None,
) -> Tally:
    """Play rounds in some lanes at a time until the time is over, or something has told to stop."""
    tally, enough = Tally(), Event()
    endings = undisturbed(folder / "undisturbed")
    deadline = time.monotonic() + 60 * minutes

    def run(number: int) -> None:
        lane = Lane(f"{seed}/{number}", folder / str(number), tally, endings, break_promise)
        played = 0
        while time.monotonic() < deadline and not enough.is_set():
            played += 1
            if lane.play(played):
                shutil.rmtree(folder / str(number) / str(played))

    with ThreadPoolExecutor(lanes) as pool:
        futures = [pool.submit(run, number) for number in range(lanes)]
        try:
            while wait(futures, TELL_S).not_done:
                print(tally.told(), flush=True)
        except KeyboardInterrupt:
            enough.set()
        for future in futures:
            future.result()
    return tally


def main(
    arguments: Sequence[str] | None = None, break_promise: Callable[[Path], None] = lambda _: None
) -> int:
    """The command; its exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.soak", description=sys.modules["tests.soak"].__doc__
    )
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--seed", default="", help="of what is done; when it is done, machines decide")
    parser.add_argument("--lanes", type=int, default=1, help="runs at a time")
    parser.add_argument(
        "--keep", type=Path, help="where stores are made, and those that broke a promise stay"
    )
    asked = parser.parse_args(arguments)
    seed = asked.seed or secrets.token_hex(4)
    folder = asked.keep or Path(tempfile.mkdtemp(prefix="actorflow-soak-"))
    print(f"seed {seed}, in {folder}", flush=True)
    tally = soak(asked.minutes, seed, folder, asked.lanes, break_promise)
    for violation in tally.violations:
        print(violation)
    if not tally.violations:
        shutil.rmtree(folder, ignore_errors=True)
    print(tally.told())
    print(f"violations: {len(tally.violations)}")
    return 1 if tally.violations else 0


if __name__ == "__main__":
    sys.exit(main())

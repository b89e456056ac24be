"""A longer run is killed at times that nobody has chosen, again and again, and still comes to its end."""

from __future__ import annotations

import time
from random import Random

from crash_checks import check_crashed, check_ended
from crash_lives import BACKENDS, Life, live, live_through, start

KILLS = 100

KILLS_OF_A_RUN = 5
"""An attempt may be cut off five times before its task fails `lost`."""


def test_a_hundred_kills_at_random_times_change_nothing_of_any_end(tmp_path):
    random = Random(1906)
    (tmp_path / "undisturbed").mkdir()
    expected = live_through(Life(tmp_path / "undisturbed", "long"))
    assert expected is not None
    length = len(check_ended(tmp_path / "undisturbed").events)
    reached: list[int] = []  # events of the run, at each kill
    runs = 0
    while len(reached) < KILLS:
        runs += 1
        folder = tmp_path / str(runs)
        folder.mkdir()
        left = None
        for _ in range(KILLS_OF_A_RUN):
            process = start(live, Life(folder, "long", random.choice(BACKENDS)))
            # one in five is killed while it opens its store or takes the run over, the others while they run it
            awaited = "up" if random.random() < 0.2 else "running"
            while process.hear() != awaited:
                pass
            time.sleep(random.uniform(0.002, 0.040))
            process.kill()
            if process.report() is not None:
                break
            left = check_crashed(folder)
            reached.append(len(left[0].events))
        report = live_through(Life(folder, "long", random.choice(BACKENDS)))
        assert report is not None
        assert report.facts == expected.facts
        check_ended(folder, left)
    assert len(set(reached)) > KILLS / 10, "the kills were spread over the run"
    assert max(reached) > length / 4

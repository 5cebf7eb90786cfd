"""What a person sees while a sweep runs."""

import io

from klamp.training.sweep.progress import SweepProgress
from klamp.training.sweep.study import Trial


def test_lines() -> None:
    trials = [Trial(0, "complete", {"clip": 0.1}, 9.0, None, 0)]
    now = [0.0]
    file = io.StringIO()
    progress = SweepProgress(lambda: trials, 5, file, lambda: now[0])
    trials.append(Trial(1, "running", {"clip": 0.2}, None, None, 0))
    progress.hear("begun", 1, 0.0, None)
    assert file.getvalue() == ""
    now[0] = 10.0
    progress.hear("update", 1, 0.5, 3.0)
    trials[1] = Trial(1, "pruned", {"clip": 0.2}, 3.0, None, 0)
    now[0] = 20.0
    progress.hear("ended", 1, 1.0, None)
    assert file.getvalue().splitlines() == [
        "1 of 5 trials ended (0 pruned) · best 9.00 (trial 0) · running: 1 at 50%"
        " · 1 min 10 s left",
        "trial 1 pruned 3.00: clip=0.2",
        "2 of 5 trials ended (1 pruned) · best 9.00 (trial 0) · 1 min 0 s left",
    ]


def test_quiet() -> None:
    SweepProgress(list, 5, None).hear("ended", 3, 1.0, None)

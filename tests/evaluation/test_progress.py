"""What an evaluation tells while it goes, where there is no terminal."""

import io

from gemma_tool_use.evaluation.progress import Progress


def told(*moments):
    """The lines for moments of (seconds, finished, total)."""
    clock = iter([seconds for seconds, _, _ in moments])
    out = io.StringIO()
    with Progress("adapter", stream=out, clock=lambda: next(clock)) as progress:
        for _, finished, total in moments:
            progress.tell(finished, total)
    return out.getvalue().splitlines()


def test_a_line_every_half_minute_has_speed_and_time_left_and_the_last_one_has_the_speed():
    assert told((0, 0, 400), (10, 20, 400), (60, 120, 400), (200, 400, 400)) == [
        "adapter: 0/400 prompts",
        "adapter: 120/400 prompts, 2/s, 2:20 left",
        "adapter: 400/400 prompts, 2/s",
    ]


def test_what_an_earlier_start_answered_does_not_count_for_the_speed():
    assert told((5, 300, 400), (55, 350, 400)) == [
        "adapter: 300/400 prompts, 300 of them answered by an earlier start",
        "adapter: 350/400 prompts, 1/s, 0:50 left",
    ]

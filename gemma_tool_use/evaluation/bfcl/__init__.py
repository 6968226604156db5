"""The Berkeley Function-Calling Leaderboard v4: its questions, the rule that judges answers, its result files."""

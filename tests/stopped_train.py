"""The train command, sent SIGTERM by itself at the end of a step: python tests/stopped_train.py STEP FLAGS..."""

import os
import signal
import sys
from typing import Any

from gemma_tool_use.commands import run
from gemma_tool_use.training.progress import ProgressHooks
from gemma_tool_use.training.train_gemma3_270m_tool_calling import main

original = ProgressHooks.on_train_step_end


def stop_after(self: ProgressHooks, train_ctx: Any, train_step: int, train_loss: float) -> None:
    original(self, train_ctx, train_step, train_loss)
    if train_step == int(sys.argv[1]):
        os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    ProgressHooks.on_train_step_end = stop_after  # pyright: ignore[reportAttributeAccessIssue]
    sys.exit(run(main, sys.argv[2:]))

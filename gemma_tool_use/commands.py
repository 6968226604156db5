"""Runs a command the way a shell expects: a user's mistake is one message and exit code 2, never a traceback.

if __name__ == "__main__":
    sys.exit(run(main))
"""

import gc
import os
import sys
from collections.abc import Callable, Sequence

from gemma_tool_use.errors import GemmaToolUseError

EXIT_OK, EXIT_BLOCKED, EXIT_MISTAKE, EXIT_INTERRUPTED, EXIT_BROKEN_PIPE = 0, 1, 2, 130, 141

# Python looks for garbage after 700 new objects, again and again while JAX is imported and programs are traced: 1 to 2
# of the 20 s until the first training step. With this many the peak of memory is the same; with no collection at all it
# was 0.5 GB more.
_OBJECTS_BETWEEN_COLLECTIONS = 50_000

Main = Callable[[Sequence[str] | None], int]


def run(main: Main, argv: Sequence[str] | None = None) -> int:
    """Calls `main(argv)` and returns its exit code.

    A `GemmaToolUseError` is printed on stderr and gives 2, Ctrl-C gives 130, and a reader that closed the pipe
    (`gemma-tool-use show ... | head`) gives 141. Anything else is a bug of ours and keeps its traceback.
    """
    gc.set_threshold(_OBJECTS_BETWEEN_COLLECTIONS)
    try:
        code = main(argv)
        sys.stdout.flush()
        return code
    except GemmaToolUseError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_MISTAKE
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # The interpreter flushes stdout once more at exit; without a place to write to it would print a traceback.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_BROKEN_PIPE

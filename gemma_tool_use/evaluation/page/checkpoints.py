"""The table of a run's checkpoints, from the checkpoints.json that evaluate-checkpoints leaves.

checkpoints(run / "evaluation" / "checkpoints.json")      # Table("checkpoints", ...); None when there is no such file
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gemma_tool_use.errors import DataError, FileError
from gemma_tool_use.pages.table_parts import Cell, Line, Table

_HEAD = ("step", "exact", "95 %", "rows", "tool_call_accuracy", "parameter_accuracy", "held-out loss", "best")


def checkpoints(path: Path) -> Table | None:
    """A line for each checkpoint.

    Raises:
      FileError: the file cannot be read.
      DataError: evaluate-checkpoints did not write it.
    """
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        lines = [_line(point, content["best"]["step"]) for point in content["checkpoints"]]
    except OSError as error:
        raise FileError(f"cannot read {path}: {error.strerror or error}") from None
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} cannot be read ({error!r}); run evaluate-checkpoints again") from None
    caption = "Every checkpoint on the same held-out rows: exactly the expected calls, with the 95 % Wilson interval."
    return Table("checkpoints", caption, _HEAD, lines)


def _line(point: Mapping[str, Any], best: int) -> Line:
    exact, loss = point["exact"], point["eval_loss"]
    cells = [
        Cell("exact", exact["value"], f"{100 * exact['value']:.1f} %", bar=exact["value"]),
        Cell("95 %", exact["low"], f"{100 * exact['low']:.1f} – {100 * exact['high']:.1f}"),
        Cell("rows", exact["count"], f"{exact['count']:,}"),
        *(Cell(name, point[name], f"{100 * point[name]:.1f} %") for name in _HEAD[4:6]),
        Cell("held-out loss", loss or 0, "" if loss is None else f"{loss:.4f}"),
        Cell("best", int(point["step"] == best), "best" if point["step"] == best else ""),
    ]
    return Line(f"{point['step']:,}", cells)

"""The system text of BFCL's prompt mode, read from the installed package so that it is the leaderboard's own.

    load_prompt(data_folder()).system_text([function])
    # You are an expert in composing functions.You are given a question and a set of possible functions. ...

The texts stand in `constants/default_prompts.py` beside the folder of questions. That file is parsed, not run.
"""

import ast
import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gemma_tool_use.bfcl_files import INSTALL
from gemma_tool_use.errors import DataError

_FORMAT = "DEFAULT_SYSTEM_PROMPT_FORMAT"
_NAMES = (
    _FORMAT,
    "OUTPUT_FORMAT_MAPPING",
    "PARAM_TYPE_MAPPING",
    "PROMPT_STYLE_TEMPLATES",
    "_PLAINTEXT_SYSTEM_PROMPT_TEMPLATE",
)
# The only form that is read here: calls as Python, functions as JSON, plain text.
_WANTED = {"ret_fmt": "python", "tool_call_tag": "False", "func_doc_fmt": "json", "prompt_fmt": "plaintext"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class SystemPrompt:
    """BFCL's system text, with a place for the functions."""

    before: str
    available: str

    def system_text(self, functions: Sequence[Mapping[str, Any]]) -> str:
        """The text for these functions (`functions.hinted`)."""
        listed = json.dumps(list(functions), indent=4)
        return self.before + self.available.format(format=_WANTED["func_doc_fmt"], functions=listed)


def load_prompt(data: Path) -> SystemPrompt:
    """Reads the prompt of the package that a folder of questions belongs to.

    Raises:
      DataError: the file is missing, or not what bfcl-eval 2026.3.23 has.
    """
    path = data.parent / "constants" / "default_prompts.py"
    try:
        texts = _constants(ast.parse(path.read_text(encoding="utf-8")))
        asked = dict(part.split("=") for part in texts[_FORMAT].split("&"))
        style = texts["PROMPT_STYLE_TEMPLATES"][asked.pop("style")]
        if asked != _WANTED:
            raise ValueError(f"{_FORMAT} is {texts[_FORMAT]!r}")
        form = style["tool_call_no_tag"].format(
            output_format=texts["OUTPUT_FORMAT_MAPPING"]["python"], param_types=texts["PARAM_TYPE_MAPPING"]["python"]
        )
        before = texts["_PLAINTEXT_SYSTEM_PROMPT_TEMPLATE"].format(
            **{name: style[name] for name in ("persona", "task", "multiturn_behavior")},
            tool_call_format=form,
            available_tools="",
        )
        return SystemPrompt(before=before, available=style["available_tools"])
    except (OSError, SyntaxError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{path} does not hold BFCL's system prompt ({error!r:.200}). It is part of the whole package: {INSTALL}"
        ) from None


def _constants(tree: ast.Module) -> dict[str, Any]:
    """The values of the names we need, literals all of them."""
    found: dict[str, Any] = {}
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id in _NAMES:
            found[node.targets[0].id] = ast.literal_eval(node.value)
    return found

# /// script
# requires-python = ">=3.10"
# dependencies = ["bfcl-eval==2026.3.23", "soundfile"]
#
# [tool.uv]
# override-dependencies = [
#     "sentence-transformers; python_version < '3'",
#     "faiss-cpu; python_version < '3'",
#     "google-search-results; python_version < '3'",
# ]
# ///
"""Runs the real bfcl-eval. A process and an environment of its own: it asks for another NumPy than JAX does.

    uv run --script official_process.py score FC simple_python multiple    # result files are scored
    uv run --script official_process.py check CASES VERDICTS               # its ast_checker, for the comparison
    uv run --script official_process.py read CASES VALUES                  # its readers of Java and JavaScript

The variable BFCL_PROJECT_ROOT names the folder of `result` and `score`; bfcl-eval reads it while it is imported.
Nothing of this project is imported, and nothing that a model wrote is run: bfcl-eval's own decoder for prompted models
evaluates parts of an answer as Python, so calls are handed over as JSON and read by the handler below. The overrides
leave out three packages that only memory and web search need; soundfile is needed and not declared.
"""

import json
import sys
from pathlib import Path
from typing import Any

MODELS = {"FC": "gemma-tool-use-FC", "Prompt": "gemma-tool-use-Prompt"}
"""Registered in bfcl-eval; no underscore, which it would take for a slash. FC names have underscores for dots."""
_LONGEST_INTEGER = 300


def register() -> None:
    """Makes the two models known to bfcl-eval."""
    from bfcl_eval.constants.model_config import (  # pyright: ignore[reportMissingImports]
        MODEL_CONFIG_MAPPING,
        ModelConfig,
    )
    from bfcl_eval.model_handler.base_handler import BaseHandler  # pyright: ignore[reportMissingImports]

    class JsonHandler(BaseHandler):
        """Reads `[{"f": "{\\"a\\": 1}"}]`, the form of models with tools; a text is no call."""

        def decode_ast(self, result: Any, language: Any, has_tool_call_tag: bool) -> list[dict[str, Any]]:
            if not isinstance(result, list):
                raise ValueError("a text, no calls")
            return [
                {name: json.loads(arguments, parse_int=_integer) for name, arguments in call.items()} for call in result
            ]

    for kind, name in MODELS.items():
        MODEL_CONFIG_MAPPING[name] = ModelConfig(
            model_name=name,
            display_name=name,
            url="",
            org="",
            license="",
            model_handler=JsonHandler,
            is_fc_model=kind == "FC",
            underscore_to_dot=kind == "FC",
        )


def _integer(text: str) -> int | str:
    """One that no float can hold would end the scoring; as a text it is as wrong."""
    return int(text) if len(text) < _LONGEST_INTEGER else text


def score(kind: str, *categories: str) -> None:
    """Scores the result files below `result` into `score`; they may hold a part of the questions.

    `questions.json` tells how many questions each category has.
    """
    from bfcl_eval.constants.eval_config import PROJECT_ROOT  # pyright: ignore[reportMissingImports]
    from bfcl_eval.eval_checker import eval_runner  # pyright: ignore[reportMissingImports]
    from bfcl_eval.utils import load_dataset_entry  # pyright: ignore[reportMissingImports]

    register()
    eval_runner.main([MODELS[kind]], list(categories), None, None, partial_eval=True)
    counts = {category: len(load_dataset_entry(category)) for category in categories}
    (PROJECT_ROOT / "questions.json").write_text(json.dumps(counts), encoding="ascii")


def check(cases: str, verdicts: str) -> None:
    """Judges `{"functions", "calls", "answers", "language", "category", "kind"}`, one a line.

    A verdict is `null` for a right answer, else the error type; `raises ...` where the checker does not survive.
    """
    from bfcl_eval.constants.enums import Language  # pyright: ignore[reportMissingImports]
    from bfcl_eval.eval_checker.ast_eval.ast_checker import ast_checker  # pyright: ignore[reportMissingImports]

    register()
    with Path(cases).open(encoding="ascii") as lines, Path(verdicts).open("w", encoding="ascii") as out:
        for line in lines:
            case = json.loads(line)
            calls = [{name: arguments} for name, arguments in case["calls"]]
            language = Language(case["language"])
            try:
                result = ast_checker(
                    case["functions"], calls, case["answers"], language, case["category"], MODELS[case["kind"]]
                )
                verdict = None if result["valid"] else result["error_type"]
            except Exception as error:  # whatever it is, the comparison has to know of it
                verdict = f"raises {type(error).__name__}"
            out.write(json.dumps(verdict) + "\n")


def read(cases: str, values: str) -> None:
    """Reads `{"language", "text", "type", "items"}`, one a line; a value is its `repr`, or `raises ...`."""
    from bfcl_eval.eval_checker.ast_eval.type_convertor import (  # pyright: ignore[reportMissingImports]
        java_type_converter,
        js_type_converter,
    )

    readers = {"java": java_type_converter.java_type_converter, "javascript": js_type_converter.js_type_converter}
    with Path(cases).open(encoding="ascii") as lines, Path(values).open("w", encoding="ascii") as out:
        for line in lines:
            case = json.loads(line)
            try:
                value = repr(readers[case["language"]](case["text"], case["type"], case["items"]))
            except Exception as error:  # as above
                value = f"raises {type(error).__name__}"
            out.write(json.dumps(value) + "\n")


if __name__ == "__main__":
    command, *words = sys.argv[1:]
    {"score": score, "check": check, "read": read}[command](*words)

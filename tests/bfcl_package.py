"""A made-up bfcl-eval package for tests: a few questions of each kind, in the files and forms of the real one."""

import json
from pathlib import Path
from typing import Any

PROMPTS = """
DEFAULT_SYSTEM_PROMPT_FORMAT = "ret_fmt=python&tool_call_tag=False&func_doc_fmt=json&prompt_fmt=plaintext&style=plain"
OUTPUT_FORMAT_MAPPING = {"python": "[f(a=b)]", "json": "..."}
PARAM_TYPE_MAPPING = {"python": ""}
PROMPT_STYLE_TEMPLATES = {
    "plain": {
        "persona": "You call functions.",
        "task": "Call them.",
        "tool_call_no_tag": "Write {output_format}. {param_types} Nothing else.",
        "multiturn_behavior": "Go on.",
        "available_tools": "Functions in {format}:\\n{functions}\\n",
    }
}
_PLAINTEXT_SYSTEM_PROMPT_TEMPLATE = (
    "{persona}{task}\\n\\n{tool_call_format}\\n\\n{multiturn_behavior}\\n\\n{available_tools}"
)
raise SystemExit("read, never run")
"""


def function(name: str, required: tuple[str, ...] = (), **types: str) -> dict[str, Any]:
    """`function("area", x="array of float")`, as BFCL writes functions."""
    properties = {}
    for key, kind in types.items():
        outer, _, inner = kind.partition(" of ")
        properties[key] = {"type": outer, "description": f"The {key}."}
        if inner:
            properties[key]["items"] = {"type": inner}
    return {
        "name": name,
        "description": f"Does {name}.",
        "parameters": {"type": "dict", "properties": properties, "required": list(required)},
    }


def question(text: str, *functions: dict[str, Any], system: str = "") -> dict[str, Any]:
    head = [{"role": "system", "content": system}] if system else []
    return {"question": [[*head, {"role": "user", "content": text}]], "function": list(functions)}


AREA = function("geometry.area", ("x",), x="float", unit="string")
WEATHER = function("get_weather", ("city",), city="string", days="integer")
JAVA = function("Geo.show", ("ids",), ids="ArrayList of long", parent="any")
SCRIPT = function("validate", ("opts",), opts="dict", done="Boolean")

QUESTIONS: dict[str, list[tuple[dict[str, Any], list[Any] | None]]] = {
    "simple_python": [
        (question(f"Area of {n}?", AREA), [{"geometry.area": {"x": [float(n)], "unit": ["m", ""]}}]) for n in range(5)
    ],
    "simple_java": [
        (question("Show 1 and 2 in box.", JAVA), [{"Geo.show": {"ids": [[1, 2]], "parent": ["box"]}}]),
    ],
    "simple_javascript": [
        (question("Validate.", SCRIPT), [{"validate": {"opts": [{"a": [1]}], "done": [True]}}]),
    ],
    "parallel_multiple": [
        (
            question("Weather in Oslo, area of 3?", AREA, WEATHER, system="Be brief."),
            [{"get_weather": {"city": ["Oslo"], "days": ["", 1]}}, {"geometry.area": {"x": [3.0]}}],
        )
    ],
    "irrelevance": [(question("Tell me a joke.", WEATHER), None)],
    "live_irrelevance": [(question("Hello there."), None), (question("Sing.", AREA), None)],
    "live_relevance": [(question("Weather?", WEATHER), None)],
}


def write_package(folder: Path) -> Path:
    """Writes the files below `folder/bfcl_eval`, which is returned."""
    package = folder / "bfcl_eval"
    (package / "data" / "possible_answer").mkdir(parents=True)
    (package / "constants").mkdir()
    (package / "constants" / "default_prompts.py").write_text(PROMPTS, encoding="utf-8")
    for category, pairs in QUESTIONS.items():
        ids = [f"{category}_{number}" for number in range(len(pairs))]
        rows = [{"id": id, **row} for id, (row, _) in zip(ids, pairs, strict=True)]
        rights = [
            {"id": id, "ground_truth": right} for id, (_, right) in zip(ids, pairs, strict=True) if right is not None
        ]
        name = f"BFCL_v4_{category}.json"
        (package / "data" / name).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        if rights:
            lines = "".join(json.dumps(row) + "\n" for row in rights)
            (package / "data" / "possible_answer" / name).write_text(lines, encoding="utf-8")
    return package

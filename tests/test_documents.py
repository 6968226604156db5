"""What the documents show is what the code does."""

import ast
import importlib
import textwrap
from pathlib import Path

from gemma_tool_use import cli
from gemma_tool_use.conversation import Conversation, Message, Segment, ToolCall, ToolSpec
from gemma_tool_use.formats.dialects import get_dialect

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PLAN = (ROOT / "gemma_tool_use" / "PLAN.md").read_text(encoding="utf-8")

SHOWN_IN_THE_PLAN = Conversation(
    tools=(
        ToolSpec(
            name="get_weather",
            description="Weather in a city",
            parameters={"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
        ),
    ),
    messages=(
        Message(role="user", content="Weather in Oslo and Rome?"),
        Message(
            role="assistant",
            reasoning="Two cities, two calls.",
            content="Let me look.",
            calls=tuple(ToolCall(name="get_weather", arguments={"city": city}) for city in ("Oslo", "Rome")),
        ),
        Message(role="tool", name="get_weather", content='{"celsius": 3}'),
        Message(role="tool", name="get_weather", content="sunny"),
        Message(role="assistant", content="3 degrees in Oslo, sunny in Rome."),
    ),
)


def bracketed(segments: list[Segment]) -> str:
    text = "".join(f"⟦{s.text}⟧" if s.trained else s.text for s in segments)
    return text.replace("⟧⟦", "")


def test_the_plan_shows_the_format_literally():
    shown = bracketed(get_dialect("gemma_json").segments(SHOWN_IN_THE_PLAN))
    assert textwrap.indent(shown.strip(), "    ") in PLAN


def test_the_readme_opens_with_the_two_commands():
    commands = [line.strip() for line in README.splitlines() if line.startswith("    ")][:2]
    assert commands == [
        "pip install uv && uv run python gemma_tool_use/training/train_gemma3_270m_tool_calling.py --preset quickstart",
        "uv run pytest",
    ]


def test_the_readme_names_every_command():
    rows = [line.split("`")[1] for line in README.splitlines() if line.startswith("| `gemma-tool-use ")]
    assert rows == [f"gemma-tool-use {name}" for name in cli.COMMANDS]


def test_the_python_of_the_readme_imports_what_exists():
    code = README.split("```python\n")[1].split("```")[0]
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("gemma_tool_use"):
            module = importlib.import_module(node.module)
            assert all(hasattr(module, alias.name) for alias in node.names), node.module

"""The registry of dialects.

get_dialect("gemma_json").name  ->  "gemma_json"
get_dialect("hermez")           ->  ConfigError: there is no dialect 'hermez'. Did you mean 'hermes'? Known: ...
"""

from collections.abc import Mapping
from types import MappingProxyType

from gemma_tool_use.errors import ConfigError, suggest
from gemma_tool_use.formats.dialect import Dialect
from gemma_tool_use.formats.functiongemma import FunctionGemma
from gemma_tool_use.formats.gemma_json import GemmaJson, GemmaJsonCompact
from gemma_tool_use.formats.hermes import Hermes
from gemma_tool_use.formats.inline_call import InlineCall
from gemma_tool_use.formats.python_calls import PythonCalls
from gemma_tool_use.formats.qwen3 import Qwen3
from gemma_tool_use.formats.thought_act_observe import ThoughtActObserve
from gemma_tool_use.formats.tool_code import ToolCode
from gemma_tool_use.formats.yaml_call import YamlCall

DEFAULT_DIALECT = "gemma_json"

DIALECTS: Mapping[str, Dialect] = MappingProxyType(
    {
        "gemma_json": GemmaJson(),
        "gemma_json_compact": GemmaJsonCompact(),
        "functiongemma": FunctionGemma(),
        "hermes": Hermes(),
        "qwen3": Qwen3(),
        "python_calls": PythonCalls(),
        "tool_code": ToolCode(),
        "inline_call": InlineCall(),
        "yaml_call": YamlCall(),
        "thought_act_observe": ThoughtActObserve(),
    }
)


def get_dialect(name: str) -> Dialect:
    """The dialect of this name.

    Raises:
      ConfigError: there is none; names the nearest.
    """
    if name not in DIALECTS:
        raise ConfigError(f"there is no dialect {name!r}. {suggest(name, DIALECTS)}")
    return DIALECTS[name]

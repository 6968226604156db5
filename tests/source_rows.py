"""Rows of the true shape of every source, made up here: what the tests of the readers and the fuzzing begin with.

ROWS["xlam"]     # a list of rows, each a mapping of columns as a file of that data set gives it
"""

import json
from typing import Any

WEATHER = {
    "name": "get_weather",
    "description": "Weather in a city",
    "parameters": {
        "type": "object",
        "properties": {
            "city": {"type": "string", "description": "Name of the city"},
            "days": {"type": "integer"},
            "units": {"type": "array", "items": {"type": "string", "enum": ["C", "F"]}},
        },
        "required": ["city"],
    },
}
CLOCK = {"name": "now", "description": "", "parameters": {"type": "object", "properties": {}}}
OPENAI_TOOLS = [{"type": "function", "function": WEATHER}, {"type": "function", "function": CLOCK}]


def _call(name: str, **arguments: Any) -> dict[str, Any]:
    return {"name": name, "arguments": arguments}


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


GLAIVE_SYSTEM = "SYSTEM: You are a helpful assistant with access to the following functions. Use them if required -\n"
GLAIVE = [
    {
        "system": GLAIVE_SYSTEM + json.dumps(WEATHER, indent=4) + "\n\n" + json.dumps(CLOCK, indent=4) + "\n",
        "chat": "USER: Weather in Oslo, please\n\n\nASSISTANT: Which days? <|endoftext|>\n\n\nUSER: Two, it's urgent"
        '\n\n\nASSISTANT: <functioncall> {"name": "get_weather", "arguments": \'{"city": "Oslo", "days": 2}\'}'
        ' <|endoftext|>\n\n\nFUNCTION RESPONSE: {"temp": 21}\n\n\nASSISTANT: 21 degrees. <|endoftext|>\n\n\n',
    },
    {
        "system": "SYSTEM: You are a helpful assistant, with no access to external functions.\n\n",
        "chat": "USER: Write a haiku\nabout tea\n\n\nASSISTANT: Steam rises slowly <|endoftext|>\n\n\n",
    },
    {
        "system": GLAIVE_SYSTEM + json.dumps(CLOCK),
        "chat": 'USER: Time?\n\n\nASSISTANT: Let me look. <functioncall> {"name": "now", "arguments": \'{}\'}'
        " <|endoftext|>\n\n\nFUNCTION RESPONSE: 12:00\n\n\nASSISTANT: Noon. <|endoftext|>",
    },
]

TOOLACE_HEAD = (
    "You are an expert in composing functions. You are given a question and a set of possible functions. \n"
    "Based on the question, you will need to make one or more function/tool calls to achieve the purpose. \n"
    "If none of the function can be used, point it out. If the given question lacks the parameters required by the "
    "function,\nalso point it out. You should only return the function call in tools call sections.\n"
    "Here is a list of functions in JSON format that you can invoke:\n"
)
TOOLACE_TAIL = (
    ". \nShould you decide to return the function call(s). \nPut it in the format of "
    "[func1(params_name=params_value, params_name2=params_value2...), func2(params)]\n\n"
    "NO other text MUST be included. \n"
)
TOOLACE_TOOLS = [
    {
        "name": "Get Weather/Today",
        "description": "Weather in a city",
        "parameters": {
            "type": "dict",
            "properties": {"city": {"type": "string"}, "days": {"type": "int"}, "flags": {"type": "dict"}},
            "required": ["city"],
        },
        "required": None,
    },
    {"name": "Other", "description": "Another", "parameters": {"type": "dict", "properties": {}, "required": None}},
]
TOOLACE = [
    {
        "system": TOOLACE_HEAD + _text(TOOLACE_TOOLS) + TOOLACE_TAIL,
        "conversations": [
            {"from": "user", "value": "Weather in Oslo for 3 days, and the other"},
            {
                "from": "assistant",
                "value": '[Get Weather/Today(city="Oslo", days=3, flags={"wind": true, "note": "it\'s"}), Other()]',
            },
            {
                "from": "tool",
                "value": '[{"name": "Get Weather/Today", "results": {"temp": 21}}, {"name": "Other", "results": [1]}]',
            },
            {"from": "assistant", "value": "21 degrees."},
            {"from": "user", "value": "And in 北京?"},
            {"from": "assistant", "value": "[Get Weather/Today(city='北京', flags={'a': None})]"},
        ],
    },
    {
        "system": TOOLACE_HEAD + _text(TOOLACE_TOOLS) + TOOLACE_TAIL + "Today is 2024-08-02, Friday.",
        "conversations": [
            {"from": "user", "value": "Sing"},
            {"from": "assistant", "value": "None of the functions can be used."},
        ],
    },
]

MOBILE_TOOLS = [
    {
        "function": {
            "name": "show_map",
            "description": "Shows a location on the map.",
            "parameters": {
                "type": "OBJECT",
                "properties": {"query": {"type": "STRING", "description": "Place"}},
                "required": ["query"],
            },
        }
    },
    {"function": {"name": "turn_on_flashlight", "parameters": {"type": "OBJECT", "properties": {}}}},
]
MOBILE_DEVELOPER = (
    "Current date and time given in YYYY-MM-DDTHH:MM:SS format: 2026-01-02T03:04:05\nDay of week is Friday\n"
    "You are a model that can do function calling with the following functions\n"
)
MOBILE = [
    {
        "metadata": "train",
        "tools": MOBILE_TOOLS,
        "messages": [
            {"role": "developer", "content": MOBILE_DEVELOPER},
            {"role": "user", "content": "Map of Lyon, and light"},
            {
                "role": "assistant",
                "tool_calls": [
                    {"function": {"name": "show_map", "arguments": {"query": "Lyon"}}},
                    {"id": "2", "type": "function", "function": {"name": "turn_on_flashlight", "arguments": "{}"}},
                ],
            },
        ],
    }
]

WHEN2CALL_TOOL = {
    "name": "stock",
    "description": "Quote",
    "parameters": {
        "type": "dict",
        "properties": {"t": {"type": "str", "description": "Ticker"}, "n": {"type": "List[int]", "default": ""}},
    },
    "required": ["t"],
}
WHEN2CALL = [
    {
        "tools": [_text(WHEN2CALL_TOOL)],
        "messages": [
            {"role": "user", "content": "Price?"},
            {"role": "assistant", "content": "Which ticker do you mean?"},
        ],
    },
    {
        "tools": [WHEN2CALL_TOOL],
        "messages": [{"role": "user", "content": "Price of NVDA?"}],
        "chosen_response": {
            "role": "assistant",
            "content": '<TOOLCALL>[{"name": "stock", "arguments": {"t": "NVDA", "n": [1, 2]}}]</TOOLCALL>',
        },
        "rejected_response": {"role": "assistant", "content": "It is at 120 dollars."},
    },
    {
        "tools": [],
        "messages": [{"role": "user", "content": "Trends today?"}, {"role": "assistant", "content": "I cannot look."}],
    },
]

APIGEN_TOOLS = [
    {
        "name": "find_user",
        "description": "Finds a user",
        "parameters": {"type": "object", "properties": {"id": {"type": "string"}}, "required": ["id"]},
    },
    {
        "name": "think",
        "description": "Notes a thought",
        "parameters": {"type": "object", "properties": {"thought": {"type": "string"}}, "required": ["thought"]},
    },
]
APIGEN = [
    {
        "system": "# Retail agent policy\n\nAs a retail agent, you can help users.",
        "tools": _text(APIGEN_TOOLS),
        "conversations": [
            {"from": "human", "value": "Hi, I'm u1."},
            {"from": "function_call", "value": _text(_call("think", thought="Who is it?"))},
            {"from": "observation", "value": ""},
            {"from": "function_call", "value": _text(_call("find_user", id="u1"))},
            {"from": "observation", "value": '{"name": "Ann"}'},
            {"from": "gpt", "value": "Hello Ann."},
        ],
    }
]
SHAREGPT = [
    {
        "system": "Be brief.",
        "tools": _text([WEATHER, CLOCK]),
        "conversations": [
            {"from": "human", "value": "Weather in Oslo?"},
            {"from": "gpt", "value": "Let me look."},
            {"from": "function_call", "value": _text(_call("get_weather", city="Oslo", units=["C"]))},
            {"from": "observation", "value": '{"temp": 21}'},
            {"from": "gpt", "value": "21 degrees."},
        ],
    },
    {
        "tools": "[]",
        "conversations": [{"from": "human", "value": "Hello"}, {"from": "gpt", "value": "Hello yourself"}],
    },
]
MS_SWIFT = [
    {
        "tools": _text(OPENAI_TOOLS),
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Weather in Oslo, and the time?"},
            {"role": "tool_call", "content": _text(_call("get_weather", city="Oslo"))},
            {"role": "tool_call", "content": _text({"name": "now", "arguments": "{}"})},
            {"role": "tool_response", "content": '{"temp": 21}'},
            {"role": "tool_response", "content": "12:00"},
            {"role": "assistant", "content": "21 degrees at noon."},
        ],
    }
]

SEAL_APIS = [
    {
        "api_name": "ping",
        "api_description": "Checks whether a host can be reached",
        "field": "Computer Science/Networks",
        "parameters": {"host": {"type": "str", "description": "The host's name"}, "n": {"type": "int"}},
        "required": ["host"],
        "responses": {"ms": {"type": "float", "description": "Time"}},
    },
    {
        "api_name": "rest",
        "api_description": "Rests",
        "field": "Life",
        "parameters": {},
        "required": [],
        "responses": {},
    },
]
SEAL_CALLS = [
    {"api": "ping", "parameters": {"host": "it's.example", "n": 3}, "responses": ["API_call_0"]},
    {"api": "rest", "parameters": {}, "responses": ["API_call_1"]},
]
SEAL_PROMPT = (
    "Please chooose the needed apis and return api_calling list according to the task_instruction.\n"
    'Output format: [{"api": "", "parameters": {"": ""}, "responses": ["API_call_0"]}]\n\nInput:\n'
    f"api_list = {SEAL_APIS}\n"
    'task_instruction = "Ping the host "it\'s.example" three times, then rest."\nOutput:\n'
)
SEAL_TEXT = {
    "id": "dev-hard-0",
    "conversations": [{"from": "human", "value": SEAL_PROMPT}, {"from": "gpt", "value": str(SEAL_CALLS)}],
}
SEAL_PARTS = {"id": "dev-easy-1", "query": "Ping and rest", "calling": SEAL_CALLS, "api_list": SEAL_APIS}

OPENAI = [
    {
        "id": "demo:1",
        "source": "demo",
        "tools": OPENAI_TOOLS,
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": [{"type": "text", "text": "Weather in Oslo?"}]},
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [{"id": "1", "type": "function", "function": _call("get_weather", city="Oslo")}],
            },
            {"role": "tool", "tool_call_id": "1", "name": "get_weather", "content": '{"temp": 21}'},
            {"role": "assistant", "content": "21 degrees.", "reasoning_content": "It is warm."},
        ],
        "meta": {"names": {}},
    },
    {
        "tools": _text(OPENAI_TOOLS),
        "messages": _text(
            [
                {"role": "user", "content": "Time?"},
                {"role": "assistant", "tool_calls": [{"function": {"name": "now", "arguments": "{}"}}]},
            ]
        ),
    },
]
TOUCAN = [
    {
        "uuid": "11111111-2222-5333-8444-555555555555",
        "subset_name": "single-turn-original",
        "question": "Weather in Oslo?",
        "target_tools": "get_weather",
        "tools": _text(OPENAI_TOOLS),
        "messages": _text(
            [
                {"role": "user", "content": "Weather in Oslo?"},
                {"role": "assistant", "content": "Let me look."},
                {"role": "tool_call", "content": str({"name": "get_weather", "arguments": '{"city": "it\'s Oslo"}'})},
                {"role": "tool_call", "content": str({"name": "now", "arguments": "{}"})},
                {"role": "tool_response", "content": "21"},
                {"role": "tool_response", "content": "12:00"},
                {"role": "assistant", "content": "21 degrees."},
            ]
        ),
    }
]

_QWEN_SYSTEM = (
    "# Tools\n\nYou may call one or more functions.\n\n<tools>\n{}\n</tools>\n\nFor each function call, return JSON "
    "within <tool_call></tool_call> XML tags:\n<tool_call>\n{}\n</tool_call>"
)
_KIMI_SYSTEM = "<|im_system|>tool_declare<|im_middle|>[]<|im_end|>"
_ASSESSMENTS = {
    "question_quality_assessment": _text({"question_quality": {"score": 5}, "scenario_realism": {"score": 4}}),
    "response_quality_assessment": _text({"completeness": {"score": 5}, "conciseness": {"score": 4}}),
}


def _teacher(system: str, **extra: str) -> list[dict[str, Any]]:
    """Rows of one of Toucan's teachers."""
    call = {"name": "get_weather", "arguments": '{"city": "Oslo"}'}
    messages = [
        {"role": "system", "content": system},
        {"role": "user", "content": "Weather in Oslo?"},
        {"role": "assistant", "content": "Let me look."},
        {"role": "assistant", "content": "", "function_call": call, **extra},
        {"role": "function", "name": "get_weather", "content": "21"},
        {"role": "assistant", "content": "21 degrees."},
    ]
    row = {
        "uuid": "u1",
        "subset_name": "single-turn-original",
        "question": "Weather in Oslo?",
        "target_tools": "get_weather",
        "available_tools": _text(OPENAI_TOOLS),
        "messages": _text(messages),
        "metadata": "{}",
    }
    return [{**row, **_ASSESSMENTS}, {**row, "question_quality_assessment": "", "response_quality_assessment": ""}]


_HERMES_CALL = '<tool_call>\n{"arguments": {"city": "Oslo", "units": ["C"]}, "name": "get_weather"}\n</tool_call>'
HERMES = [
    {
        "id": "h1",
        "conversations": [
            {"from": "system", "value": "You are a function calling AI model. <tools>\n[]\n</tools> For each call"},
            {"from": "human", "value": "Weather in Oslo, and the time?"},
            {
                "from": "gpt",
                "value": f"Sure.\n{_HERMES_CALL}\n<tool_call>\n{{'name': 'now', 'arguments': {{}}}}\n</tool_call>",
            },
            {
                "from": "tool",
                "value": '<tool_response>\n{"name": "get_weather", "content": {"temp": 21}}\n</tool_response>\n'
                '<tool_response>\n{"name": "now", "content": "12:00"}\n</tool_response>',
            },
            {"from": "gpt", "value": "21 degrees at noon."},
        ],
        "tools": _text(OPENAI_TOOLS),
        "category": "Weather",
        "subcategory": "Cities",
        "task": "Ask for the weather",
    },
    {
        "id": "h2",
        "conversations": [
            {
                "from": "system",
                "value": f"You are a function calling AI model. <tools>\n{_text(OPENAI_TOOLS)}\n</tools>",
            },
            {"from": "human", "value": "Sing"},
            {"from": "gpt", "value": "I cannot."},
        ],
        "tools": None,
        "category": "Other",
        "subcategory": "Other",
        "task": "None",
    },
]
XLAM = [
    {
        "id": 1,
        "query": "Weather in Oslo, and what time is it?",
        "tools": _text(
            [
                {
                    "name": "get.weather",
                    "description": "Weather in a city",
                    "parameters": {
                        "city": {"description": "City", "type": "str", "default": ""},
                        "days": {"description": "Days", "type": "int, optional"},
                        "units": {"description": "Units", "type": "List[str]"},
                    },
                },
                {"name": "now", "description": "", "parameters": {}},
            ]
        ),
        "answers": _text([_call("get.weather", city="Oslo", units=["C"]), _call("now")]),
    }
]

_MCP_WEATHER = {"name": "get_weather", "description": "Weather", "inputSchema": WEATHER["parameters"]}
MCP = [
    {
        "jsonrpc": "2.0",
        "id": 1,
        "result": {"tools": [_MCP_WEATHER, {"name": "now", "inputSchema": {"type": "object"}}], "nextCursor": "x"},
    },
    {"tools": _text([_MCP_WEATHER, *OPENAI_TOOLS[1:]])},
    {"name": "f", "input_schema": {"$schema": "http://json-schema.org/draft-07/schema#", "type": "object"}},
]
"""Answers of MCP servers: tools without conversations, so no source."""

ROWS: dict[str, list[dict[str, Any]]] = {
    "toucan-sft": TOUCAN,
    "toucan-kimi-k2": _teacher(_KIMI_SYSTEM),
    "toucan-oss": _teacher("Be brief.\n\n" + _QWEN_SYSTEM, reasoning_content="They want the weather."),
    "toucan-qwen3": _teacher(_QWEN_SYSTEM),
    "hermes": HERMES,
    "xlam": XLAM,
    "glaive": GLAIVE,
    "toolace": TOOLACE,
    "mobile-actions": MOBILE,
    "mobile-actions-eval": [{**MOBILE[0], "metadata": "eval"}],
    "when2call": WHEN2CALL,
    "apigen-mt": APIGEN,
    "seal-tools": [SEAL_TEXT, SEAL_PARTS],
    "seal-tools-test": [{**SEAL_TEXT, "id": "test_in_domain-hard-0"}],
    "sharegpt": SHAREGPT,
    "ms-swift": MS_SWIFT,
    "openai-jsonl": OPENAI,
}

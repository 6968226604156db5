"""Flags from a frozen dataclass: `parse(TrainConfig, argv, prog="gemma-tool-use train")` gives a `TrainConfig`.

Every field is a flag, nested dataclasses are dotted, and the docstring below a field is its help. All of these say the
same, and a value on the command line wins over the YAML file, which wins over the preset:

    --lora.rank 8        --lora.rank=8        lora.rank=8        --config run.yaml   (lora: {rank: 8})

tyro writes `--help` and reads single values; this file adds presets, the YAML file, `key=value` tokens, and one error
that lists every problem instead of the first.
"""

import dataclasses
import difflib
import itertools
import sys
import typing
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import tyro
import yaml

from gemma_tool_use.errors import ConfigError, suggest
from gemma_tool_use.flag_values import BOOL_WORDS, plain_type, read_value, takes_many

T = TypeVar("T")

_PRESET, _CONFIG = "preset", "config"


def parse(
    config_type: type[T],
    argv: Sequence[str] | None = None,
    *,
    prog: str,
    description: str = "",
    default: T | None = None,
    presets: Mapping[str, T] | None = None,
    default_preset: str | None = None,
) -> T:
    """Reads flags into a config.

    Args:
      config_type: a dataclass; its fields are values or further dataclasses. A `ConfigError` from its `__post_init__`
        is reported like the rest.
      argv: the words after the command; None means those of the process.
      prog: the command as the user types it, shown in `--help`.
      description: one or two sentences for `--help`.
      default: the values of the flags that are not given; None means the dataclass's own.
      presets: named configs; `--preset NAME` takes one of them as the default. If `config_type` has a field `preset`,
        it keeps the value it has in the chosen instance.
      default_preset: the one taken without `--preset`.

    Raises:
      ConfigError: lists every unknown flag (with the nearest one), bad value and missing value.
      SystemExit: after `--help`.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    types_ = {name: hint for name, hint in _fields(config_type) if not (presets and name == _PRESET)}
    flags = {**types_, _CONFIG: str, **({_PRESET: str} if presets else {})}
    problems: list[str] = []
    given, wants_help = _scan(words, flags, problems)
    if presets:
        default = _preset(given.pop(_PRESET, None), presets, default_preset, problems)
    if wants_help:
        _print_help(config_type, prog, description, default, presets)
    path = given.pop(_CONFIG, None)
    filed = _read_yaml(Path(path[0]), types_, problems) if path else {}
    values: dict[str, Any] = {}
    for name, tokens in {**filed, **given}.items():
        where = f"--{name}" if name in given else f"{path[0] if path else ''}: {name}"
        try:
            values[name] = read_value(types_[name], tokens)
        except ConfigError as error:
            problems.append(f"{where}: {error}")
    if problems:
        raise _error(problems, prog)
    config, refused = _build(config_type, default, values, "")
    if refused or config is None:
        raise _error(refused, prog)
    return config


def name_first_words(words: Sequence[str], names: Sequence[str]) -> list[str]:
    """Gives the words before the first flag the names of flags, in their order.

    `name_first_words(["x", "y", "--json"], ("a", "b"))` gives `["--a", "x", "--b", "y", "--json"]`.
    """
    plain = list(itertools.takewhile(lambda word: not word.startswith("-") and "=" not in word, words))[: len(names)]
    named = [part for name, word in zip(names, plain, strict=False) for part in (f"--{name}", word)]
    return [*named, *words[len(plain) :]]


def _error(problems: Sequence[str], prog: str) -> ConfigError:
    text = (
        problems[0]
        if len(problems) == 1
        else "\n".join([f"{len(problems)} problems:", *(f"  - {problem}" for problem in problems)])
    )
    return ConfigError(f"{text}\nAll flags: {prog} --help")


def _fields(config_type: Any, prefix: str = "") -> list[tuple[str, Any]]:
    """`[("learning-rate", float), ("lora.rank", int)]`: every leaf with its dotted kebab-case name."""
    hints = typing.get_type_hints(config_type, include_extras=True)
    result = []
    for field in dataclasses.fields(config_type):
        if not field.init:
            continue
        name, hint = prefix + field.name.replace("_", "-"), hints[field.name]
        result.extend(_fields(hint, f"{name}.") if dataclasses.is_dataclass(hint) else [(name, hint)])
    return result


def _scan(words: Sequence[str], flags: Mapping[str, Any], problems: list[str]) -> tuple[dict[str, list[str]], bool]:
    """Splits the command line into `{"lora.rank": ["8"]}` and whether help was asked for.

    The last of equals wins; of a flag that takes several values, `--input a --input b` is `--input a b`.
    """
    given: dict[str, list[str]] = {}
    wants_help, i = False, 0

    def starts_option(word: str) -> bool:
        return word.startswith("--") or word == "-h" or ("=" in word and _kebab(word.split("=", 1)[0]) in flags)

    while i < len(words):
        word, i = words[i], i + 1
        name, equals, value = word.removeprefix("--").partition("=")
        name = _kebab(name)
        if word in ("-h", "--help"):
            wants_help = True
        elif not word.startswith("-") and not equals:
            problems.append(f"{word!r} stands alone; a value follows its flag, as in --flag {word}")
        elif not word.startswith("--") and not equals:
            problems.append(_unknown(word, flags))
        elif word.startswith("--") and not equals:
            name, negated = _negated(name, flags)
            end = i + _value_count(words[i:], flags.get(name), starts_option)
            tokens, i = list(words[i:end]), end
            if name not in flags:
                problems.append(_unknown(f"--{name}", flags))
            else:
                before = given.get(name, []) if takes_many(flags[name]) else []
                given[name] = ["false"] if negated else [*before, *tokens]
        elif name not in flags:
            problems.append(_unknown(f"--{name}" if word.startswith("--") else f"{name}=", flags))
        else:
            given[name] = [value] if word.startswith("--") or not takes_many(flags[name]) else _split(value)
    return given, wants_help


def _kebab(name: str) -> str:
    return name.replace("_", "-")


def _negated(name: str, flags: Mapping[str, Any]) -> tuple[str, bool]:
    """`no-wandb` is `wandb` switched off; `logging.no-wandb` likewise, as tyro spells it."""
    head, dot, leaf = name.rpartition(".")
    positive = head + dot + leaf.removeprefix("no-")
    is_negation = name not in flags and leaf.startswith("no-") and plain_type(flags.get(positive)) is bool
    return (positive, True) if is_negation else (name, False)


def _value_count(rest: Sequence[str], hint: Any, starts_option: Callable[[str], bool]) -> int:
    """How many of the following words belong to a flag of this type."""
    if plain_type(hint) is bool:
        return int(bool(rest) and rest[0].lower() in BOOL_WORDS)
    if hint is not None and not takes_many(hint):
        return int(bool(rest) and not rest[0].startswith("--"))
    return next((n for n, word in enumerate(rest) if starts_option(word)), len(rest))


def _split(text: str) -> list[str]:
    """The list forms of `key=value`: `q,kv` and `[q, kv]` are `["q", "kv"]`."""
    inner = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    return [part.strip() for part in inner.split(",")] if inner.strip() else []


def _unknown(name: str, flags: Mapping[str, Any]) -> str:
    asked = name.strip("-=")
    same_leaf = [flag for flag in flags if flag.rpartition(".")[2] == asked]
    near = same_leaf or difflib.get_close_matches(asked, flags, n=2, cutoff=0.6)
    return f"unknown flag {name}" + (f", did you mean {' or '.join(f'--{flag}' for flag in near)}?" if near else "")


def _preset(
    asked: Sequence[str] | None, presets: Mapping[str, T], default_preset: str | None, problems: list[str]
) -> T | None:
    name = (asked or [""])[0] if asked is not None else default_preset
    if name is None or name in presets:
        return None if name is None else presets[name]
    problems.append(f"--{_PRESET}: {name!r} is not a preset. {suggest(name, presets)}")
    return next(iter(presets.values()))


def _print_help(
    config_type: type[T], prog: str, description: str, default: T | None, presets: Mapping[str, T] | None
) -> typing.NoReturn:
    lines = [description, f"--{_CONFIG} FILE.yaml sets any of these flags; the command line wins over it."]
    if presets:
        lines.append(f"--{_PRESET} NAME chooses the defaults shown here: {', '.join(presets)}.")
    text = "\n".join(filter(None, lines))
    if default is None:
        tyro.cli(config_type, prog=prog, description=text, args=["--help"])
    else:
        tyro.cli(config_type, prog=prog, description=text, args=["--help"], default=default)
    raise AssertionError("tyro exits after --help")


class _TextLoader(yaml.BaseLoader):
    """Builds nothing but text, lists and mappings: `1e-4` and `no` reach the flag as typed. Refuses repeated keys."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value]
        for number, (key, _) in enumerate(node.value):
            if key.value in keys[:number]:
                raise yaml.constructor.ConstructorError(
                    problem=f"{key.value} stands twice", problem_mark=key.start_mark
                )
        return super().construct_mapping(node, deep)


def _read_yaml(path: Path, types_: Mapping[str, Any], problems: list[str]) -> dict[str, list[str]]:
    """`{"lora": {"rank": 8}}` in a file becomes `{"lora.rank": ["8"]}`. Scalars stay the text that was written."""
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=_TextLoader)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        problems.append(f"--{_CONFIG} {path}: {' '.join(str(error).split())}")
        return {}
    if not isinstance(content, dict):
        problems.append(f"--{_CONFIG} {path}: expected `flag: value` lines, got {type(content).__name__}")
        return {}
    result: dict[str, list[str]] = {}
    _flatten(content, "", types_, result, lambda problem: problems.append(f"{path}: {problem}"))
    return result


def _flatten(
    content: Mapping[str, Any],
    prefix: str,
    types_: Mapping[str, Any],
    result: dict[str, list[str]],
    complain: Callable[[str], None],
) -> None:
    for key, value in content.items():
        name = prefix + _kebab(key)
        inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else []
        if name in result:
            complain(f"{name} stands twice")
        elif name in types_ and not all(isinstance(item, str) for item in inner):
            complain(f"{name}: a list or mapping in here holds another one; expected plain values")
        elif name in types_ and isinstance(value, dict):
            result[name] = [item for pair in value.items() for item in pair]
        elif name in types_:
            result[name] = value if isinstance(value, list) else [str(value)]
        elif isinstance(value, dict) and any(flag.startswith(f"{name}.") for flag in types_):
            _flatten(value, f"{name}.", types_, result, complain)
        else:
            near = difflib.get_close_matches(name, types_, n=1, cutoff=0.6)
            complain(f"unknown key {name}" + (f", did you mean {near[0]}?" if near else ""))


def _build(config_type: Any, default: Any, values: Mapping[str, Any], prefix: str) -> tuple[Any, list[str]]:
    """The config with `values` over `default`, and what was refused: every part's own `__post_init__` is heard."""
    hints = typing.get_type_hints(config_type, include_extras=True)
    arguments: dict[str, Any] = {}
    problems: list[str] = []
    for field in (field for field in dataclasses.fields(config_type) if field.init):
        name = prefix + _kebab(field.name)
        is_set = any(value == name or value.startswith(f"{name}.") for value in values)
        if dataclasses.is_dataclass(hints[field.name]) and is_set:
            inner = getattr(default, field.name) if default is not None else _own_default(field)
            arguments[field.name], refused = _build(hints[field.name], inner, values, f"{name}.")
            problems.extend(refused)
        elif is_set:
            arguments[field.name] = values[name]
        elif default is not None:
            arguments[field.name] = getattr(default, field.name)
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            problems.append(f"--{name} is required")
    if problems:
        return None, problems
    try:
        return config_type(**arguments), []
    except ConfigError as error:
        return None, [str(error)]


def _own_default(field: dataclasses.Field[Any]) -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return None if field.default is dataclasses.MISSING else field.default

"""Every source there is, by the name that `--source` takes; `auto` asks them in this order.

    SOURCES["toucan-sft"].read(row, "train.parquet row 7")      # a Conversation, or the Reject of this row
    licence_note(SOURCES["xlam"])     # "xlam: CC-BY-4.0 (https://huggingface.co/datasets/Salesforce/...)"

A new source is a module of its own with a `SOURCE`, and a line here. Forms that anybody's rows may have come last.
"""

from collections.abc import Mapping
from types import MappingProxyType

from gemma_tool_use.data.sources import (
    apigen_mt,
    glaive,
    hermes,
    mobile_actions,
    ms_swift,
    openai_jsonl,
    seal_tools,
    sharegpt,
    toolace,
    toucan,
    toucan_teacher,
    when2call,
    xlam,
)
from gemma_tool_use.data.sources.source import Source
from gemma_tool_use.errors import ConfigError

SOURCES: Mapping[str, Source] = MappingProxyType(
    {
        source.name: source
        for source in (
            toucan.SOURCE,
            toucan_teacher.KIMI_K2,
            toucan_teacher.OSS,
            toucan_teacher.QWEN3,
            hermes.SOURCE,
            xlam.SOURCE,
            glaive.SOURCE,
            toolace.SOURCE,
            mobile_actions.SOURCE,
            mobile_actions.EVAL_SOURCE,
            when2call.SOURCE,
            apigen_mt.SOURCE,
            seal_tools.SOURCE,
            seal_tools.TEST_SOURCE,
            sharegpt.SOURCE,
            ms_swift.SOURCE,
            openai_jsonl.SOURCE,
        )
    }
)


def licence_note(source: Source) -> str:
    """One line to print: the terms of the data set, or that they are the owner's."""
    if source.licence is None:
        return f"{source.name}: the licence is that of your rows"
    limit = "" if source.licence.commercial else ", not for commercial use"
    return f"{source.name}: {source.licence.name}{limit} ({source.licence.url})"


def check_licence(source: Source, *, allow_non_commercial: bool) -> None:
    """
    Raises:
      ConfigError: the terms exclude commercial use, and that was not accepted.
    """
    if source.licence is not None and not source.licence.commercial and not allow_non_commercial:
        raise ConfigError(
            f"{licence_note(source)}. What is trained on it may not be used commercially: to accept that, add "
            "--allow-non-commercial"
        )

"""Curriculum: four stages, the order in which a model meets kinds of rows.

    1  single-turn       one request answered by calls
    2  irrelevance       and when not to call
    3  diversified       other wordings, other tools beside the right ones, masked names, several calls at once
    4  multi-turn        conversations

    stage_of(conversation)               # 2 for a row without a call; from the row alone, for every source
    curriculum_order([2, 1, 1], seed=0)  # [2, 1, 0]: positions by stage, shuffled within each

`STAGES` has for each stage the rules, the mix and the augmentation that make its rows from a source that has them all:
for one run a stage, each of which starts from the adapter of the one before. For one run over several stages
`rules_by_stage` gives the rules by which a row is kept; rows are written in the order of their stages and trained
without shuffling across them.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from gemma_tool_use.conversation import Conversation
from gemma_tool_use.data.augment import distractors, names, parallel
from gemma_tool_use.data.augment.draws import Draws
from gemma_tool_use.data.augment.mix import MixSettings
from gemma_tool_use.data.augment.records import records
from gemma_tool_use.data.augment.settings import AugmentSettings
from gemma_tool_use.data.rules.settings import RuleSettings

OTHER_STAGE = "stage not asked for"
_OF_STAGES = ("subsets", "calls", "single_turn", "first_call_only", "max_tools_used", "max_tools_offered")
"""The rules that a stage decides about."""
_DIVERSIFYING = frozenset({distractors.STEP, names.STEP, parallel.STEP})


@dataclasses.dataclass(frozen=True, kw_only=True)
class Stage:
    """One stage of the curriculum.

    Attributes:
      number: 1 to 4.
      name: what `--stages` takes.
      help: one line about it.
      rules: which rows are kept.
      mix: which of them are taken.
      augment: what is done to them.
    """

    number: int
    name: str
    help: str
    rules: RuleSettings
    mix: MixSettings
    augment: AugmentSettings


_SINGLE, _IRRELEVANT, _DIVERSE = "single-turn-original", "irrelevant", "single-turn-diversify"

STAGES: Mapping[str, Stage] = MappingProxyType(
    {
        stage.name: stage
        for stage in (
            Stage(
                number=1,
                name="single-turn",
                help="one request answered by calls; at most 2 tools used and 3 offered",
                rules=RuleSettings(subsets=(_SINGLE,), calls="some"),
                mix=MixSettings(),
                augment=AugmentSettings(shuffle_tools=True),
            ),
            Stage(
                number=2,
                name="irrelevance",
                help="stage 1 with 15 % of rows that need no call",
                rules=RuleSettings(subsets=(_SINGLE, _IRRELEVANT), max_tools_offered=5),
                mix=MixSettings(min_no_call_share=0.15, max_no_call_share=0.15, make_no_call=True),
                augment=AugmentSettings(shuffle_tools=True, distractor_share=0.3),
            ),
            Stage(
                number=3,
                name="diversified",
                help="other wordings and tools, a third of the names masked, some requests merged",
                rules=RuleSettings(subsets=(_SINGLE, _DIVERSE, _IRRELEVANT), max_tools_offered=8),
                mix=MixSettings(min_no_call_share=0.1, max_no_call_share=0.1, make_no_call=True),
                augment=AugmentSettings(
                    shuffle_tools=True, distractor_share=0.5, max_tools=8, mask_share=0.33, merge_share=0.2
                ),
            ),
            Stage(
                number=4,
                name="multi-turn",
                help="conversations with tool results, kept whole",
                rules=RuleSettings(
                    subsets=(_SINGLE, _DIVERSE, _IRRELEVANT, "multi-turn"),
                    single_turn=False,
                    first_call_only=False,
                    max_tools_used=None,
                    max_tools_offered=8,
                ),
                mix=MixSettings(max_no_call_share=0.1),
                augment=AugmentSettings(shuffle_tools=True, mask_share=0.2, max_tools=8),
            ),
        )
    }
)


def rules_by_stage(names: Sequence[str], rules: RuleSettings) -> dict[int, RuleSettings]:
    """The rules with what each of the stages says in their place, by number."""
    asked = (STAGES[name] for name in names)
    return {
        stage.number: dataclasses.replace(rules, **{name: getattr(stage.rules, name) for name in _OF_STAGES})
        for stage in asked
    }


def stage_flags(rules: RuleSettings) -> list[str]:
    """Rules that differ from the defaults although the stages decide about them."""
    default = RuleSettings()
    return [name for name in _OF_STAGES if getattr(rules, name) != getattr(default, name)]


def stage_of(conversation: Conversation) -> int:
    """The stage a row belongs to: 4 with several user turns, 2 without a call, 3 when diversified, else 1.

    Diversified are the Toucan subset of that name, and rows that distractors, masking or merging have changed.
    """
    if sum(message.role == "user" for message in conversation.messages) > 1:
        return 4
    if not any(message.calls for message in conversation.messages):
        return 2
    changed = any(record["step"] in _DIVERSIFYING and "left" not in record for record in records(conversation))
    return 3 if changed or conversation.source.partition("/")[2] == _DIVERSE else 1


def curriculum_order(stages: Sequence[int], *, seed: int) -> list[int]:
    """Positions of the rows in the order of their stages, shuffled within each stage."""
    draws = Draws(seed=seed, step="curriculum")
    return sorted(range(len(stages)), key=lambda i: (stages[i], draws.bits(i), i))

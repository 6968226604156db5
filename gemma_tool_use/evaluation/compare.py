"""The command `gemma-tool-use compare`: two evaluations of the same items, category by category.

    $ gemma-tool-use compare runs/base/evaluation/base runs/lora/evaluation/step_400
    A  runs/base/evaluation/base
    B  runs/lora/evaluation/step_400
    strict rule, 1,000 items of both

    bfcl              items      A      B   B - A   95 %            fixed  broken       p   p (Holm)
    multiple            200  44.0%  56.5%   +12.5   [+5.5, +20.0]      41      16   0.001      0.004
    ...

    B is better on multiple: +12.5 points [+5.5, +20.0], p = 0.001, 0.004 after Holm for 3 categories

    multiple, fixed: 2 of 41
    multiple_7: Book a table for two in Oslo
      expected  book_table {"city": "Oslo", "people": 2}
      A wrong   no_call: I cannot book tables.
      B right   book_table {"city": "Oslo", "people": 2}

`--json` prints everything, with all the items that changed, for programs. The exit code is 0 whoever is better.
"""

import dataclasses
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from gemma_tool_use.commands import EXIT_OK, run
from gemma_tool_use.errors import ConfigError, DataError
from gemma_tool_use.evaluation.compare_text import as_json, as_text
from gemma_tool_use.evaluation.folder import RESULTS, find_evaluation
from gemma_tool_use.evaluation.paired import Rule, compare, match
from gemma_tool_use.evaluation.records import read_results
from gemma_tool_use.flags import name_first_words, parse


@dataclasses.dataclass(frozen=True, kw_only=True)
class CompareConfig:
    """Flags of `gemma-tool-use compare`."""

    a: Path
    """Evaluation folder of the first model, or a run folder with one evaluation; also taken as the first word."""
    b: Path
    """That of the second model; also taken as the second word."""
    rule: Rule = "strict"
    """strict: where no call is wanted, a call that cannot be read is wrong. official: it counts as refraining."""
    common: bool = False
    """Compare on the items that are the same in both, where otherwise any difference is refused."""
    show: int = 2
    """How many fixed and broken items of each category are printed with both answers."""
    json: bool = False
    """Print one JSON object instead of text, with every item that changed."""

    def __post_init__(self) -> None:
        if self.show < 0:
            raise ConfigError(f"show must be 0 or more, got {self.show}")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns 0."""
    words = name_first_words(sys.argv[1:] if argv is None else argv, ("a", "b"))
    config = parse(CompareConfig, words, prog="gemma-tool-use compare", description="Compares two evaluations.")
    folders = find_evaluation(config.a), find_evaluation(config.b)
    if folders[0].resolve() == folders[1].resolve():
        raise ConfigError(f"--a and --b are the same evaluation, {folders[0]}; name two")
    try:
        pairs = match(*map(read_results, (folder / RESULTS for folder in folders)), common=config.common)
    except DataError as error:
        raise DataError(f"A {folders[0]}, B {folders[1]}: {error}") from None
    suites = compare(pairs, config.rule)
    if config.json:
        print(json.dumps(as_json(folders, config.rule, pairs, suites), indent=2))
    else:
        print(as_text(folders, config.rule, pairs, suites, show=config.show))
    return EXIT_OK


if __name__ == "__main__":
    sys.exit(run(main))

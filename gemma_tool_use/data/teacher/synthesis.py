"""The whole way from tools to rows on the disk; `gemma-tool-use synthesize --teacher` calls it.

    config = TeacherConfig(url="http://127.0.0.1:8000/v1", model="qwen3-32b", max_cost=None)
    manifest = synthesize(config, tools, output=Path("rows.jsonl"), count=200, seed=0, keys={}, inputs=[])
    manifest["rows"], manifest["cost"]     # 200, 0.0

Running it again with the same arguments continues where a killed run stopped.
"""

import asyncio
import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
from tqdm import tqdm

from gemma_tool_use.conversation import ToolSpec
from gemma_tool_use.data.teacher import files
from gemma_tool_use.data.teacher.checks import check_tools
from gemma_tool_use.data.teacher.client import Asking, Client
from gemma_tool_use.data.teacher.cost import Ledger, Prices
from gemma_tool_use.data.teacher.endpoint import Endpoint, Reveal, endpoint_at
from gemma_tool_use.data.teacher.exchange import Answer
from gemma_tool_use.data.teacher.journal import Journal
from gemma_tool_use.data.teacher.pace import Pace
from gemma_tool_use.data.teacher.plan import Plan
from gemma_tool_use.data.teacher.prompts import Chat
from gemma_tool_use.data.teacher.run import Collected, collect
from gemma_tool_use.errors import ConfigError


@dataclasses.dataclass(frozen=True, kw_only=True)
class TeacherConfig:
    """The endpoint and how to ask it.

    Attributes:
      url: base URL.
      model: the model's name there.
      languages: in turn, for each scenario.
      batch: requests that are asked for in one answer.
      repair: whether a bad answer is asked for once more, with the problem.
      asking: form, size and repetition of single requests.
      requests_per_minute: limit of the endpoint; None for none.
      tokens_per_minute: limit of the endpoint; None for none.
      prices: of a million tokens.
      max_cost: nothing is sent that could cost more; None for no ceiling.
    """

    url: str
    model: str
    languages: tuple[str, ...] = ("English",)
    batch: int = 4
    repair: bool = True
    asking: Asking = dataclasses.field(default_factory=Asking)
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    prices: Prices = dataclasses.field(default_factory=Prices)
    max_cost: float | None = None

    def __post_init__(self) -> None:
        asking, limits = self.asking, (self.requests_per_minute, self.tokens_per_minute)
        expected = {
            "languages must name at least one language": bool(self.languages) and all(map(str.strip, self.languages)),
            "requests_per_answer must be from 1 to 50": 1 <= self.batch <= 50,
            "concurrency must be from 1 to 1000": 1 <= asking.concurrency <= 1000,
            "max_answer_tokens must be 64 or more": asking.max_answer_tokens >= 64,
            "temperature must be from 0 to 2": asking.temperature is None or 0 <= asking.temperature <= 2,
            "timeout must be more than 0 seconds": 0 < asking.timeout < math.inf,
            "retries must be 0 or more": asking.retries >= 0,
            "requests_per_minute and tokens_per_minute must be more than 0": all(
                limit is None or 0 < limit < math.inf for limit in limits
            ),
            "price_in and price_out must be 0 or more": all(
                0 <= price < math.inf for price in (self.prices.sent, self.prices.written)
            ),
            "max_cost must be more than 0": self.max_cost is None or 0 < self.max_cost < math.inf,
            "max_cost needs the prices: --price-in and --price-out, per million tokens": self.max_cost is None
            or self.prices != Prices(),
        }
        if problems := [problem for problem, holds in expected.items() if not holds]:
            raise ConfigError("; ".join(problems))


def synthesize(
    config: TeacherConfig,
    tools: Sequence[ToolSpec],
    *,
    output: Path,
    count: int,
    seed: int,
    keys: Mapping[str, Reveal],
    inputs: Sequence[Path] = (),
) -> dict[str, Any]:
    """Writes the rows and what belongs to them (see `files.py`); returns the manifest.

    Args:
      config: whom to ask, and how.
      tools: what the rows are about.
      output: the JSONL file.
      count: how many rows.
      seed: of the plan; other seeds give other scenarios.
      keys: what gives the API key, by the name of its variable.
      inputs: the files that the tools came from, for the manifest.

    Raises:
      ConfigError: a setting, or a journal of other settings.
      FileError: `output` exists and is not of this run, or cannot be written.
      DataError: a tool cannot be used.
      TeacherError: the endpoint cannot be used; what it answered until then is written, and kept for the next run.
    """
    endpoint = endpoint_at(config.url, config.model, keys)
    plan = Plan(tools=tools, seed=seed, languages=config.languages)
    check_tools(plan.tools)
    files.refuse_foreign(output)
    settings = files.plan_settings(
        endpoint, config.asking, tools, seed=seed, languages=config.languages, batch=config.batch, repair=config.repair
    )
    with Journal(files.account_folder(output) / files.JOURNAL, settings) as journal:
        ledger = Ledger(config.prices, config.max_cost)
        ledger.spent = journal.tokens
        collected = asyncio.run(_collect(config, endpoint, plan, journal, ledger, count=count, seed=seed))
        manifest = files.write_results(output, collected, journal, ledger, settings, count=count, inputs=inputs)
    if collected.error is not None:
        raise collected.error
    return manifest


async def _collect(
    config: TeacherConfig,
    endpoint: Endpoint,
    plan: Plan,
    journal: Journal,
    ledger: Ledger,
    *,
    count: int,
    seed: int,
) -> Collected:
    concurrency = config.asking.concurrency
    pace = Pace(
        requests_per_minute=config.requests_per_minute,
        tokens_per_minute=config.tokens_per_minute,
        clock=asyncio.get_running_loop().time,
    )
    # Proxies of the environment are for other hosts; timeouts are those of the whole exchange.
    limits = httpx.Limits(max_connections=concurrency, max_keepalive_connections=concurrency)
    async with httpx.AsyncClient(timeout=None, limits=limits, trust_env=not endpoint.is_local) as http:
        client = Client(http=http, endpoint=endpoint, asking=config.asking, journal=journal, ledger=ledger, pace=pace)

        async def ask(step: str, chat: Chat, shape: dict[str, Any]) -> Answer:
            return await client.ask(step, chat, shape, seed=seed)

        with tqdm(total=count, unit=" rows", desc="teacher", disable=None) as bar:

            def progress(rows: int, rejects: int) -> None:
                bar.n = rows
                tokens = f"{ledger.spent.sent:,} in, {ledger.spent.written:,} out"
                bar.set_postfix_str(f"{rejects} rejected, {tokens}, cost {ledger.cost:.4f}")

            return await collect(
                plan,
                ask,
                count=count,
                batch=config.batch,
                concurrency=concurrency,
                repair=config.repair,
                progress=progress,
            )

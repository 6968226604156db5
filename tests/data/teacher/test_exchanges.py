"""Everything an endpoint can do to a request: refuse it, break off, drown it, stall it, ask for patience."""

import asyncio
import email.utils
import json
import time

import httpx
import pytest
from teacher_server import Raw, TeacherServer, completion

from gemma_tool_use.data.teacher import client as client_module
from gemma_tool_use.data.teacher import exchange as exchange_module
from gemma_tool_use.data.teacher import pace as pace_module
from gemma_tool_use.data.teacher.client import Asking, Client
from gemma_tool_use.data.teacher.cost import BudgetReached, Ledger, Prices, Tokens
from gemma_tool_use.data.teacher.endpoint import TeacherError, endpoint_at
from gemma_tool_use.data.teacher.journal import Journal
from gemma_tool_use.data.teacher.pace import Pace, backoff
from gemma_tool_use.errors import ConfigError

CHAT = [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}]
SHAPE = {"type": "object"}


@pytest.fixture(autouse=True)
def short_waits(monkeypatch):
    monkeypatch.setattr(pace_module, "FIRST_WAIT", 0.005)


@pytest.fixture
def server():
    with TeacherServer(answer=lambda messages: "{}") as running:
        yield running


def ask(url, folder, steps=("0",), *, together=False, ledger=None, pace=None, key=None, **asking):
    """The answers to these steps, asked one after the other or all at once."""

    async def run():
        keys = {} if key is None else {"TEACHER_API_KEY": lambda: key}
        with Journal(folder / "journal.jsonl", {}) as journal:
            async with httpx.AsyncClient(timeout=None, trust_env=False) as http:
                client = Client(
                    http=http,
                    endpoint=endpoint_at(url, "teacher-1", keys),
                    asking=Asking(**{"timeout": 5, "retries": 3, **asking}),
                    journal=journal,
                    ledger=ledger or Ledger(Prices()),
                    pace=pace or Pace(clock=asyncio.get_running_loop().time),
                )
                if together:
                    return await asyncio.gather(*(client.ask(step, CHAT, SHAPE, seed=7) for step in steps))
                return [await client.ask(step, CHAT, SHAPE, seed=7) for step in steps]

    return asyncio.run(run())


@pytest.mark.parametrize(
    ("response", "sentence"),
    [
        (
            Raw(status=401, body=b'{"error": {"message": "who are you"}}'),
            "401 .*who are you.*: TEACHER_API_KEY is not",
        ),
        (Raw(status=403), "403 .*TEACHER_API_KEY"),
        (Raw(status=402), "no credit left"),
        (Raw(status=404, body=b'{"detail": "no such model"}'), r"no such model.*no model 'teacher-1'.*--teacher-model"),
        (Raw(status=302, headers={"Location": "http://127.0.0.1:9/"}), "redirects"),
        (Raw(body=b"<!doctype html><p>Welcome", headers={"Content-Type": "text/html"}), "web page.*ends in /v1"),
        (Raw(status=400, body=b'{"error": "you shall not pass"}'), "does not take the request.*you shall not pass"),
        (Raw(status=429, body=b'{"error": {"code": "insufficient_quota"}}'), "no credit left"),
        (Raw(status=429, headers={"Retry-After": "86400"}), "asks to wait 86400 s"),
        (Raw(headers={"Content-Encoding": "gzip"}), "compresses"),
    ],
)
def test_what_cannot_get_better_is_one_sentence_with_the_remedy(server, tmp_path, response, sentence):
    server.answer = lambda messages: response
    with pytest.raises(TeacherError, match=sentence):
        ask(server.url, tmp_path)
    assert len(server.bodies) <= 3, "it is not tried over and over"


@pytest.mark.parametrize(
    "response",
    [
        Raw(status=500),
        Raw(status=503, body=b"<html>busy"),
        Raw(status=429, headers={"Retry-After": "0.01"}),
        Raw(reset=True),
        Raw(body=b'{"choices": [', announced=900),
        Raw(body=b"{nonsense"),
        Raw(body=b"[" * 100_000),
        Raw(body=b"null"),
        Raw(body=b'{"choices": [7]}'),
        Raw(body=b'{"error": {"message": "model overloaded"}}'),
    ],
)
def test_what_may_get_better_is_tried_again_and_given_up_by_name(server, tmp_path, response):
    server.faults = [response]
    assert ask(server.url, tmp_path)[0].text == "{}" and len(server.bodies) == 2
    server.answer = lambda messages: response
    with pytest.raises(TeacherError, match=r"gave up on 127\.0\.0\.1:\d+ after 4 tries of step 1: .*continues"):
        ask(server.url, tmp_path, ["1"])


def test_an_answer_that_may_be_charged_but_never_came_is_counted(server, tmp_path):
    server.faults = [Raw(reset=True), Raw(body=b'{"choices": [', announced=900), Raw(status=500)]
    ask(server.url, tmp_path)
    lost = [line for line in (tmp_path / "journal.jsonl").read_text().splitlines() if '"lost"' in line]
    assert [json.loads(line)["tokens"][1] for line in lost] == [2048] * 2, "a refusal by status is not charged"


def test_five_megabytes_are_not_read(server, tmp_path, monkeypatch):
    seen = []
    whole = exchange_module._read

    async def counting(response, limit):
        raw, complete = await whole(response, limit)
        seen.append((len(raw), complete))
        return raw, complete

    monkeypatch.setattr(exchange_module, "_read", counting)
    server.answer = lambda messages: completion("x" * 5_000_000)
    assert ask(server.url, tmp_path)[0].fault == "answer is too long"
    assert seen == [(exchange_module.MAX_BODY_BYTES, False)]
    assert (tmp_path / "journal.jsonl").stat().st_size < 1000


def test_a_long_text_in_a_body_of_allowed_size_is_not_kept(server, tmp_path):
    server.answer = lambda messages: completion("x" * 100_000)
    (answer,) = ask(server.url, tmp_path)
    assert (answer.fault, answer.text) == ("answer is too long", "")


def test_a_body_that_drips_ends_at_the_timeout(server, tmp_path):
    server.answer = lambda messages: Raw(body=b'{"choices": [' + b" " * 500, drip=0.02)
    start = time.monotonic()
    with pytest.raises(TeacherError, match=r"no whole answer within 0\.2 s.*Raise --timeout"):
        ask(server.url, tmp_path, timeout=0.2, retries=1)
    assert time.monotonic() - start < 3


def test_nobody_at_the_address_is_found_out_quickly(tmp_path):
    with pytest.raises(TeacherError, match=r"no connection.*after 3 tries|after 3 tries.*no connection.*Is the server"):
        ask("http://127.0.0.1:9/v1", tmp_path, retries=50)


@pytest.mark.parametrize(
    ("finish", "text", "fault"),
    [
        ("length", '{"requ', "answer was cut off"),
        ("stop", " ", "answer is empty"),
        ("content_filter", "", "teacher"),
    ],
)
def test_an_answer_without_use_is_kept_with_its_fault_and_not_asked_for_again(server, tmp_path, finish, text, fault):
    server.answer = lambda messages: completion(text, finish)
    assert ask(server.url, tmp_path)[0].fault.startswith(fault)
    assert ask(server.url, tmp_path)[0].fault.startswith(fault) and len(server.bodies) == 1


def picky(*refused):
    """An endpoint that refuses bodies with any of these texts, and names what it found."""

    def answer(messages):
        body = json.dumps(server_of[0].bodies[-1])
        for text in refused:
            if f'"{text}"' in body:
                hint = "use max_completion_tokens" if text == "max_tokens" else text
                return Raw(status=400, body=json.dumps({"error": {"message": f"unsupported: {hint}"}}).encode())
        return "{}"

    server_of: list[TeacherServer] = []
    return answer, server_of


@pytest.mark.parametrize(
    ("refused", "sent"),
    [
        ((), {"response_format", "max_tokens", "temperature", "seed"}),
        (("json_schema",), {"response_format", "max_tokens", "temperature", "seed"}),
        (("response_format",), {"max_tokens", "temperature", "seed"}),
        (("temperature", "seed"), {"response_format", "max_tokens"}),
        (("max_tokens",), {"response_format", "max_completion_tokens", "temperature", "seed"}),
        (("max_tokens", "temperature", "seed", "response_format"), {"max_completion_tokens"}),
    ],
)
def test_the_first_request_finds_out_what_the_endpoint_takes(server, tmp_path, refused, sent):
    server.answer, server_of = picky(*refused)
    server_of.append(server)
    ask(server.url, tmp_path, ["0", "1"])
    assert set(server.bodies[-1]) - {"model", "messages"} == sent
    if "response_format" in sent:
        form = "json_object" if "json_schema" in refused else "json_schema"
        assert server.bodies[-1]["response_format"]["type"] == form
    assert server.bodies[-2] == server.bodies[-1], "the second step is asked in that form right away"


def test_a_request_that_is_refused_later_costs_one_row_and_many_end_the_run(server, tmp_path):
    server.faults = [completion("{}"), Raw(status=400, body=b'{"error": "content policy"}')]
    answers = ask(server.url, tmp_path, ["0", "1", "2"])
    assert [answer.fault for answer in answers] == ["", "endpoint does not take the request", ""]
    server.answer = lambda messages: Raw(status=400, body=b'{"error": "model retired"}')
    with pytest.raises(TeacherError, match="model retired"):
        ask(server.url, tmp_path, [str(i) for i in range(3, 30)])


def test_a_request_waits_as_long_as_the_endpoint_asks(server, tmp_path):
    server.faults = [Raw(status=429, headers=wait) for wait in ({"Retry-After": "0.3"}, {"Retry-After-Ms": "200"})]
    start = time.monotonic()
    ask(server.url, tmp_path)
    assert 0.5 <= time.monotonic() - start < 5 and len(server.bodies) == 3


def test_everybody_waits_when_the_endpoint_asks_one_to(server, tmp_path):
    times = []

    def delay(body):
        times.append(time.monotonic())
        return 0.02

    server.delay = delay
    server.faults = [completion("{}"), Raw(status=429, headers={"Retry-After": "0.6"})]
    start = time.monotonic()
    ask(server.url, tmp_path, map(str, range(12)), together=True, concurrency=2)
    assert len(times) == 11 and time.monotonic() - start >= 0.6
    # The other request may have been under way already; nothing more is sent before the time is over.
    assert sum(at - times[0] < 0.5 for at in times) <= 2


def test_retry_after_is_read_as_seconds_or_as_a_date():
    def seconds(value):
        return exchange_module._retry_after(httpx.Headers({"Retry-After": value}))

    assert seconds("7") == 7 and seconds("1.5") == 1.5
    assert 25 < seconds(email.utils.formatdate(time.time() + 30, usegmt=True)) <= 30
    assert seconds("Wed, 21 Oct 2015 07:28:00 GMT") == 0
    assert [seconds(value) for value in ("nan", "inf", "-3", "soon", "", "9" * 400)] == [None] * 6


def test_a_storm_of_429_passes(server, tmp_path):
    server.faults = [Raw(status=429)] * 6
    assert ask(server.url, tmp_path, retries=6)[0].text == "{}"


class FakeTime:
    def __init__(self):
        self.now = 0.0

    async def sleep(self, seconds):
        self.now += seconds


def test_no_minute_holds_more_requests_or_tokens_than_allowed():
    for limits, tokens, most in (({"requests_per_minute": 30}, 1, 30), ({"tokens_per_minute": 6000}, 500, 12)):
        clock = FakeTime()
        pace = Pace(**limits, clock=lambda clock=clock: clock.now, sleep=clock.sleep)
        times = []
        for _ in range(60):
            asyncio.run(pace.turn(tokens))
            times.append(clock.now)
        assert max(sum(start <= t < start + 60 for t in times) for start in times) <= most
        assert times[-1] < 60 * 60 / most + 1, "and not much slower"


def test_tokens_that_were_not_used_are_given_back_and_pauses_hold():
    clock = FakeTime()
    pace = Pace(tokens_per_minute=600, clock=lambda: clock.now, sleep=clock.sleep)
    asyncio.run(pace.turn(600))
    pace.correct(500)
    asyncio.run(pace.turn(1))
    assert clock.now == pytest.approx(10)
    pace.pause(33)
    asyncio.run(pace.turn(1))
    assert clock.now == pytest.approx(43)


def test_waits_grow_to_a_minute_and_are_never_the_same(monkeypatch):
    monkeypatch.setattr(pace_module, "FIRST_WAIT", 1.0)
    rng = client_module.random.Random(0)
    for attempt in range(40):
        longest = min(60, 2**attempt)
        waits = {backoff(attempt, rng) for _ in range(20)}
        assert len(waits) == 20 and all(longest / 2 <= wait <= longest for wait in waits)


def test_what_is_promised_and_spent_never_passes_the_ceiling():
    async def run():
        ledger = Ledger(Prices(sent=1e6, written=1e6), max_cost=100)
        worst = 0.0

        async def one(i):
            nonlocal worst
            held = await ledger.reserve(Tokens(sent=5, written=20))
            worst = max(worst, ledger.prices.cost(ledger.spent + ledger._promised))
            await asyncio.sleep(0)
            await ledger.settle(held, Tokens(sent=5, written=i % 7))

        done = await asyncio.gather(*(one(i) for i in range(40)), return_exceptions=True)
        assert worst <= 100 and ledger.cost <= 100
        assert {type(result) for result in done if result} == {BudgetReached}
        assert ledger.cost + 25 > 100, "it ends only when the next one could pass it"

    asyncio.run(run())


@pytest.mark.parametrize(
    ("url", "full"),
    [
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000/v1/chat/completions"),
        ("http://127.0.0.1:8000/v1/", "http://127.0.0.1:8000/v1/chat/completions"),
        ("https://example.org/api/v1/chat/completions", "https://example.org/api/v1/chat/completions"),
        ("https://generativelanguage.googleapis.com/v1beta/openai/",
         "https://generativelanguage.googleapis.com/v1beta/openai/chat/completions"),
    ],
)  # fmt: skip
def test_base_urls_are_taken_as_clients_of_openai_take_them(url, full):
    assert endpoint_at(url, "m", {}).url == full


@pytest.mark.parametrize("url", ["", "example.org", "ftp://x/v1", "http://", "https://u:p@x/v1", "https://x/v1?key=k"])
def test_other_urls_are_refused_without_being_shown(url):
    with pytest.raises(ConfigError, match="teacher"):
        endpoint_at(url, "m", {})


def test_the_key_of_openai_goes_to_openai_only():
    keys = {"OPENAI_API_KEY": lambda: "sk-openai", "TEACHER_API_KEY": lambda: "tk-other"}
    only = {"OPENAI_API_KEY": keys["OPENAI_API_KEY"]}

    def sent(url, keys):
        return endpoint_at(url, "m", keys).headers().get("Authorization")

    assert sent("https://api.openai.com/v1", only) == "Bearer sk-openai"
    assert sent("https://api.openai.com/v1", keys) == "Bearer tk-other"
    elsewhere = ["https://api.openai.com.evil.org/v1", "https://notopenai.com/v1", "http://api.openai.com/v1"]
    assert [sent(url, only) for url in elsewhere] == [None] * 3
    assert endpoint_at("http://10.0.0.3:8000", "m", keys).shows_key
    assert not endpoint_at("http://127.0.0.1:8000", "m", keys).shows_key
    assert "tk-other" not in repr(endpoint_at("https://x/v1", "m", keys))

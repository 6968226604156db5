"""The analysis: every number of the page and the CSV equals a count made another way (duckdb, plain loops, encode)."""

import collections
import csv
import json
import random
import subprocess
import sys
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from page_numbers import Numbers
from tiny_tokenizer import write_tiny_tokenizer

from gemma_tool_use import cli
from gemma_tool_use.data import analyze, analyze_toucan, analyze_toucan_phase1
from gemma_tool_use.data.analysis.table import COLUMNS
from gemma_tool_use.data.sources.registry import SOURCES
from gemma_tool_use.errors import ConfigError, DataError, FileError
from gemma_tool_use.formats.dialects import get_dialect
from gemma_tool_use.formats.encode import encode
from gemma_tool_use.formats.tokenizer import load_tokenizer

SUBSETS = ("single-turn-original", "single-turn-diversify", "irrelevant", "multi-turn")
DIALECTS = ("gemma_json", "tool_code")
NAMES = tuple(f"tool_{letter}" for letter in "abcdefghijklmnopqrst")
TYPES = {"string": "x", "integer": 3, "number": 0.5, "boolean": True, "array": [1], "object": {"k": 1}}
ROWS = 160


def tool(name):
    properties = {f"a_{kind}": {"type": kind} for kind in TYPES}
    return {"type": "function", "function": {"name": name, "parameters": {"type": "object", "properties": properties}}}


def toucan_row(i, chooser):
    subset = chooser.choice(SUBSETS)
    names = chooser.sample(NAMES, chooser.choice([1, 2, 3, 4, 20, chooser.randrange(1, 19)]))
    asked = chooser.choice(["What is the weather?", "Où est la gare la plus proche ?", f"Number {i}", "42"])
    messages = [{"role": "user", "content": asked}]
    called = []
    for _ in range(0 if subset == "irrelevant" else chooser.randrange(1, 5)):
        group = chooser.choices(names, k=chooser.choice([1, 1, 4]))
        for name in group:
            kinds = chooser.sample(list(TYPES), chooser.randrange(3))
            arguments = {f"a_{kind}": TYPES[kind] for kind in kinds}
            content = str({"name": name, "arguments": json.dumps(arguments)})
            messages.append({"role": "tool_call", "content": content})
        messages += [{"role": "tool_response", "content": "ok " * chooser.randrange(40)} for _ in group]
        called += group
    messages.append({"role": "assistant", "content": "Done."})
    for _ in range(chooser.randrange(3) if subset == "multi-turn" else 0):
        messages += [{"role": "user", "content": "And then?"}, {"role": "assistant", "content": "Nothing."}]
    return {
        "uuid": f"u{i}",
        "subset_name": subset,
        "question": asked,
        "target_tools": ", ".join(dict.fromkeys(called)) if chooser.random() < 0.8 else names[0],
        "tools": json.dumps([tool(name) for name in names]),
        "messages": json.dumps(messages),
    }


def toucan_rows():
    chooser = random.Random(11)
    rows = [toucan_row(i, chooser) for i in range(ROWS)]
    rows += [dict(rows[i], uuid=f"copy{i}") for i in (3, 3, 8)]
    rows.append(dict(rows[0], uuid="broken", messages="[{"))
    stray = [
        {"role": "user", "content": "Hi"},
        {"role": "tool_call", "content": str({"name": "tool_z", "arguments": '{"a_string": 5}'})},
    ]
    rows.append(dict(rows[0], uuid="stray", messages=json.dumps(stray)))
    return rows


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("analyze")
    (folder / "tokenizer").mkdir()
    write_tiny_tokenizer(folder / "tokenizer")
    rows = toucan_rows()
    (folder / "toucan").mkdir()
    pq.write_table(pa.Table.from_pylist(rows[:100]), folder / "toucan" / "train-00000-of-00002.parquet")
    pq.write_table(pa.Table.from_pylist(rows[100:]), folder / "toucan" / "train-00001-of-00002.parquet")
    for command in (analyze_toucan, analyze_toucan_phase1):
        assert command.main(flags(folder, "out")) == 0
    return folder


def flags(folder, output):
    words = ["--input", str(folder / "toucan"), "--output", str(folder / output), "--workers", "1"]
    return [*words, "--model", str(folder / "tokenizer"), "--dialects", *DIALECTS]


@pytest.fixture(scope="module")
def page(folder):
    return Numbers(folder / "out" / "toucan_analysis.html")


@pytest.fixture(scope="module")
def plain(folder):
    """The readable rows with what plain loops find in them."""
    found = []
    for row in toucan_rows():
        try:
            messages = json.loads(row["messages"])
        except ValueError:
            continue
        calls, groups = [], [0]
        for message in messages:
            if message["role"] == "tool_call":
                call = eval(message["content"], {"__builtins__": {}})  # noqa: S307, of this test's own making
                calls.append((call["name"], json.loads(call["arguments"])))
                groups[-1] += 1
            elif groups[-1]:
                groups.append(0)
        found.append(
            {
                "subset": row["subset_name"],
                "turns": sum(message["role"] == "user" for message in messages),
                "used": len({name for name, _ in calls}),
                "offered": len(json.loads(row["tools"])),
                "annotated": len([name for name in row["target_tools"].split(",") if name]),
                "calls": len(calls),
                "parallel": max(groups),
                "names": [name for name, _ in calls],
                "tools": [each["function"]["name"] for each in json.loads(row["tools"])],
                "arguments": [value for _, arguments in calls for value in arguments.values()],
                "row": row,
            }
        )
    return found


def counted(values, order=None):
    """Rows by value; beyond 15 lines the page shows the first 14, by `order`, and the rest as one."""
    items = sorted(collections.Counter(values).items(), key=order)
    if len(items) > 15:
        items = [*items[:14], ("all others", sum(n for _, n in items[14:]))]
    return {str(value): n for value, n in items}


def by_count(item):
    return -item[1], item[0]


@pytest.mark.parametrize("name", ["turns", "used", "offered", "annotated", "calls", "parallel"])
def test_turns_and_tools_are_those_of_plain_loops(page, plain, name):
    assert page.table(name) == counted(row[name] for row in plain)


def test_duckdb_counts_the_same_subsets_turns_and_tools(page, folder):
    rows = duckdb.connect().execute(
        """
        with parsed as (
            select subset_name, json_array_length(tools) as offered,
                   json_extract_string(messages, '$[*].role') as roles,
                   json_extract_string(messages, '$[*].content') as contents
            from read_parquet(?) where json_valid(messages)
        ), counted as (
            select subset_name, offered,
                   (select count(*) from (select unnest(roles) as role) where role = 'user') as turns,
                   (select count(distinct split_part(text, '''', 4))
                    from (select unnest(contents) as text) where starts_with(text, '{')) as used
            from parsed
        )
        select subset_name, count(*), count(*) filter (turns = 1),
               count(*) filter (turns = 1 and used <= 2 and offered <= 3)
        from counted group by subset_name
        """,
        [str(folder / "toucan" / "*.parquet")],
    )
    for subset, rows_of, single, simple in rows.fetchall():
        assert page.values["subsets", subset, "rows"] == rows_of
        assert page.values["subsets", subset, "single-turn"] == single
        assert page.values["subsets", subset, "simple"] == simple
    assert len(page.table("subsets")) == len(SUBSETS)


@pytest.mark.parametrize("field", ["used", "annotated"])
def test_the_grids_count_every_row_once(page, plain, field):
    for subset in (None, *SUBSETS):
        of = [row for row in plain if subset in (None, row["subset"])]
        expected = collections.Counter((min(row[field], 5), min(row["offered"], 10)) for row in of)
        name = f"grid-{field}" + (f"/{subset}" if subset else "")
        shown = {
            (used, offered): page.values[name, f"{used}{' or more' if used == 5 else ''} used", str(offered)]
            for used in range(6)
            for offered in range(11)
        }
        assert {key: n for key, n in shown.items() if n} == dict(expected)
        assert sum(shown.values()) == len(of)


def test_the_projects_filter_by_calls_and_by_annotation(page, plain):
    for subset in (None, *SUBSETS):
        of = [row for row in plain if subset in (None, row["subset"]) and row["turns"] == 1]
        for field, name in (("used", "calls"), ("annotated", "annotation")):
            for least in (0, 1):
                passing = [row for row in of if least <= row[field] <= 2 and least <= row["offered"] <= 3]
                assert page.values["filters", subset or "all", f"{name} from {least}"] == len(passing)


def test_the_overview_and_the_rejects_add_up(page, plain):
    assert page.values["tile", "rows-read", "value"] == len(toucan_rows()) == sum(page.table("outcomes").values())
    assert page.values["tile", "rows", "value"] == len(plain) == page.values["outcomes", "counted", "rows"]
    assert page.values["outcomes", "messages are not valid JSON", "rows"] == 1
    assert page.values["tile", "calling", "value"] == sum(row["calls"] > 0 for row in plain)
    assert page.values["tile", "single-turn", "value"] == sum(row["turns"] == 1 for row in plain)


def test_types_names_and_roles(page, plain):
    words = {str: "string", int: "integer", float: "number", bool: "boolean", list: "array", dict: "object"}
    assert page.table("argument-types") == counted(words[type(value)] for row in plain for value in row["arguments"])
    offered = [name for row in plain for name in row["tools"]]
    most = sorted(collections.Counter(offered).items(), key=by_count)[:15]
    assert page.table("offered-names") == dict(most)
    assert page.table("parameter-types") == {kind: len(offered) for kind in TYPES}
    assert page.table("called") == counted((name for row in plain for name in row["names"]), by_count)
    messages = [message["role"] for row in plain for message in json.loads(row["row"]["messages"])]
    assert page.values["roles", "user", "rows"] == messages.count("user")
    assert page.values["roles", "tool", "rows"] == messages.count("tool_response")


def test_duplicates(page, plain):
    for label, key in (
        ("same tools and messages", lambda row: (row["tools"], row["messages"])),
        ("same questions and tools", lambda row: (asked(row), frozenset(map(str, json.loads(row["tools"]))))),
        ("same questions", asked),
    ):
        groups = collections.Counter(key(row["row"]) for row in plain)
        assert page.values["duplicates", label, "different"] == len(groups)
        assert page.values["duplicates", label, "repeated"] == sum(n > 1 for n in groups.values())
        assert page.values["duplicates", label, "extra"] == len(plain) - len(groups)


def asked(row):
    return tuple(message["content"].lower() for message in json.loads(row["messages"]) if message["role"] == "user")


def test_faults_and_languages(page, plain):
    assert page.table("faults") == {"call of an undeclared tool": 1}
    languages = page.table("languages")
    questions = [json.loads(row["row"]["messages"])[0]["content"] for row in plain]
    assert languages["no letters"] == questions.count("42")
    assert languages["fr"] == questions.count("Où est la gare la plus proche ?")
    assert sum(languages.values()) == len(plain)


def conversations(folder):
    for row in toucan_rows():
        if row["uuid"] != "broken":
            yield SOURCES["toucan-sft"].read(row, "")


def lengths(folder, dialect, *, cut):
    """Tokens of each row, encoded one by one; `cut` really cuts the conversation instead of measuring a part of it."""
    import dataclasses

    tokenizer = load_tokenizer(folder / "tokenizer")
    for conversation in conversations(folder):
        messages = conversation.messages
        first = next((i for i, message in enumerate(messages) if message.calls), None)
        if cut and first is not None:
            conversation = dataclasses.replace(conversation, messages=messages[: first + 1])
        yield encode(get_dialect(dialect).segments(conversation), tokenizer)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_token_lengths_and_what_limits_lose(page, folder, dialect):
    for cut, table in ((False, "limits-whole"), (True, "limits-first-call")):
        encoded = list(lengths(folder, dialect, cut=cut))
        numbers = np.array([len(each.tokens) for each in encoded])
        limits = {int(limit): n for (name, row, limit), n in page.values.items() if (name, row) == (table, dialect)}
        assert limits == {limit: int((numbers > limit).sum()) for limit in limits}
        assert len(limits) == 9
        assert any(0 < n < len(numbers) for n in limits.values())
        prefix = "first " if cut else ""
        median = np.quantile(numbers, 0.5, method="inverted_cdf")
        assert page.values["lengths", dialect, f"{prefix}median"] == median
        assert page.values["lengths", dialect, f"{prefix}p90"] == np.quantile(numbers, 0.9, method="inverted_cdf")
        if not cut:
            assert page.values["lengths", dialect, "longest"] == numbers.max()
            assert page.values["lengths", dialect, "trained"] == sum(int(each.loss_mask.sum()) for each in encoded)


def test_percentages_are_those_of_their_numbers(page, plain):
    for (table, row, column), text in page.texts.items():
        if column == "share" and table in ("turns", "used", "subsets"):
            share = 100 * page.values[table, row, "rows"] / len(plain)
            assert text == (f"{share:.1f} %" if share >= 0.05 else "< 0.1 %")


def read_csv(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("stem", ["toucan_analysis", "toucan_analysis_phase1"])
def test_the_csv_has_the_plans_columns_and_its_counts_are_right(folder, plain, stem):
    lines = read_csv(folder / "out" / f"{stem}.csv")
    assert tuple(lines[0]) == COLUMNS
    assert COLUMNS == ("subset", "filter_type", "filter_value", "sample_count", "percentage", "notes")
    rows = plain if stem == "toucan_analysis" else [row for row in plain if row["turns"] == 1]
    for line in lines:
        of = [row for row in rows if line["subset"] in ("all", row["subset"])]
        expected = sum(matches(row, line["filter_type"], line["filter_value"]) for row in of)
        assert int(line["sample_count"]) == expected, line
        assert line["percentage"] == f"{100 * expected / len(of):.2f}"
    assert len({tuple(line.values())[:3] for line in lines}) == len(lines)
    assert {line["subset"] for line in lines} == {"all", *(row["subset"] for row in rows)}


def matches(row, kind, value):
    """Whether a row is one of those that a line of the CSV counts, by the words of the line."""
    fields = {
        "tools used": "used",
        "tools annotated": "annotated",
        "tools offered": "offered",
        "parallel calls": "parallel",
    }
    if kind == "rows":
        return True
    if kind in (*fields, "turns", "calls"):
        return str(row[fields.get(kind, kind)]) == value
    if kind in ("used x offered", "annotated x offered"):
        name = kind.split(" ")[0]
        return f"{name}={row[name]} offered={row['offered']}" == value
    used = row["annotated"] if kind.endswith("annotation") else row["used"]
    if kind.startswith("at most"):
        most_used, most_offered = (int(part.split("<=")[1]) for part in value.split(" "))
        return used <= most_used and row["offered"] <= most_offered
    assert kind.startswith("project filter")
    least = 0 if "<=" in value else 1
    return row["turns"] == 1 and least <= used <= 2 and least <= row["offered"] <= 3


def test_the_page_of_phase_1_holds_the_single_turn_rows(folder, plain):
    page = Numbers(folder / "out" / "toucan_analysis_phase1.html")
    single = sum(row["turns"] == 1 for row in plain)
    assert page.table("turns") == {"1": single}
    assert page.values["outcomes", "not single-turn", "rows"] == len(plain) - single
    assert page.values["tile", "rows-read", "value"] == len(toucan_rows())


def test_two_runs_and_any_number_of_processes_write_the_same_bytes(folder):
    assert analyze_toucan.main([*flags(folder, "again"), "--workers", "2"]) == 0
    first = {path.name: path.read_bytes() for path in (folder / "out").rglob("toucan_analysis.*")}
    second = {path.name: path.read_bytes() for path in (folder / "again").rglob("toucan_analysis.*")}
    assert first == second
    assert len(first) == 2
    plots = {path.name: path.read_bytes() for path in (folder / "out" / "toucan_analysis_plots").iterdir()}
    assert plots == {path.name: path.read_bytes() for path in (folder / "again" / "toucan_analysis_plots").iterdir()}
    assert len(plots) == 5


def test_the_page_loads_nothing_and_runs_nothing(folder, page):
    text = (folder / "out" / "toucan_analysis.html").read_text(encoding="utf-8")
    assert "default-src 'none'" in text
    assert page.alone()
    assert page.tags["svg"] == 5
    assert "url(http" not in text
    assert "<!DOCTYPE" not in text[20:]


HOSTILE = '</pre><script>alert(1)</script>"><img src=x onerror=alert(1)>\u202e\x1b[31m{{ 7*7 }}'


def test_what_rows_say_is_shown_as_text_and_never_as_markup(tmp_path, folder):
    rows = [
        {
            "id": HOSTILE,
            "source": HOSTILE,
            "tools": [{"name": HOSTILE, "parameters": {"properties": {HOSTILE: {"type": HOSTILE}}}}],
            "messages": [
                {"role": "user", "content": HOSTILE},
                {"role": "assistant", "tool_calls": [{"name": HOSTILE, "arguments": {HOSTILE: HOSTILE}}]},
            ],
        }
    ]
    path = tmp_path / "rows & <b>.jsonl"
    path.write_text("\n".join(map(json.dumps, [*rows, 3])) + "\n{" + HOSTILE, encoding="utf-8")
    words = ["--source", "openai-jsonl", "--input", str(path), "--output", str(tmp_path / "out")]
    assert analyze.main([*words, "--model", str(folder / "tokenizer"), "--dialects", "hermes"]) == 0
    page = Numbers(tmp_path / "out" / "analysis.html")
    assert not page.tags.keys() & {"script", "img"}
    text = (tmp_path / "out" / "analysis.html").read_text(encoding="utf-8")
    assert "\u202e" not in text
    assert "\x1b" not in text
    assert "\\x1b[31m" in text
    assert "49" not in text.split("<section", 1)[1].split("{{", 1)[0][-20:]
    assert page.values["tile", "rows", "value"] == 1
    assert all(
        not line["subset"].startswith(("=", "+", "-", "@")) for line in read_csv(tmp_path / "out" / "analysis.csv")
    )


def test_lengths_are_measured_on_a_sample_of_about_the_asked_size(folder):
    assert analyze.main([*flags(folder, "sampled"), "--length-rows", "60"]) == 0
    page = Numbers(folder / "sampled" / "analysis.html")
    n = page.values["lengths", "gemma_json", "rows"]
    assert 40 <= n <= 80
    assert sum(page.table("turns").values()) > 2 * n


def test_nothing_is_overwritten_and_mistakes_are_named(folder, tmp_path):
    with pytest.raises(FileError, match=r"toucan_analysis\.html exists already"):
        analyze_toucan.main(flags(folder, "out"))
    with pytest.raises(ConfigError, match=r"hermez.*length_rows.*workers"):
        analyze.main(["--input", "x", "--dialects", "hermez", "--length-rows", "0", "--workers", "0"])
    with pytest.raises(FileError, match="absent"):
        analyze.main(["--input", str(tmp_path / "absent.jsonl"), "--model", str(folder / "tokenizer")])
    (tmp_path / "bad.jsonl").write_text('{"messages": "["}\n')
    with pytest.raises(DataError, match=r"no row to analyse \(1 x messages are not valid JSON\)"):
        words = ["--source", "openai-jsonl", "--input", str(tmp_path / "bad.jsonl"), "--output", str(tmp_path / "o")]
        analyze.main([*words, "--model", str(folder / "tokenizer")])


def test_the_commands_are_known_to_the_console(capsys):
    assert {"analyze", "check"} <= set(cli.COMMANDS)
    script = Path(analyze_toucan.__file__)
    done = subprocess.run([sys.executable, str(script), "--help"], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert "analyze_toucan.py" in done.stdout

"""Text made safe to show."""

from gemma_tool_use.visible import one_line, visible


def test_what_steers_a_terminal_or_rearranges_a_page_becomes_an_escape():
    assert visible("a\x1b[31m\x00\u202eb\ud800\u200b") == "a\\x1b[31m\\x00\\u202eb\\ud800\\u200b"
    assert visible("two\nlines\tü 天") == "two\nlines\tü 天"
    assert visible("two\nlines", keep="") == "two\\nlines"


def test_one_line_is_cut_at_its_length():
    assert one_line("two\nlines", 80) == "two⏎lines"
    assert one_line("abcdef", 6) == "abcdef"
    assert one_line("abcdefg", 6) == "abcde…"
    assert len(one_line("\x00" * 1000, 10)) == 10

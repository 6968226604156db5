"""Which texts suit a parameter that is called `city`, `recipient_email` or `start_date`.

source_for_name(["recipient", "email"])   draws   greta@example.com
"""

from collections.abc import Sequence

from gemma_tool_use.data.synthetic import values
from gemma_tool_use.data.synthetic.values import Mix, Pool, Source, listed

_WORDS = Pool(
    listed("""
    maple; harbour; copper; meadow; lantern; violet; granite; orchard; falcon; amber; cedar; ribbon; summit; velvet
    breeze; coral; walnut; comet; thistle; marble; canyon; saffron; pebble; willow; anchor; juniper; ember; prairie
    cobalt; tulip; glacier; birch; quartz; mango; ferry; crystal; poppy; timber; lagoon; sable; clover; raven; silver
    dune; hazel; panda; compass; nectar; ivory; delta
    """)
)
_LAST_NAMES = Pool(
    listed("""
    Okafor; Lindqvist; Moreau; Tanaka; Silva; Novak; Haddad; Berg; Rossi; Kim; Weber; Osei; Kaya; Larsen; Duarte
    """)
)
_MAIL_NAMES = Pool(
    listed("""
    anna; omar; lucia; wei; priya; tom; fatima; kofi; hana; marek; zoe; sam; yuki; nadia; pedro; greta; ruth; ben
    """)
)
_COUNTRIES = Pool(listed("Norway; Kenya; Peru; Japan; Brazil; Egypt; Canada; Spain; Vietnam; Poland; Ghana; Chile"))
_LANGUAGES = Pool(listed("French; Spanish; Japanese; Swahili; German; Hindi; Polish; Arabic; Korean; Turkish"))
_CURRENCIES = Pool(listed("EUR; USD; JPY; GBP; NOK; CHF; INR; BRL; KES; CAD"))
_COLOURS = Pool(listed("red; green; blue; orange; purple; teal; black; white; yellow; pink"))
_TICKERS = Pool(listed("AAPL; GOOG; MSFT; TSLA; NVDA; AMZN; NFLX; INTC; ORCL; SAP"))
_ZONES = Pool(listed("Europe/Oslo; Asia/Tokyo; America/Lima; Africa/Cairo; Asia/Dubai; Europe/Rome"))
_STREETS = Pool(listed("Oak; Mill; Park; King; Lake; Church"))

_NUMBERS = Pool(str(n) for n in range(1001, 1900, 7))
_SMALL = Pool(str(n) for n in range(1, 250, 3))
_YEARS, _MONTHS, _DAYS, _HOURS = (
    Pool(f"{n:02d}" for n in numbers) for numbers in (range(2019, 2031), range(1, 13), range(1, 29), range(24))
)
_MINUTES = Pool(f"{n:02d}" for n in range(0, 60, 5))
_HEX = Pool(f"{n * 2654435761 % 2**32:08x}" for n in range(1, 60))

_NAMES = Mix(["{first} {last}"], first=Pool(values.NAMES), last=_LAST_NAMES)
_DATES = Mix(["{y}-{m}-{d}"], y=_YEARS, m=_MONTHS, d=_DAYS)
_TIMES = Mix(["{h}:{m}"], h=_HOURS, m=_MINUTES)
_DATE_TIMES = Mix(["{date}T{time}:00Z"], date=_DATES, time=_TIMES)
_EMAILS = Mix(["{name}@example.com", "{name}.{word}@example.org"], name=_MAIL_NAMES, word=_WORDS)
_URLS = Mix(["https://www.example.com/{word}", "https://{word}.example.org/{n}"], word=_WORDS, n=_NUMBERS)
_HOSTS = Mix(["{word}.example.org"], word=_WORDS)
_UUIDS = Mix(["{a}-1c5f-4e2a-9b7d-{b}4f21"], a=_HEX, b=_HEX)
_IPV4 = Mix(["192.0.2.{n}", "198.51.100.{n}"], n=_SMALL)
_PHONES = Mix(["+1 555 010 {n}"], n=_NUMBERS)
_ADDRESSES = Mix(["{n} {name} Street"], n=_SMALL, name=_STREETS)
_FILES = Mix(["{word}_{n}.pdf", "{word}.txt", "{word}-{n}.csv"], word=_WORDS, n=_NUMBERS)
_IDS = Mix(["{letter}-{n}"], letter=Pool("ABCDEF"), n=_NUMBERS)

_FORMATS: dict[str, Source] = {
    "date": _DATES,
    "time": Mix(["{time}:00Z"], time=_TIMES),
    "date-time": _DATE_TIMES,
    "email": _EMAILS,
    "uri": _URLS,
    "url": _URLS,
    "uuid": _UUIDS,
    "hostname": _HOSTS,
    "ipv4": _IPV4,
}

# The first line that shares a word with the parameter's name decides, so the more telling words stand first.
_HINTS: tuple[tuple[str, Source], ...] = (
    ("email mail", _EMAILS),
    ("url uri link website webpage", _URLS),
    ("uuid guid", _UUIDS),
    ("ip", _IPV4),
    ("host hostname domain", _HOSTS),
    ("phone telephone mobile", _PHONES),
    ("datetime timestamp", _DATE_TIMES),
    ("date day deadline due", _DATES),
    ("timezone tz zone", _ZONES),
    ("time", _TIMES),
    ("city location place destination origin town departure arrival", values.LOCATIONS),
    ("country nation", _COUNTRIES),
    ("address street", _ADDRESSES),
    ("currency", _CURRENCIES),
    ("language lang locale", _LANGUAGES),
    ("color colour", _COLOURS),
    ("ticker symbol stock", _TICKERS),
    ("file filename path document", _FILES),
    ("expression formula equation", values.Expressions()),
    ("query question search topic keyword term", values.QUERIES),
    ("prompt", values.PROMPTS),
    ("text message body content description note comment sentence input", values.SPEECHES),
    ("title subject headline heading", Pool(values.TOPICS)),
    ("voice", values.VOICES),
    ("id identifier number code reference", _IDS),
    ("name person user author recipient customer contact attendee guest", _NAMES),
)


def source_for_format(name: object) -> Source | None:
    """Texts of a JSON Schema `format`; None for one that is not known, which the schema lets readers ignore."""
    return _FORMATS.get(name) if isinstance(name, str) else None


def source_for_name(words: Sequence[str]) -> Source:
    """Texts that suit a parameter with these words in its name; plain nouns when none of them tells anything."""
    return next((source for hints, source in _HINTS if set(hints.split()) & set(words)), _WORDS)

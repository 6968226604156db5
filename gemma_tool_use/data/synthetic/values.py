"""The values that synthetic requests are about: cities, expressions, search queries, faulty sentences, image prompts.

Every fifth value of a pool is kept for the held-out split, so half of the held-out values were never trained on:

    LOCATIONS.draw(random.Random(0), "heldout")   ->   Value("Kanazawa")

A `Value` is the text that stands in the request and in the call, and, where the tool's answer depends on it, the truth
that belongs to it (the corrected sentence, the value of the expression).
"""

import abc
import dataclasses
import itertools
import random
from collections.abc import Iterable
from fractions import Fraction
from typing import Literal, final

Split = Literal["train", "heldout"]
RESERVED_EVERY = 5
UNSEEN_SHARE = 0.5


@dataclasses.dataclass(frozen=True)
class Value:
    """Text copied verbatim into request and call; `truth` is what a perfect tool would answer about it."""

    text: str
    truth: str = ""


class Source(abc.ABC):
    """Where the values of one argument come from."""

    @abc.abstractmethod
    def draw(self, rng: random.Random, split: Split) -> Value:
        """One value that the split may use."""


@final
class Pool(Source):
    """A fixed list; every fifth value is unseen in training, and held-out rows take an unseen one half of the time."""

    def __init__(self, values: Iterable[Value | str]):
        every = [value if isinstance(value, Value) else Value(value) for value in values]
        self.unseen = every[RESERVED_EVERY - 1 :: RESERVED_EVERY]
        self.seen = [value for i, value in enumerate(every) if i % RESERVED_EVERY != RESERVED_EVERY - 1]

    def draw(self, rng: random.Random, split: Split) -> Value:
        unseen = split == "heldout" and rng.random() < UNSEEN_SHARE
        return rng.choice(self.unseen if unseen else self.seen)


@final
class Choice(Source):
    """A closed list (an enum): both splits use all of it, because an enum has no unseen members."""

    def __init__(self, values: Iterable[str]):
        self.values = [Value(value) for value in values]

    def draw(self, rng: random.Random, split: Split) -> Value:
        return rng.choice(self.values)


@final
class Mix(Source):
    """Texts put together from pools: `Mix(["{a} in {b}"], a=Pool(["a fox"]), b=Pool(["the snow"]))`."""

    def __init__(self, patterns: Iterable[str], **parts: Source):
        self.patterns = list(patterns)
        self.parts = parts

    def draw(self, rng: random.Random, split: Split) -> Value:
        values = {name: part.draw(rng, split).text for name, part in self.parts.items()}
        return Value(rng.choice(self.patterns).format_map(values))


@final
class Expressions(Source):
    """Arithmetic such as `(18 + 24) * 3`, with its value to at most four decimals as the truth."""

    def draw(self, rng: random.Random, split: Split) -> Value:
        a, b, c = (self._number(rng) for _ in range(3))
        first, second = rng.choice("+-*/"), rng.choice("+-*")
        x, y, z = Fraction(a), Fraction(b), Fraction(c)
        shape = rng.randrange(6)
        if shape == 0:
            text, value = f"({a} {first} {b}) {second} {c}", _apply(second, _apply(first, x, y), z)
        elif shape == 1:
            text, value = f"{a} * ({b} {second} {c})", x * _apply(second, y, z)
        elif shape == 2:
            power = rng.choice((2, 3))
            base = rng.randint(2, 30)
            text, value = f"{base} ** {power} {second} {c}", _apply(second, Fraction(base**power), z)
        else:
            text, value = f"{a} {first} {b}", _apply(first, x, y)
        return Value(text.replace(" ", "") if rng.random() < 0.25 else text, _decimal(value))

    @staticmethod
    def _number(rng: random.Random) -> str:
        if rng.random() < 0.15:
            return f"{rng.randint(1, 99)}.{rng.randint(1, 9)}"
        return str(rng.randint(2, 99) if rng.random() < 0.7 else rng.randint(100, 2500))


def _apply(operator: str, x: Fraction, y: Fraction) -> Fraction:
    return {"+": x + y, "-": x - y, "*": x * y, "/": x / y}[operator]


def _decimal(value: Fraction) -> str:
    return str(int(value)) if value.denominator == 1 else f"{float(value):.4f}".rstrip("0").rstrip(".")


def listed(text: str) -> list[str]:
    """`listed("a b; c")` gives `["a b", "c"]`; a line end separates like a semicolon."""
    return [item.strip() for item in text.replace("\n", ";").split(";") if item.strip()]


CITY_NAMES = listed("""
    Oslo; Paris; Tokyo; Lima; Kanazawa; Nairobi; São Paulo; New York; Zürich; Tromsø; Cairo; Berlin; Cape Town; Montréal
    Ålesund; Madrid; Seoul; Buenos Aires; Kraków; Reykjavík; Delhi; Rome; Hanoi; Mexico City; Malmö; Chicago; Dublin
    Istanbul; Bogotá; Gothenburg; Lagos; Vienna; Sydney; San Francisco; Düsseldorf; Mumbai; Prague; Jakarta; Los Angeles
    Córdoba; Toronto; Athens; Manila; Salt Lake City; Nîmes; Boston; Lisbon; Bangkok; Rio de Janeiro; Łódź; Houston
    Helsinki; Karachi; New Orleans; Besançon; Denver; Warsaw; Taipei; Kuala Lumpur; Brașov; Seattle; Brussels; Accra
    Ho Chi Minh City; Jönköping; Miami; Budapest; Osaka; Port Elizabeth; Orléans; Phoenix; Stockholm; Dhaka; Addis Ababa
    Cádiz; Atlanta; Copenhagen; Beijing; Tel Aviv; Asunción; Dallas; Amsterdam; Shanghai; San Diego; Mérida; Austin
    Munich; Hong Kong; Abu Dhabi; Curaçao; Nashville; Hamburg; Singapore; Las Vegas; Tórshavn; Memphis; Geneva; Kyoto
    Santo Domingo; Győr; Portland, Oregon; Naples; Sapporo; Punta Arenas; León; Paris, Texas; Barcelona; Busan; Quito
    Santa Cruz; Valparaíso; Seville; Chennai; Fort Worth; Würzburg; Anchorage; Porto; Kolkata; Saint Petersburg; Plzeň
    Honolulu; Marseille; Lahore; Kansas City; Ålborg; Detroit; Lyon; Kathmandu; Wellington; Bodø; Cleveland; Bordeaux
    Tbilisi; Guatemala City; Saint-Étienne; Minneapolis; Bilbao; Yerevan; San Antonio; Umeå; Halifax; Edinburgh; Tunis
    Panama City; Niš; Vancouver; Glasgow; Casablanca; Johannesburg; Târgu Mureș; Calgary; Cardiff; Dakar; Perth
    Skagen; Cambridge, Massachusetts; Bristol; Kampala; Florence, Italy; Pécs; Winnipeg; Leeds; Algiers; Brisbane
""")

TOPICS = listed("""
    electric cars; solar panels; the Roman Empire; black holes; sourdough bread; coral reefs; the Silk Road; green tea
    vertical farming; the Eiffel Tower; jazz music; honey bees; quantum computers; the Great Barrier Reef; wind turbines
    marathon training; volcanoes; the Vikings; heat pumps; ancient Egypt; chess openings; sea turtles; the moon landing
    lithium batteries; Japanese gardens; glaciers; the Berlin Wall; indoor plants; night trains; the human brain
    medieval castles; penguins; cloud storage; the Olympic Games; olive oil; urban beekeeping; Mount Everest; tides
    the printing press; dark matter; bamboo flooring; polar bears; the Panama Canal; yoga; the northern lights; dolphins
""")
PRODUCTS = listed("""
    hiking boots; noise cancelling headphones; budget laptops; running shoes; espresso machines; board games; tents
    electric bikes; desk lamps; cookbooks; backpacks; robot vacuums; winter jackets; standing desks; baby strollers
""")
BUYERS = listed("beginners; students; travellers; commuters; families; older adults; small budgets; teachers")
TASKS = listed("""
    repair a bicycle tyre; grow tomatoes on a balcony; remove coffee stains; tie a bow tie; write a cover letter
    bake focaccia; train a puppy; clean a cast iron pan; build a bookshelf; learn the guitar; prune an apple tree
    start a podcast; knit a scarf; fold a fitted sheet; sharpen kitchen knives; renew a passport; descale a kettle
""")
TITLES = listed("""
    opening hours of the Louvre; winner of the 1998 World Cup; author of Moby Dick; height of Kilimanjaro
    Python 3.12 release notes; train strikes in France; visa rules for Brazil; vegan lasagna recipe; population of Ghana
    lyrics of Bohemian Rhapsody; tallest building in the world; symptoms of hay fever; rules of cricket; jobs in Toronto
    Nobel Prize in Physics 2023; cheap flights to Athens; history museums in Vienna; Kubernetes ingress tutorial
    average rent in Berlin; founder of the Red Cross; pet friendly hotels in Cornwall; next total solar eclipse
    used camper vans; James Webb telescope images; phone number of the city library; best ramen in Kyoto
""")
QUERIES = Pool(
    [
        item
        for items in itertools.zip_longest(
            TITLES,
            [f"{pattern} {topic}" for topic, pattern in zip(TOPICS, itertools.cycle(("news about", "history of")))],
            TOPICS,
            [f"how to {task}" for task in TASKS],
            [
                f"best {product} for {buyer}"
                for product, buyer in zip(PRODUCTS * 3, itertools.cycle(BUYERS), strict=False)
            ],
            [f"{product} reviews" for product in PRODUCTS],
        )
        for item in items
        if item is not None
    ]
)

_SHE = ("She", "He", "My brother", "Our teacher", "The neighbour", "My aunt")
_THEY = ("They", "We", "My parents", "The children", "The players", "Our guests")
_FAULTS: tuple[tuple[str, str, tuple[str, ...], tuple[str, ...]], ...] = (
    ("{a} go to {b} every day.", "{a} goes to {b} every day.", _SHE, ("school", "the gym", "work", "the market")),
    ("{a} don't like {b}.", "{a} doesn't like {b}.", _SHE, ("mushrooms", "loud music", "cold soup", "Mondays")),
    ("{a} was late for {b}.", "{a} were late for {b}.", _THEY, ("the meeting", "dinner", "the bus", "the wedding")),
    ("{a} has already seen {b}.", "{a} have already seen {b}.", _THEY, ("this film", "the report", "the letter")),
    ("{a} have a new {b}.", "{a} has a new {b}.", _SHE, ("bicycle", "job", "phone", "kitchen")),
    ("Yesterday {a} buyed {b}.", "Yesterday {a} bought {b}.", ("I", "we", "she"), ("a lamp", "two tickets", "bread")),
    ("I have three {a} and two {b}.", "I have three {a}s and two {b}s.", ("cat", "book", "cup"), ("dog", "pen", "hat")),
    ("This {a} is more better than the {b} one.", "This {a} is better than the {b} one.",
     ("phone", "recipe", "song", "plan"), ("old", "first", "last")),
    ("There is many {a} in the {b}.", "There are many {a} in the {b}.", ("people", "birds"), ("park", "street")),
    ("I am agree with {a} about {b}.", "I agree with {a} about {b}.", ("you", "him", "Maria"), ("the price", "that")),
    ("We was waiting for {a} since {b}.", "We were waiting for {a} since {b}.", ("you", "the bus"), ("noon", "May")),
    ("{a} can sings very {b}.", "{a} can sing very {b}.", _SHE, ("well", "loudly", "softly")),
    ("Me and {a} is going to {b}.", "{a} and I are going to {b}.", ("Tom", "Lucy", "Ahmed"), ("Rome", "the beach")),
    ("I forgetted my {a} at {b}.", "I forgot my {a} at {b}.", ("keys", "umbrella", "bag"), ("home", "the office")),
    ("He didn't went to {a} on {b}.", "He didn't go to {a} on {b}.", ("class", "the party"), ("Friday", "Sunday")),
    ("The {a} is very expensives in {b}.", "The {a} is very expensive in {b}.", ("rent", "food"), ("London", "summer")),
    ("Their going to {a} with there {b}.", "They're going to {a} with their {b}.", ("Spain", "work"), ("kids", "dog")),
    ("She sing {a} then I does {b}.", "She sings {a} then I do {b}.", ("first", "badly"), ("the dishes", "the same")),
)  # fmt: skip
# Faults side by side would put whole faults into one split; the stride walks through all of them.
_PAIRS = [
    Value(wrong.format(a=a, b=b), right.format(a=a, b=b)) for wrong, right, aa, bb in _FAULTS for a in aa for b in bb
]
SENTENCES = Pool(_PAIRS[i * 89 % len(_PAIRS)] for i in range(len(_PAIRS)))

SUBJECTS = Pool(
    listed("""
    a red fox; an old lighthouse; a sleeping cat; two robots; a hot air balloon; a wooden bridge; a tiny dragon
    a yellow bicycle; a steam train; an astronaut; a stone cottage; a family of owls; a sailing boat; a giant pumpkin
    a knight on a horse; a bowl of cherries; a curious penguin; a flower market; a grand piano; a polar bear
    a glass of lemonade; a blue whale; a desert camel; three kites; a mushroom house; a busy harbour; a white wolf
    a city tram; an ancient temple; a basket of kittens
    """)
)
SCENES = Pool(
    listed("""
    in the snow; at sunset; on the moon; in a quiet forest; under a starry sky; by the sea; in heavy rain; on a hill
    in a field of sunflowers; at night; in front of mountains; beside a waterfall; in a crowded street; in autumn
    above the clouds; on a frozen lake; inside a library; at dawn; in thick fog; with fireworks in the background
    """)
)
NAMES = listed("""
    Anna; Omar; Lucía; Wei; Björn; Priya; Tom; Fatima; Kofi; Hana; Marek; Zoe; Ibrahim; Élodie; Sam; Yuki; Nadia; Pedro
    Greta; Tariq; Ruth; Minh; Chloé; Viktor; Aisha; Ben; Ingrid; Mateo; Leila; Jonas
""")
LOCATIONS = Pool(CITY_NAMES)
PROMPTS = Mix(["{subject} {scene}", "{subject} {scene}", "{subject}"], subject=SUBJECTS, scene=SCENES)
VOICES = Pool(listed("""
    Nova; Orion; Stella; Atlas; Juno; Felix; Iris; Hugo; Clara; Milo; Sage; Echo; Ruby; Dorian; Luna; Oscar; Vera
    Jasper; Willow; Basil
"""))  # fmt: skip
SPEECHES = Mix(
    listed("""
    Good morning, {name}. Your breakfast is ready.; Happy birthday, {name}!; The train to {city} is about to leave.
    Please fasten your seat belts.; Welcome to {city}.; {name}, your taxi is waiting outside.; The talk starts soon.
    Dinner is ready in {n} minutes.; Attention please, the shop closes in {n} minutes.; Thank you for calling, {name}.
    The guided tour starts in room {n}.; Turn left after {n} metres.; Your parcel has arrived, {name}.
    Do not forget the milk.; Flight {n} to {city} is now boarding.; Good night, {name}, sleep well.
    Congratulations, {name}, you won!; Please keep the door closed.; We arrive in {city} in {n} minutes.
    Water the plants before you leave, {name}.; Lesson {n} begins now.; Greetings from {city}!
    """),
    name=Pool(NAMES),
    city=Pool(name for name in CITY_NAMES if "," not in name),
    n=Pool(str(n) for n in range(5, 65, 3)),
)
UNITS = Choice(("celsius", "fahrenheit"))
STYLES = Choice(("watercolor", "cartoon", "pixel art", "oil painting", "sketch", "photo"))

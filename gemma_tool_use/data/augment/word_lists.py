"""English words by what they tell about tools and requests; `words.py` and `parallel.py` use them.

TOPICS["forecast"] == TOPICS["weather"]     # True: both are of one topic
"""

_STOP = """
a able about above access according across add after all allow allowing allows along also an and any api app
application apply are argument arguments as at available base based be been before between both but by call can
change check code command complete contain containing could create creates current custom data default define delete
deletes describe detail detailed details did different do does each edit either enter etc every example execute
false fetch fetches field fields file filter find finds first following for format from full function generate get
gets give given handle has have help her here him his how i id identifier identify if in include including index
info information input inside instance into is it item items its just key kind last let level like limit list lists
load look make manage many max maximum may me method min minimum mode more most multiple my name need new next no
not number object of off on one only open operation option optional options or other our out output over page param
parameter parameters per perform please process property provide provided provides query read receive record remove
report request required resource respond response result results retrieve retrieves return returned returns run same
save search see select send server service set setting several she should show shows simple single some specific
specified specify start status step stop string structure submit such support supported sure system take target tell
text than that the their them then there these they thing this those through time to tool tools top total true two
type under unique up update updates us use used user uses using valid value values various via view want was way we
were what when where whether which while who whose why will with within without would write you your
"""
_GENERAL = """
agent ai answer ask assistant bash bing browse browser chat code crawl curl download duckduckgo eval exec finish
google gpt graphql http https internet javascript knowledge llm memory perplexity prompt python question reason
reasoning rpc scrape scraper script sequential shell sql tavily terminal think thinking thought url web webpage
website wiki wikipedia wolfram
"""
_ASKS_ANYBODY = """
bing chatgpt claude duckduckgo gemini google gpt internet llm openai perplexity serpapi tavily web wikipedia
"""
_LEANING = """
above again also another attached below both earlier finally first following former he her here him his instead it
its latter otherwise previous previously same she that them then there these they this those
"""
_PLAIN_STARTS = """
add analyze book calculate can check compare compute convert could create delete determine fetch find generate get
give how identify list look obtain perform play please provide retrieve schedule search send set show tell translate
turn update what what's when where which who
"""
# One topic a line, continued where indented; a word may belong to several.
_TOPICS = """
weather forecast temperature climate rain snow humidity wind meteorological
stock share ticker equity quote portfolio dividend nasdaq market trading trade crypto bitcoin coin token price
    pricing cost finance financial exchange currency money dollar usd eur forex rate conversion bank banking
    payment invoice loan mortgage interest tax budget expense tip bill
translate translation language translator dictionary definition synonym thesaurus word meaning
flight airline airport airplane travel trip hotel booking accommodation itinerary vacation tourism destination
    tourist
movie film cinema imdb tv series show actor
music song artist album lyric playlist spotify track concert
recipe food meal cook cooking ingredient nutrition calorie diet restaurant dish drink cocktail
email mail message sms inbox notification chat slack telegram contact
calendar event meeting appointment schedule reminder alarm timer clock timezone date day hour holiday
map location place geocode address latitude longitude coordinate route direction distance navigation city
    country region
news headline article journal newspaper blog post
paper arxiv pubmed publication citation scholar research study literature academic scientific
math calculator calculate arithmetic sum addition subtract multiply divide equation algebra square root
    factorial statistic mean median average geometry area volume compute number prime
image picture photo photograph draw drawing png jpeg
video youtube clip stream
health medical doctor patient disease symptom drug medicine hospital clinical bmi fitness workout exercise
sport football soccer basketball nba league team player match tournament game gaming
random dice roll lottery
password encrypt decrypt hash security vulnerability cipher
repository github git commit branch issue pull
product shop shopping store ecommerce order purchase cart amazon customer
job employment career salary resume hiring employee
book library author novel isbn reading
car vehicle automobile driving traffic parking
convert conversion converter unit measurement length weight mile kilometer celsius fahrenheit
joke quote fact trivia fun
animal dog cat pet breed species
database sql table schema postgres mysql mongodb
light lamp thermostat smart device home door lock
domain dns ip whois network host website site
law legal court statute regulation
school student course university education teacher grade
"""

STOP = frozenset(_STOP.split())
"""Words that say nothing about what a tool is for."""

GENERAL = frozenset(_GENERAL.split())
"""Words in the names of tools that could answer nearly anything."""

ASKS_ANYBODY = frozenset(_ASKS_ANYBODY.split())
"""Words in the descriptions of tools that search or ask elsewhere for whatever they are given."""

LEANING = frozenset(_LEANING.split())
"""A request with one of these leans on something outside of it, or means something else beside another request."""

PLAIN_STARTS = frozenset(_PLAIN_STARTS.split())
"""First words of a request that may be lower-cased; any other may be a name."""

TOPICS: dict[str, frozenset[str]] = {}
"""`TOPICS["forecast"]` is `{"topic 0"}`, the same as for "weather"."""
for _number, _line in enumerate(_TOPICS.replace("\n    ", " ").strip().split("\n")):
    for _word in _line.split():
        TOPICS[_word] = TOPICS.get(_word, frozenset()) | {f"topic {_number}"}

"""Messages that need no tool: small talk, requests for a text the model writes itself, and simple facts.

`TALK` is answered whatever tools are offered, `FACTS` only where none of them could be meant (not beside a web search).
`{name}` is a first name; `{x}` and `{y}` are the two sides of one entry of a fact table.

    ("Hi, I'm {name}.", "Hello {name}! What can I do for you?")
"""

import dataclasses
from collections.abc import Mapping

from gemma_tool_use.data.synthetic.values import NAMES, Pool, Split, Value

FIRST_NAMES = Pool(NAMES)

TALK: Mapping[Split, tuple[tuple[str, str], ...]] = {
    "train": (
        ("Hello!", "Hello! How can I help you?"),
        ("Hi, I'm {name}.", "Hello {name}! What can I do for you?"),
        ("Good morning", "Good morning! What can I do for you today?"),
        ("Hey, how are you?", "I'm doing well, thank you. How can I help?"),
        ("Thanks a lot!", "You're welcome!"),
        ("Thank you, that was helpful.", "Glad I could help!"),
        ("My friend {name} says hi.", "How nice! Please say hi to {name} from me."),
        ("Bye!", "Goodbye! Have a nice day."),
        ("See you tomorrow.", "See you tomorrow!"),
        ("Who are you?", "I'm an assistant. I can answer questions and use the tools I'm given."),
        ("Are you a robot?", "I'm a computer program, an AI assistant."),
        ("Do you like music?", "I can't hear music, but I like talking about it."),
        ("Tell me a joke.", "Why did the bicycle fall over? Because it was two-tired."),
        ("I'm bored.", "How about a walk, a good book, or calling a friend?"),
        ("I had a great day today.", "That's wonderful! What was the best part?"),
        ("I feel a bit sad.", "I'm sorry to hear that. Do you want to talk about it?"),
        ("I got a new job!", "Congratulations! I hope you enjoy it."),
        ("{name} and I are getting married!", "Congratulations to you and {name}!"),
        ("What should I name my dog?", "How about Biscuit, Rocky or Luna?"),
        ("Suggest a birthday present for {name}.", "A good book, a plant or a nice dinner would please {name}."),
        ("I can't decide between tea and coffee.", "Tea if you want to relax, coffee if you need to wake up."),
        ("What's a good way to relax?", "Take a slow walk, breathe deeply, or listen to quiet music."),
        ("Wish me luck!", "Good luck! You can do it."),
        ("It's my birthday today.", "Happy birthday! I hope you have a lovely day."),
        ("You are funny.", "Thank you! I do my best."),
        ("Write me one line for a thank-you card.", "Thank you for your kindness; it meant a lot to me."),
        ("Give me a motto for the week.", "One small step every day."),
        ("Can you keep a secret?", "I won't repeat it in this conversation, but please don't share anything private."),
        ("I'm {name} and I'm new here.", "Welcome, {name}! Ask me anything."),
        ("What can I cook with eggs and potatoes?", "A Spanish omelette: fry the potatoes, add the eggs, cook slowly."),
        ("Ok, sounds good.", "Great! Let me know if you need anything else."),
        ("Never mind.", "No problem."),
        ("Sorry, my mistake.", "No worries at all."),
        ("Do you dream?", "No, I don't sleep, so I don't dream."),
        ("Tell me something nice.", "You are doing better than you think."),
        ("How do I make new friends?", "Join a club or a course, and say yes to invitations."),
    ),
    "heldout": (
        ("Hi there!", "Hi! How can I help you?"),
        ("Good evening, my name is {name}.", "Good evening, {name}! What can I do for you?"),
        ("Thank you very much.", "You're welcome!"),
        ("Goodbye and take care.", "Goodbye! Take care too."),
        ("What's up?", "Not much! What can I do for you?"),
        ("Are you a human?", "No, I'm an AI assistant."),
        ("Do you have a favourite colour?", "I don't see colours, but blue is a popular choice."),
        ("Make me laugh.", "What do you call a sleeping bull? A bulldozer."),
        ("I'm a little tired today.", "Then take it easy and rest a little."),
        ("I passed my exam!", "Congratulations! Well done."),
        ("What's a good name for a cat?", "How about Pepper, Misty or Tiger?"),
        ("What could I give {name} for the new flat?", "A plant or a nice set of mugs would be a good present."),
        ("How can I fall asleep faster?", "Keep your room dark and put your phone away an hour before bed."),
        ("That's all for now.", "All right! Have a nice day."),
        ("Give me a nice line for a wedding card.", "May your love grow with every year."),
        ("I'm happy to meet you, I'm {name}.", "Nice to meet you too, {name}!"),
    ),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class FactTable:
    """Questions about one relation; a `Value` holds x as text and y as truth."""

    train: tuple[str, ...]
    heldout: tuple[str, ...]
    reply: str
    entries: Pool

    def questions(self, split: Split) -> tuple[str, ...]:
        return self.train if split == "train" else self.heldout


def _entries(text: str) -> Pool:
    return Pool(Value(*(side.strip() for side in entry.split(":"))) for entry in text.split(";"))


FACTS: tuple[FactTable, ...] = (
    FactTable(
        train=("What is the capital of {x}?", "Which city is the capital of {x}?", "capital of {x}?"),
        heldout=("Can you name the capital of {x}?", "What's {x}'s capital city?"),
        reply="The capital of {x} is {y}.",
        entries=_entries("""France: Paris; Japan: Tokyo; Kenya: Nairobi; Peru: Lima; Norway: Oslo; Egypt: Cairo
            ; Canada: Ottawa; Spain: Madrid; Greece: Athens; Cuba: Havana; Poland: Warsaw; Chile: Santiago; Italy: Rome
            ; Austria: Vienna; Portugal: Lisbon; Finland: Helsinki; Hungary: Budapest; Ireland: Dublin; Ghana: Accra
            ; Thailand: Bangkok; Australia: Canberra; Sweden: Stockholm; Morocco: Rabat; Nepal: Kathmandu; Iraq: Baghdad
        """),
    ),
    FactTable(
        train=('What is the opposite of "{x}"?', 'Give me the opposite of "{x}".', "Name an antonym of {x}."),
        heldout=('Which word means the opposite of "{x}"?', 'Do you know the opposite of "{x}"?'),
        reply='The opposite of "{x}" is "{y}".',
        entries=_entries("""hot: cold; big: small; early: late; happy: sad; open: closed; fast: slow; light: dark
            ; strong: weak; full: empty; rich: poor; loud: quiet; wide: narrow; soft: hard; wet: dry; young: old
            ; cheap: expensive; near: far; clean: dirty; brave: afraid; sweet: sour"""),
    ),
    FactTable(
        train=("What do you call a baby {x}?", "What is a young {x} called?"),
        heldout=("Which word do we use for a baby {x}?", "Name the young of a {x}."),
        reply="A baby {x} is called a {y}.",
        entries=_entries("""cow: calf; sheep: lamb; horse: foal; dog: puppy; cat: kitten; goat: kid; bear: cub
            ; deer: fawn; duck: duckling; frog: tadpole; pig: piglet; kangaroo: joey; swan: cygnet; lion: cub
            ; goose: gosling"""),
    ),
    FactTable(
        train=("Explain the word {x} in one sentence.", "What does the word {x} mean?"),
        heldout=("Can you tell me the meaning of the word {x}?", "Define {x} in a few words."),
        reply="The word {x} means {y}.",
        entries=_entries("""brief: short in time; ancient: very old; enormous: very big; fragile: easily broken
            ; annual: happening once a year; scarce: hard to find; reluctant: not willing; generous: glad to give
            ; vivid: bright and clear; humid: damp and warm; rapid: very fast; nocturnal: active at night
            ; edible: fit to be eaten; polite: showing good manners; stubborn: not willing to change one's mind
        """),
    ),
)

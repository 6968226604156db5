"""Who asks, how, and at what length: what makes the teacher's requests differ from one another."""

PERSONAS = (
    "a nurse between two shifts",
    "a student who writes on a phone",
    "the owner of a small bakery",
    "a retired engineer who likes precision",
    "a parent in a hurry",
    "a project manager in a software company",
    "a farmer far from the next town",
    "a journalist close to a deadline",
    "a tourist in a foreign city",
    "an office assistant who does this every day",
    "a data scientist who is used to terse commands",
    "a musician on tour",
    "a teacher preparing a lesson",
    "a lawyer who writes formally",
    "someone who has never used an assistant before",
    "a lorry driver at a rest stop",
    "a shop assistant in front of a customer",
    "a system administrator at night",
    "a volunteer who organises events",
    "a doctor dictating",
    "a teenager with a new hobby",
    "a buyer in a purchasing department",
    "a researcher who gives context first",
    "a person with little patience",
)

STYLES = (
    "a plain question",
    "a short command",
    "polite, with please or thank you",
    "casual, as in a chat with a friend",
    "formal",
    "lower case with little punctuation",
    "the reason first, then the request",
    "the request first, then a detail that matters",
    "a wish in the first person",
    "an indirect question",
    "keywords rather than sentences",
    "a statement of a problem from which the request follows",
)

LENGTHS = (
    "up to 8 words",
    "8 to 15 words",
    "one sentence of 10 to 20 words",
    "two sentences",
    "three or four sentences, with a detail that does not matter",
)

"""What users say in the held-out split; none of it may stand in synthetic/wordings_train.py."""

from collections.abc import Mapping

from gemma_tool_use.data.synthetic.wordings import Wordings

HELDOUT: Mapping[str, Wordings] = {
    "get_weather": Wordings(
        requests=(
            "How does the weather look in {location}?",
            "Would you look up the weather conditions in {location}?",
            "I'm going for a walk in {location}. What is the weather doing?",
            "{location}: what's the weather?",
            "Fetch the weather report for {location}.",
            "Is it sunny in {location} at the moment?",
            "Please check how hot it is in {location}.",
            "How hot is it in {location} in {unit}?",
            "Let me know the temperature in {location}, in {unit} please.",
            "I'd like the weather for {location}. Show it in {unit}.",
        ),
        clauses=(
            "find out the weather in {location}",
            "give me the weather for {location}",
            "check the temperature in {location} in {unit}",
        ),
        pairs=(
            "How is the weather in {location}, and how is it in {location_2}?",
            "Check the weather for both {location} and {location_2}.",
        ),
        missing=(
            "How is the weather today?",
            "What's the temperature in {unit}?",
            "Should I take an umbrella?",
        ),
    ),
    "calculate": Wordings(
        requests=(
            "What does {expression} equal?",
            "Compute the value of {expression}.",
            "Help me calculate {expression}, please.",
            "Quick question: how much is {expression}?",
            "I can't do {expression} in my head. What's the result?",
            "Would you solve {expression} for me?",
            "Give me the answer to {expression}.",
            'Please evaluate "{expression}".',
        ),
        clauses=(
            "find the value of {expression}",
            "give me the result of {expression}",
            "figure out {expression}",
        ),
        pairs=(
            "Tell me {expression} and also {expression_2}.",
            "Please compute both {expression} and {expression_2}.",
        ),
        missing=(
            "I have to calculate something. Can you help?",
            "Solve the equation for me.",
            "What's the result of the sum?",
        ),
    ),
    "search_web": Wordings(
        requests=(
            "Find {query} on the web.",
            "Would you search online for {query}?",
            "Look up {query} for me.",
            "I'd like to know more about {query}. Please search the internet.",
            'Do an internet search for "{query}".',
            "search online: {query}",
            "Could you find some web pages about {query}?",
            "Get me search results on {query}.",
        ),
        clauses=(
            "search online for {query}",
            "look for {query} on the web",
            "find web pages about {query}",
        ),
        pairs=(
            'Do a web search for "{query}" and another for "{query_2}".',
            "Find information online about {query} and {query_2}.",
        ),
        missing=(
            "Can you search the internet for me?",
            "Do a quick web search, please.",
            "Look it up online.",
        ),
    ),
    "correct_grammar": Wordings(
        requests=(
            "Please fix the grammar of this sentence: {text}",
            'Correct my sentence: "{text}"',
            'Would you check the grammar in "{text}"?',
            "My English is not perfect. Please correct this: {text}",
            'What are the mistakes in "{text}"? Fix them.',
            "Please proofread the following sentence.\n{text}",
            "Fix this sentence: {text}",
            'I want to post "{text}" but the grammar is bad. Correct it.',
        ),
        clauses=(
            'fix the grammar mistakes in "{text}"',
            'correct the sentence "{text}"',
            'repair the grammar of "{text}"',
        ),
        pairs=(
            'Please check the grammar of both "{text}" and "{text_2}"',
            'Correct "{text}" and then "{text_2}"',
        ),
        missing=(
            "Could you correct my sentence?",
            "Check my English, please.",
            "I made a grammar mistake. Fix it.",
        ),
    ),
    "generate_image": Wordings(
        requests=(
            "Make an image of {prompt}.",
            "Please draw me {prompt}.",
            "Could you generate a picture showing {prompt}?",
            "I want to see {prompt}. Draw it.",
            "Create a picture with {prompt} for a birthday card.",
            "picture of {prompt}, please",
            "Please generate {prompt} in {style} style.",
            "Create an image of {prompt} and use the {style} style.",
            "Can you draw {prompt}? I'd like it in {style} style.",
        ),
        clauses=(
            "draw a picture of {prompt}",
            "create a picture showing {prompt}",
            "generate {prompt} in {style} style",
        ),
        pairs=(
            "Please draw both {prompt} and {prompt_2}.",
            "Create two images, first {prompt}, then {prompt_2}.",
        ),
        missing=(
            "Could you draw a picture for me?",
            "I'd like an image in {style} style.",
            "Please generate a new picture.",
        ),
    ),
    "text_to_speech": Wordings(
        requests=(
            'Please say "{text}" out loud.',
            "Read the following text aloud: {text}",
            'Would you turn the text "{text}" into audio?',
            "Create an audio recording of this sentence: {text}",
            'How does "{text}" sound when spoken? Make a clip.',
            "Please speak this text: {text}",
            "With the voice {voice}, read this aloud: {text}",
            'Turn "{text}" into speech using the voice {voice}.',
            'Please say "{text}" in the voice {voice}.',
        ),
        clauses=(
            'speak the text "{text}"',
            'convert "{text}" to audio',
            'say "{text}" using the voice {voice}',
        ),
        pairs=(
            'Please record "{text}" and "{text_2}" as two audio clips.',
            'First say "{text}", then say "{text_2}"',
        ),
        missing=(
            "Please read my text out loud.",
            "Could you make an audio file with the voice {voice}?",
            "I want to hear my text spoken.",
        ),
    ),
}

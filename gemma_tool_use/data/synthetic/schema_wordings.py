"""What users say to a tool that is known only by its schema, and which first words of a tool's name are verbs.

{action} is an imperative (`create a calendar event`), {Action} the same with a capital letter; {details} names the
arguments (`title "tides" and date 2026-03-14`). The BARE ones are for calls without arguments.
"""

from collections.abc import Mapping

from gemma_tool_use.data.synthetic.values import Split, listed

# A tool that reads answers with a value, one that does something with a reference.
READING = frozenset(
    listed("""
    analyze; calculate; check; compare; compute; convert; count; describe; detect; download; estimate
    evaluate; explain; extract; fetch; find; get; list; look; lookup; measure; parse; query; read; retrieve
    scan; search; show; summarize; translate; validate
    """)
)
DOING = frozenset(
    listed("""
    activate; add; apply; approve; archive; assign; block; book; build; buy; call; cancel; change; clear
    close; commit; configure; copy; correct; create; delete; deploy; disable; draw; edit; enable; export
    generate; import; insert; install; invite; invoke; join; launch; like; lock; make; mark; merge; modify
    move; open; order; pay; pin; play; post; publish; push; put; record; register; remind; remove; rename
    render; replace; reply; report; request; reserve; reset; resize; restart; rotate; run; save; schedule
    send; set; share; start; stop; store; submit; subscribe; switch; sync; tag; test; toggle; track; train
    transfer; turn; undo; unlock; update; upload; use; write
    """)
)

WITH: Mapping[Split, tuple[str, ...]] = {
    "train": (
        "{Action} with {details}.",
        "Please {action} with {details}.",
        "Can you {action} with {details}?",
        "I need you to {action}: {details}",
        "{action}: {details}",
        "{Action}. {Details}.",
        "Could you {action} for me? {Details}.",
        "I want to {action} using {details}.",
        "With {details}, {action}.",
        "Here are the details: {details}. Now {action}.",
        "{Action} please, {details}.",
        "Would you please {action}? The details are {details}.",
    ),
    "heldout": (
        "{Action} using {details}.",
        "Please {action}. Use {details}.",
        "I'd like to {action} with {details}.",
        "Help me to {action}. {Details}.",
        "My input is {details}. Please {action}.",
        "Go ahead and {action} with {details}.",
    ),
}
BARE: Mapping[Split, tuple[str, ...]] = {
    "train": (
        "{Action}.",
        "Please {action}.",
        "Can you {action}?",
        "{action}",
        "I need you to {action}.",
        "{Action} now.",
    ),
    "heldout": ("I'd like you to {action}.", "Would you {action}?", "Go ahead and {action}."),
}
CLAUSES: Mapping[Split, tuple[str, ...]] = {
    "train": ("{action} with {details}", "{action} ({details})", "{action} given {details}"),
    "heldout": ("{action} using {details}", "{action} based on {details}"),
}
BARE_CLAUSES = ("{action}",)
DETAILS = ("{label} {value}", "{label}: {value}", "{label} = {value}")
QUESTIONS = ("What is the {label}?", "Which {label} should I use?", "Please tell me the {label}.")
REFUSALS = ("I have no tool to {action}.", "Sorry, none of my tools can {action}.", "I can't {action} here.")
FOUND = ("The result is {value}.", "I got {value}.", "It says {value}.")
DONE = ("Done. The reference is {value}.", "That worked; the reference is {value}.", "All set: {value}.")

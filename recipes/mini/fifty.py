"""Stage 12: the answers to fifty questions to the demo's documents, for somebody to read.

    python recipes/mini/fifty.py .demo/index [--model MODEL]    # after `make demo`

They are about Python's standard library and this project, and more than half come after others, on
which many depend. No measure tells what reading tells.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from uniconv.model import UniConv
from uniconv.retrieval.interface import Index
from uniconv.search import ConversationalSearch
from uniconv.types import Conversation

CONVERSATIONS = (
    ("How do I compress data with gzip?", "How do I decompress it again?"),
    ("How do I read a CSV file as dictionaries?", "And how do I write one?"),
    ("How do I compute the median of some numbers?", "And the mode?"),
    ("How do I create a temporary directory?", "When is it deleted?"),
    ("How do I send an email with SMTP?", "How do I log in?", "Does it support encryption?"),
    ("What does textwrap.dedent do?", "How do I indent text instead?"),
    ("How can I run a function in another thread?", "How do I wait until it is done?"),
    ("How do I parse a JSON string?", "And how do I write it with indentation?"),
    ("How do I copy a whole directory tree?", "How do I remove one?"),
    ("What is a deque?", "How do I rotate it?", "Can its length be bounded?"),
    ("How do I get the current working directory?", "How do I change it?"),
    ("How do I pick a random element of a list?", "And several without repetition?"),
    ("How do I make a hash of a file's content?", "Which algorithms are available?"),
    ("How do I measure how long a small piece of code takes?", "How often is it run?"),
    ("What does functools.lru_cache do?", "How do I clear it?", "What is a partial function?"),
    ("How do I match a pattern at the start of a string?", "How do I replace all matches?"),
    ("How do I open a web page in a browser?", "And how do I download it?"),
    ("How do I find the greatest common divisor?", "And the least common multiple?"),
    ("How do I unpack a zip archive?", "How do I list what is in it?"),
    ("How do I count how often each word occurs?", "Which are the most common ones?"),
    ("What is context identification?", "What does it cost?"),
    ("How do I index a folder of documents?", "Can several processes do it?"),
    (
        "What is a shared cache good for?",
        "How much memory does it take?",
        "What happens when it is full?",
    ),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("index", type=Path)
    parser.add_argument("--model", default="embedded", help="the one that made the index")
    arguments = parser.parse_args()
    model = UniConv.from_pretrained(arguments.model)
    search = ConversationalSearch(model, Index.open(arguments.index))
    number = 0
    for questions in CONVERSATIONS:
        conversation: Conversation | None = None
        for question in questions:
            number += 1
            asked = conversation.ask(question) if conversation else Conversation.start(question)
            answer = search.ask(asked)
            print(f"{number:2} {'  ' if conversation else ''}{question}")
            print("     ", " ".join(answer.text.split()))
            conversation = asked.answer(answer.text)


if __name__ == "__main__":
    main()

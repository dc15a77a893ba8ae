"""The same conversations with the model here and with a server such as vLLM: what differs.

    uniconv export embedded --out merged-model
    uniconv index docs --out my-index --model merged-model
    vllm serve merged-model --port 8001 --enable-prompt-tokens-details
    vllm serve merged-model --port 8002 --runner pooling
    python benchmarks/remote.py my-index --generator-url http://localhost:8001/v1 \\
        --embeddings-url http://localhost:8002/v1

Prints how many of the answers (greedy) are the same, the largest difference of an embedding's
value, how many tokens of prompts the server knew beside those of the turn before, which it can
know, and the seconds of stages. Both see the same conversations: those of the model here.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

from uniconv.cli.searches import open_search
from uniconv.remote.settings import RemoteSettings
from uniconv.retrieval.interface import Index
from uniconv.types import Conversation

FOLLOW_UPS = ("Can you say more about that?", "Why is that?", "And what follows from it?")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("index", type=Path)
    parser.add_argument("--generator-url", required=True)
    parser.add_argument("--embeddings-url")
    parser.add_argument("--conversations", type=int, default=10)
    parser.add_argument("--turns", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    remote = RemoteSettings(
        generator_url=options.generator_url, embeddings_url=options.embeddings_url
    )
    topics = Index.open(options.index).sample_passages(options.conversations, seed=options.seed)
    same = turns = 0
    differences = []
    known: dict[int, list[tuple[int, int, int]]] = {}
    seconds: dict[str, list[float]] = {}
    with (
        open_search(options.index, None, 3, RemoteSettings()) as here,
        open_search(options.index, None, 3, remote) as there,
    ):
        for number, passage in enumerate(topics):
            talk = Conversation.start(f"What about {passage.title or passage.text[:60]}?")
            before = 0
            for turn in range(options.turns):
                expected, found = here.ask(talk), there.ask(talk)
                turns, same = turns + 1, same + (found.text == expected.text)
                if found.text != expected.text:
                    print(f"{expected.text!r}\n  {found.text!r}", file=sys.stderr)
                pair = [one.model.read(talk).embedding for one in (here, there)]
                differences.append(float(np.abs(pair[0] - pair[1]).max()))
                usage = found.usage
                counts = (usage.cached_tokens, before, usage.prompt_tokens)
                known.setdefault(turn, []).append(counts)
                before = len(here.model.template.conversation(talk))
                for where, answer in (("here", expected), ("there", found)):
                    for stage in ("read", "total"):
                        seconds.setdefault(f"{where} {stage}", []).append(answer.timings[stage])
                talk = talk.answer(expected.text).ask(FOLLOW_UPS[(number + turn) % 3])
    print(f"{same} of {turns} answers are the same")
    print(f"embeddings differ by {max(differences):.1e} at most")
    for turn, counts_of_turn in known.items():
        cached, before, prompt = np.mean(counts_of_turn, axis=0)
        print(
            f"turn {turn + 1}: of {prompt:.0f} prompt tokens {cached:.0f} were known there; the "
            f"turn before had {before:.0f}"
        )
    for name, values in seconds.items():
        print(f"{name}: {np.median(values):.3f} s (median)")


if __name__ == "__main__":
    main()

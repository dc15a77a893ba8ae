"""The commands: thin functions that bind the library's to the terminal (``uniconv --help``)."""

from __future__ import annotations

import os
import sys

from uniconv.errors import UniConvError


def main() -> None:
    """Runs a command. A user's mistake is told in one sentence (exit status 2)."""
    from tyro.conf import OmitArgPrefixes

    from uniconv.cli.commands import app

    # Libraries' warnings to developers are none to users.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    try:
        app.cli(
            prog="uniconv",
            description="Retrieve for a conversation and answer with citations.",
            config=(OmitArgPrefixes,),
        )
    except UniConvError as error:
        if os.environ.get("LOCAL_RANK", "0") == "0":  # of several processes one tells it
            print(f"uniconv: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("\nuniconv: interrupted; the same command goes on where it can", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        # The reader of our output left (as `head` does): there is nobody to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)

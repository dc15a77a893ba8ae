"""What was freed goes back to the operating system.

Glibc keeps it for the thread that freed it, and answers leave memory of all sizes behind in many
threads: what is in use stays the same, and the process grows for hours.
"""

from __future__ import annotations

import ctypes
import sys
from asyncio import sleep, to_thread

SECONDS = 5.0
"""Between two times. Each takes milliseconds, and what is given back must be asked for again."""


async def stay_small() -> None:
    """Gives back what is free, again and again, where the C library can be told to."""
    library = libc()
    while library is not None:
        await sleep(SECONDS)
        await to_thread(give_back, library)


def give_back(library: ctypes.CDLL) -> None:
    """Gives back all whole pages that are free, of all threads."""
    library.malloc_trim(0)


def libc() -> ctypes.CDLL | None:
    """Glibc, if that is what memory comes from."""
    if sys.platform != "linux":
        return None
    library = ctypes.CDLL(None)
    return library if hasattr(library, "malloc_trim") else None

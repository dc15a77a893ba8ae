"""``python -m uniconv``: the commands."""

from uniconv.cli import main

main()

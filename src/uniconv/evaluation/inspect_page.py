"""One HTML file of inspected turns that a browser opens without network.

Nothing in the data can become markup or script: it lies in the page as JSON whose ``<``, ``>`` and
``&`` are escaped, the script puts it in place as text, and the page's security policy allows this
one script and style sheet, told by their hashes, and no request at all.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
from collections.abc import Mapping
from importlib.resources import files
from string import Template
from typing import Any

_ESCAPES = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"})


def render_page(title: str, data: Mapping[str, Any]) -> str:
    """The page; ``data`` is what ``page/turn.js`` and ``page/list.js`` read."""
    style = _asset("page.css")
    script = _asset("turn.js") + _asset("list.js")
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return Template(_asset("page.html")).substitute(
        title=html.escape(title),
        style=style,
        style_hash=_hash(style),
        script=script,
        script_hash=_hash(script),
        data=text.translate(_ESCAPES),
    )


def _asset(name: str) -> str:
    return (files("uniconv.evaluation") / "page" / name).read_text("utf-8")


def _hash(text: str) -> str:
    """As a content security policy names an inline script or style."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()

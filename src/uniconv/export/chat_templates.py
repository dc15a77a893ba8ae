"""A frame as a chat template (Jinja), the form in which other programs keep a prompt's format."""

from __future__ import annotations

import json
from dataclasses import asdict

from uniconv.frames import Frame

_PROMPT = """
{{- start -}}
{%- for message in messages -%}
{%- if message.role == 'user' -%}
{{- user_open ~ message.content | trim ~ user_close -}}
{%- elif message.role == 'assistant' -%}
{{- assistant_open ~ message.content | trim ~ assistant_close -}}
{%- endif -%}
{%- endfor -%}
{%- if documents -%}
{{- passages_open -}}
{%- for document in documents -%}
{%- set title = (document.title | trim ~ '\\n') if document.title else '' -%}
{{- passage_open ~ '[' ~ loop.index ~ '] ' ~ title ~ document.text | trim ~ passage_close -}}
{%- endfor -%}
{{- passages_close -}}
{%- endif -%}
{%- if add_generation_prompt -%}{{- assistant_open -}}{%- endif -%}
"""

_EMBEDDED = """
{%- if task == 'query' -%}
{{- start ~ cut -}}
{%- for message in messages -%}
{%- if message.role == 'user' -%}
{{- user_open ~ cut ~ message.content | trim ~ cut ~ user_close ~ cut -}}
{%- elif message.role == 'assistant' -%}
{{- assistant_open ~ cut ~ message.content | trim ~ cut ~ assistant_close ~ cut -}}
{%- endif -%}
{%- endfor -%}
{%- else -%}
{{- document_start ~ cut ~ passage_open ~ cut -}}
{{- messages[0].content | trim ~ cut ~ passage_close ~ cut -}}
{%- endif -%}
{{- marker -}}
"""


def chat_template(frame: Frame) -> str:
    """Renders a prompt as :meth:`uniconv.templates.Template.prompt` does, but cuts nothing.

    Passages come from the variable ``documents``, which transformers and vLLM hand to templates,
    each with ``text`` and perhaps ``title``. Roles other than user and assistant are left out.
    """
    return _constants(asdict(frame)) + _PROMPT.strip()


def embedding_template(frame: Frame, cut: str) -> str:
    """Renders what is embedded: a conversation where ``task`` is ``query``, otherwise a passage.

    ``cut`` stands between the pieces of text that UniConv tokenises one by one.
    """
    return _constants({**asdict(frame), "cut": cut}) + _EMBEDDED.strip()


def _constants(values: dict[str, str]) -> str:
    return "".join(
        f"{{%- set {name} = {json.dumps(text, ensure_ascii=False)} -%}}\n"
        for name, text in values.items()
    )

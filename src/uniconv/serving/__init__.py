"""The HTTP server: OpenAI's chat completions over a conversational search (docs/serving.md)."""

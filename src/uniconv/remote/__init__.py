"""A model whose LM runs in other servers, such as vLLM, that speak OpenAI's protocol."""

"""What an untrained model starts with, so that it need not find everything itself.

Token embeddings come from the teacher: the embedding of each token's string, refined so that the
mean of a text's tokens is near the teacher's embedding of the text (as in Model2Vec and
Tokenlearn). Two circuits can be written into the attention weights, for budgets too small to find
them: heads that find an earlier copy of the last two tokens and repeat what followed it (induction,
Olsson et al. 2022), and heads by which the marker averages all tokens, weighted by how telling
each is. The marker looks at the first token, whose values are empty, with the heads that copy, and
the other tokens with those that average (an attention sink, Xiao et al. 2023). The rest is random.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from packed import DIMENSIONS
from torch import Tensor
from torch.nn.functional import cosine_similarity, embedding_bag, normalize
from transformers import LlamaConfig, LlamaForCausalLM

RESERVED = 3  # the last dimensions of an embedding carry no meaning: flag, weight, constant
SCALE = 0.05  # of embeddings, so that tied logits start in a useful range
HEAD = 64
CIRCUITS = DIMENSIONS // HEAD + 1  # layers that have written circuits: what averages, and one more


def initial(
    config: LlamaConfig, table: Tensor | None, marker: int, circuits: bool, seed: int = 0
) -> LlamaForCausalLM:
    """A model of ``config``; ``table`` are token vectors [v, k], or None for random embeddings.

    Circuits need heads of width 64 and token vectors.
    """
    torch.manual_seed(seed)
    model = LlamaForCausalLM(config)
    if table is not None:
        matrix = embed_tokens(table, marker, config.bos_token_id, config.hidden_size)
        model.model.embed_tokens.weight.data.copy_(matrix)
    if circuits:
        if table is None or config.head_dim != HEAD:
            raise ValueError("circuits need token vectors and attention heads of width 64")
        write_circuits(model)
    return model


def refine(
    tokens: Tensor, texts: Sequence[Sequence[int]], targets: Tensor, epochs: int = 6
) -> Tensor:
    """Token vectors [v, k] whose sums over ``texts`` point to ``targets`` [n, k]."""
    table = tokens.clone().requires_grad_()
    optimizer = torch.optim.Adam([table], lr=0.004)
    generator = torch.Generator().manual_seed(0)
    for epoch in range(epochs):
        total = 0.0
        for rows in torch.randperm(len(texts), generator=generator).split(256):
            ids = [torch.tensor(texts[row]) for row in rows.tolist()]
            offsets = torch.tensor([0, *(len(i) for i in ids[:-1])]).cumsum(0)
            means = embedding_bag(torch.cat(ids), table, offsets, mode="mean")
            loss = 1 - cosine_similarity(means, targets[rows]).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(rows)
        print(f"epoch {epoch + 1}: 1 - cosine {total / len(texts):.4f}", flush=True)
    return table.detach()


def embed_tokens(table: Tensor, marker: int, first: int, width: int) -> Tensor:
    """The embedding matrix [v, width] made of refined token vectors [v, k].

    Where k is less than the width allows the rest is noise, else the last dimensions are lost. The
    marker and the ``first`` token of every sequence have opposite flags and no meaning. Their flags
    are large, and so is the average beside what layers write into the marker while they learn.
    """
    meaning = width - RESERVED
    flag, weight_at, constant = range(meaning, width)
    generator = torch.Generator().manual_seed(1)
    norms = table.norm(dim=-1, keepdim=True).clamp_min(1e-4)
    matrix = torch.zeros(len(table), width)
    kept = min(meaning, table.shape[1])
    known = torch.zeros(len(table), meaning)
    known[:, :kept] = normalize(table[:, :kept], dim=-1)
    noise = torch.randn(len(table), meaning, generator=generator)
    if kept < meaning:
        noise[:, :kept] = 0
    matrix[:, :meaning] = normalize(known + 0.4 * normalize(noise, dim=-1), dim=-1)
    matrix *= 16
    weight = norms.log()[:, 0]
    matrix[:, weight_at] = (weight - weight.mean()).clamp(-3, 3)
    matrix[:, constant] = 3
    matrix[[marker, first]] = 0
    matrix[marker, flag] = 120
    matrix[first, flag] = -120
    return matrix * SCALE


@torch.no_grad()
def write_circuits(model: LlamaForCausalLM) -> None:
    """Writes the circuits into the attention weights of ``model``.

    The first layers average the teacher's dimensions, then come the heads that copy, so that what
    is averaged is still what the tokens mean.
    """
    meaning = model.config.hidden_size - RESERVED
    model.model.norm.weight.fill_(2)
    model.model.norm.weight[meaning:] = 0.05
    generator = torch.Generator().manual_seed(2)
    random = torch.randn(meaning, meaning, generator=generator)
    read, one, two, value = torch.linalg.qr(random)[0][:160].split((32, 32, 32, 64))
    for layer in model.model.layers:
        layer.mlp.down_proj.weight.mul_(0.1)
        attention = layer.self_attn
        for projection in ("q_proj", "k_proj", "v_proj", "o_proj"):
            getattr(attention, projection).weight.normal_(0, 0.002, generator=generator)
        for reading in (attention.v_proj, layer.mlp.gate_proj, layer.mlp.up_proj):
            reading.weight[:, meaning:] = 0
    layers = [layer.self_attn for layer in model.model.layers[:CIRCUITS]]
    for number, attention in enumerate(layers[:-1]):
        _average(attention, slice(HEAD * number, HEAD * number + HEAD), meaning)
    first, second = layers[-2:]
    first.v_proj.weight[:32, :meaning] += read
    first.k_proj.weight[:8, meaning + 2] = 2.2
    _look_back(first, 0, 1, one)
    _look_back(first, 1, 2, two)
    _induce(second, read, one, two, value)
    for attention in layers:
        _sink(attention, meaning)


def _heads(attention: torch.nn.Module, group: int) -> range:
    """The first rows of the heads of queries that share a group's keys and values."""
    size = HEAD * (attention.config.num_attention_heads // attention.config.num_key_value_heads)
    return range(size * group, size * (group + 1), HEAD)


def _average(attention: torch.nn.Module, part: slice, meaning: int) -> None:
    """The marker's heads of the second group average ``part`` of the tokens by their weight."""
    heads, whole = _heads(attention, 1), torch.eye(HEAD)
    attention.k_proj.weight[HEAD + 31, meaning + 1] = 0.7
    attention.v_proj.weight[HEAD : 2 * HEAD, part] += whole
    for head in heads:
        attention.q_proj.weight[head + 31, meaning] = 0.7
        attention.o_proj.weight[part, head : head + HEAD] += whole / len(heads)


def _sink(attention: torch.nn.Module, meaning: int) -> None:
    """The marker's heads of the first group look at the first token, others' of the second.

    Only the marker has a flag above zero, and only it and the first token lack the constant.
    """
    for group, reads in ((0, meaning), (1, meaning + 2)):
        attention.k_proj.weight[HEAD * group + 31 - group, meaning] = -1.6
        for head in _heads(attention, group):
            attention.q_proj.weight[head + 31 - group, reads] = 1.6


def _look_back(attention: torch.nn.Module, head: int, distance: int, write: Tensor) -> None:
    """``head`` writes what its values hold of the token ``distance`` before to ``write``.

    A constant query turned back by ``distance`` positions fits the keys there best, because rotary
    embeddings turn both by their positions.
    """
    angles = distance * 10_000.0 ** (-torch.arange(8) / 32)
    rows = HEAD * head + torch.arange(8)
    attention.q_proj.weight[rows, -1] = 2.2 * angles.cos()
    attention.q_proj.weight[rows + 32, -1] = -2.2 * angles.sin()
    attention.o_proj.weight[:-RESERVED, HEAD * head : HEAD * head + 32] += 0.18 * write.T


def _induce(
    attention: torch.nn.Module, read: Tensor, one: Tensor, two: Tensor, value: Tensor
) -> None:
    """Heads 0 and 1 look at what followed this token and the one before it, and copy it.

    A key holds the two tokens before its own; a query holds its own token and the one before.
    """
    # These dimensions hardly turn with the position.
    near, far = torch.arange(16, 31), torch.arange(48, 63)
    attention.k_proj.weight[near, :-RESERVED] += 3 * one[:15]
    attention.k_proj.weight[far, :-RESERVED] += 3 * two[:15]
    attention.v_proj.weight[:64, :-RESERVED] += 5 * value
    for start in (0, HEAD):
        attention.q_proj.weight[start + near, :-RESERVED] += 3 * read[:15]
        attention.q_proj.weight[start + far, :-RESERVED] += 3 * one[:15]
        attention.q_proj.weight[start + 31, -1] = 0.9
        attention.o_proj.weight[:-RESERVED, start : start + 64] += 0.1 * value.T

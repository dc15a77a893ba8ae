"""Stage 4: an untrained model that starts with what would take a small budget long to find.

    python recipes/mini/initialise.py OUT

Token embeddings come from the teacher: the embedding of each token's string, refined so that the
mean of a text's tokens is near the teacher's embedding of the text (as in Model2Vec and
Tokenlearn). Three circuits are written into the attention weights, everything else is random:
heads that look at the two previous tokens, heads that find an earlier copy of the last two tokens
and repeat what followed it (induction, Olsson et al. 2022), and heads by which the marker averages
all tokens, weighted by how telling each is. Writes ``OUT/init``.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from teacher import read_shards
from text import read_lines
from tokenizer import FRAME
from torch import Tensor
from torch.nn.functional import cosine_similarity, embedding_bag, normalize
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerBase

from uniconv.model import Settings, UniConv
from uniconv.templates import Limits, Template

FLAG, WEIGHT, CONSTANT = 253, 254, 255  # dimensions of an embedding that carry no meaning
SCALE = 0.05  # of embeddings, so that tied logits start in a useful range
HEAD = 64


def config(vocabulary: int) -> LlamaConfig:
    """The architecture: 4 layers of width 256, 4 heads of which 2 share keys and values."""
    return LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=256,
        intermediate_size=512,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=HEAD,
        max_position_embeddings=2048,
        tie_word_embeddings=True,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=4,
    )


def basis(embeddings: np.ndarray) -> np.ndarray:
    """The ``FLAG`` directions [d, FLAG] that keep most of the teacher's embeddings [n, d]."""
    wide = embeddings.astype(np.float32)
    values, vectors = np.linalg.eigh(wide.T @ wide)
    return np.ascontiguousarray(vectors[:, np.argsort(values)[::-1][:FLAG]])


def refine(tokens: Tensor, texts: list[list[int]], targets: Tensor, epochs: int = 6) -> Tensor:
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


def embed_tokens(table: Tensor, marker: int) -> Tensor:
    """The embedding matrix [v, 256] made of refined token vectors."""
    generator = torch.Generator().manual_seed(1)
    norms = table.norm(dim=-1, keepdim=True).clamp_min(1e-4)
    matrix = torch.zeros(len(table), 256)
    noise = torch.randn(len(table), FLAG, generator=generator)
    matrix[:, :FLAG] = normalize(normalize(table, dim=-1) + 0.4 * normalize(noise, dim=-1), dim=-1)
    matrix *= 16
    weight = norms.log()[:, 0]
    matrix[:, WEIGHT] = (weight - weight.mean()).clamp(-3, 3)
    matrix[:, CONSTANT] = 3
    matrix[marker] = 0
    matrix[marker, FLAG] = 12
    matrix[marker, CONSTANT] = 3
    return matrix * SCALE


@torch.no_grad()
def write_circuits(model: LlamaForCausalLM) -> None:
    """Writes the three circuits into the attention weights of ``model``."""
    model.model.norm.weight.fill_(2)
    model.model.norm.weight[FLAG:] = 0.05
    generator = torch.Generator().manual_seed(2)
    random = torch.randn(FLAG, FLAG, generator=generator)
    read, one, two, value = torch.linalg.qr(random)[0][:160].split((32, 32, 32, 64))
    for number, layer in enumerate(model.model.layers):
        attention = layer.self_attn
        layer.mlp.down_proj.weight.mul_(0.1)
        for projection in ("q_proj", "k_proj", "v_proj", "o_proj"):
            getattr(attention, projection).weight.normal_(0, 0.002, generator=generator)
        _average(attention, 1, slice(64 * number, min(64 * number + 64, FLAG)))
    first, second = (layer.self_attn for layer in model.model.layers[:2])
    first.v_proj.weight[:32, :FLAG] += read
    first.k_proj.weight[:8, CONSTANT] = 2.2
    _look_back(first, 0, 1, one)
    _look_back(first, 1, 2, two)
    _induce(second, read, one, two, value)


def _average(attention: torch.nn.Module, group: int, part: slice) -> None:
    """The marker's heads of ``group`` average ``part`` of the tokens by their weight."""
    size = part.stop - part.start
    key = HEAD * group
    attention.k_proj.weight[key + 31, WEIGHT] = 0.7
    attention.v_proj.weight[key : key + size, part] += torch.eye(size)
    for head in (2 * group, 2 * group + 1):
        attention.q_proj.weight[HEAD * head + 31, FLAG] = 0.7
        columns = slice(HEAD * head, HEAD * head + size)
        attention.o_proj.weight[part, columns] += 0.08 * torch.eye(size)


def _look_back(attention: torch.nn.Module, head: int, distance: int, write: Tensor) -> None:
    """``head`` writes what its values hold of the token ``distance`` before to ``write``.

    A constant query turned back by ``distance`` positions fits the keys there best, because rotary
    embeddings turn both by their positions.
    """
    angles = distance * 10_000.0 ** (-torch.arange(8) / 32)
    rows = HEAD * head + torch.arange(8)
    attention.q_proj.weight[rows, CONSTANT] = 2.2 * angles.cos()
    attention.q_proj.weight[rows + 32, CONSTANT] = -2.2 * angles.sin()
    attention.o_proj.weight[:FLAG, HEAD * head : HEAD * head + 32] += 0.18 * write.T


def _induce(
    attention: torch.nn.Module, read: Tensor, one: Tensor, two: Tensor, value: Tensor
) -> None:
    """Heads 0 and 1 look at what followed this token and the one before it, and copy it.

    A key holds the two tokens before its own; a query holds its own token and the one before.
    """
    # These dimensions hardly turn with the position.
    near, far = torch.arange(16, 32), torch.arange(48, 64)
    attention.k_proj.weight[near, :FLAG] += 3 * one[:16]
    attention.k_proj.weight[far, :FLAG] += 3 * two[:16]
    attention.v_proj.weight[:64, :FLAG] += value
    for start in (0, HEAD):
        attention.q_proj.weight[start + near, :FLAG] += 3 * read[:16]
        attention.q_proj.weight[start + far, :FLAG] += 3 * one[:16]
        attention.o_proj.weight[:FLAG, start : start + 64] += 0.5 * value.T


def teach_tokens(out: Path, tokenizer: PreTrainedTokenizerBase) -> tuple[Tensor, np.ndarray]:
    """Refined token vectors [v, FLAG] and the basis [d, FLAG] of the student's space."""
    token_rows = np.stack([e for _, e in read_shards(out / "teacher/tokens")])
    passages = dict(read_shards(out / "teacher/passages"))
    questions = dict(read_shards(out / "teacher/questions"))
    known = [*passages.values(), *questions.values()]
    directions = basis(np.stack(known))
    texts = [
        f"{row['title']}\n{row['text']}"
        for row in read_lines(out / "passages.jsonl")
        if row["id"] in passages
    ]
    keys = [row["id"] for row in read_lines(out / "passages.jsonl") if row["id"] in passages]
    targets = np.stack([*(passages[key] for key in keys), *questions.values()])
    ids = tokenizer([*texts, *questions], add_special_tokens=False)["input_ids"]
    kept = [row for row, sequence in enumerate(ids) if sequence]
    student = normalize(torch.tensor(targets[kept].astype(np.float32) @ directions), dim=-1)
    centred = token_rows.astype(np.float32) - token_rows.astype(np.float32).mean(0)
    table = refine(torch.tensor(centred @ directions), [ids[row][:200] for row in kept], student)
    return table, directions


def main(out: Path) -> None:
    """Writes ``out/init`` and ``out/basis.npy``."""
    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(out / "tokenizer")
    template = Template(tokenizer, FRAME, Limits(conversation=384, passage=192, response=96))
    model = LlamaForCausalLM(config(len(tokenizer)))
    table, directions = teach_tokens(out, tokenizer)
    model.model.embed_tokens.weight.data.copy_(embed_tokens(table, template.marker))
    write_circuits(model)
    np.save(out / "basis.npy", directions)
    UniConv(model, tokenizer, template, Settings(temperature=0.05)).save_pretrained(out / "init")


if __name__ == "__main__":
    main(Path(sys.argv[1]))

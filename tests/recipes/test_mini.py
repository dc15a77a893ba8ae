"""The mini recipe's parts: sentences, tokens, circuits, sequences, rows, losses."""

from __future__ import annotations

import json
import random
from pathlib import Path

import cleaning
import numpy as np
import pytest
import torch
from architecture import config
from batches import Batches
from documentation import free, package, standard_library
from initialise import RESERVED, SCALE, initial
from joint_data import window
from mini_data import paragraph
from muon import Muon
from network import (
    Learner,
    TokenLossesInParts,
    Weights,
    block_mask,
    dense_mask,
    distance_to,
    info_nce,
    states,
    token_losses,
)
from packed import Arrays, Codec, group, ragged
from pieces import GROUNDED, Vocabulary
from pretrain import schedule
from rows import Shape
from shingles import Dialogues, Duplicates
from shingles import words as words_of
from sources import answer_sentence, docstrings, medquad, squad
from text import clean, held_out, overlap, sentences
from tokenizer import FRAME, SPECIAL, train_tokenizer
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from uniconv.model import UniConv
from uniconv.templates import Limits, Template
from uniconv.types import Conversation, Passage, Turn

TEXTS = [paragraph(seed) for seed in range(24)]


@pytest.fixture(scope="module")
def words() -> PreTrainedTokenizerFast:
    return train_tokenizer(iter(TEXTS * 3), 400)


@pytest.fixture(scope="module")
def vocabulary(words: PreTrainedTokenizerFast) -> Vocabulary:
    return Vocabulary(words)


@pytest.fixture(scope="module")
def template(words: PreTrainedTokenizerFast) -> Template:
    return Template(words, FRAME, Limits(conversation=200, passage=200, response=100))


def ids(template: Template, text: str) -> np.ndarray:
    return np.array(template.content(text), np.uint16)


@pytest.fixture(scope="module")
def part(template: Template) -> Arrays:
    """A part as ``pack.py`` writes it, of the small texts."""
    titles = [ids(template, f"Place {n}\n") for n in range(len(TEXTS))]
    texts = [ids(template, text) for text in TEXTS]
    tokens, lengths = ragged([np.concatenate(both) for both in zip(titles, texts, strict=True)])
    asked = [np.array(template.conversation(Conversation("c", (Turn("When was it?"),))), np.uint16)]
    first = len(ids(template, sentences(TEXTS[0])[0]))
    title = len(titles[0])
    return {
        "tokens": tokens,
        "lengths": lengths,
        "titles": np.array([len(one) for one in titles], np.uint8),
        "kinds": np.zeros(len(TEXTS), np.uint8),
        "groups": np.array([group(str(n)) for n in range(len(TEXTS))], np.uint32),
        "taught": np.arange(0, len(TEXTS), 2, dtype=np.uint32),
        "targets": np.full((len(TEXTS) // 2, 96), 0x99, np.uint8),
        "asked": asked[0],
        "asked_lengths": np.array([len(asked[0])], np.uint32),
        "passage": np.zeros(1, np.uint32),
        "texts": tokens[: int(lengths[0])],
        "text_lengths": lengths[:1],
        "text_titles": np.array([title], np.uint8),
        "text_groups": np.array([group("0")], np.uint32),
        "answer": np.array([[title, title + first]], np.uint16),
        "paired": np.ones(1, bool),
        "asked_taught": np.zeros(1, np.uint32),
        "asked_targets": np.full((1, 96), 0x77, np.uint8),
    }


def batches(part: Arrays, vocabulary: Vocabulary, seed: int = 0) -> Batches:
    return Batches([part], vocabulary, Shape(6, 192), seed)


def test_tokens_are_reversible_and_the_same_at_the_beginning_and_in_the_middle(
    words: PreTrainedTokenizerFast,
) -> None:
    text = "The tower, opened in 1932: é 🙂"
    found = words(text, add_special_tokens=False)["input_ids"]
    assert words.decode(found).strip() == text
    tower = words("tower", add_special_tokens=False)["input_ids"]
    joined = words("bridge\ntower", add_special_tokens=False)["input_ids"]
    assert joined[-len(tower) :] == tower
    assert [words.convert_tokens_to_ids(token) for token in SPECIAL] == list(range(7))


@pytest.mark.parametrize(("size", "least", "most"), [("base", 25e6, 32e6), ("small", 9e6, 11e6)])
def test_sizes_are_what_they_are_called(size: str, least: float, most: float) -> None:
    with torch.device("meta"):
        network = LlamaForCausalLM(config(size, 16_384))
    count = sum(p.numel() for p in network.parameters())
    assert least < count < most and 2 * count <= 64_000_000
    assert network.config.num_key_value_heads < network.config.num_attention_heads
    assert network.config.tie_word_embeddings and network.config.max_position_embeddings == 2048


@pytest.mark.parametrize("size", ["base", "small"])
def test_circuits_copy_repeated_tokens_before_any_training(size: str) -> None:
    shape = config(size, 600)
    network = initial(shape, torch.randn(600, 192), marker=6, circuits=True)
    span = torch.randint(263, 600, (4, 24))
    start = torch.full((4, 1), shape.bos_token_id)
    with torch.inference_mode():
        predicted = network(torch.cat([start, span, span], dim=1)).logits[:, 25:-1].argmax(-1)
    assert (predicted == span[:, 1:]).float().mean() > 0.5


@pytest.mark.parametrize("size", ["base", "small"])
def test_circuits_make_the_marker_the_mean_of_its_tokens_before_any_training(size: str) -> None:
    shape = config(size, 600)
    table = torch.randn(600, 192) * torch.rand(600, 1)
    network = initial(shape, table, marker=6, circuits=True)
    tokens = torch.randint(263, 600, (8, 40))
    frame = torch.tensor([shape.bos_token_id]).expand(8, 1), torch.tensor([6]).expand(8, 1)
    with torch.inference_mode():
        states = network.model(torch.cat([frame[0], tokens, frame[1]], dim=1)).last_hidden_state
    means = table[tokens].mean(1)
    assert (torch.cosine_similarity(states[:, -1, :192], means) > 0.9).all()


def test_token_weights_and_the_marker_have_their_own_dimensions() -> None:
    network = initial(config("small", 400), torch.randn(400, 192), marker=6, circuits=False)
    matrix = network.model.embed_tokens.weight
    assert matrix[6, :-RESERVED].abs().max() == 0
    assert torch.allclose(matrix[10:, :-RESERVED].norm(dim=-1), torch.tensor(16 * SCALE), atol=1e-4)


def test_circuits_without_token_vectors_are_refused() -> None:
    with pytest.raises(ValueError, match="token vectors"):
        initial(config("small", 400), None, marker=6, circuits=True)


def test_sequences_are_what_the_template_makes(vocabulary: Vocabulary, template: Template) -> None:
    one, two = Passage("a", TEXTS[0], "Old mill"), Passage("b", TEXTS[1])
    talk = Conversation("c", (Turn("Who?", "The bakers."), Turn("And when was it sold?")))
    tokens = [ids(template, f"{one.title}\n{one.text}"), ids(template, two.text)]
    assert vocabulary.passage_piece(tokens[0]).ids.tolist() == template.passage(one)
    turns = [ids(template, said) for said in ("Who?", "The bakers.", "And when was it sold?")]
    assert vocabulary.query_piece(turns).ids.tolist() == template.conversation_query(talk)
    answer = sentences(TEXTS[0])[1]
    piece = vocabulary.grounded(vocabulary.conversation(turns), tokens, ids(template, answer), 1)
    assert piece.ids[: piece.first].tolist() == template.prompt(talk, [one, two])
    assert piece.ids[piece.first :].tolist() == template.response(f"{answer} [1]")


def test_sentences_of_tokens_are_sentences(vocabulary: Vocabulary, template: Template) -> None:
    tokens = ids(template, TEXTS[3])
    found = [
        template.tokenizer.decode(tokens[a:b]).strip() for a, b in vocabulary.sentences(tokens)
    ]
    assert found == sentences(TEXTS[3])


def test_keywords_are_whole_words_in_order(vocabulary: Vocabulary, template: Template) -> None:
    tokens = ids(template, TEXTS[5])
    rng = np.random.default_rng(0)
    for _ in range(20):
        said = template.tokenizer.decode(vocabulary.keywords(tokens, 3, rng)).split()
        rest = iter(TEXTS[5].replace(".", "").split())
        assert said and all(word in rest for word in said)


def test_batches_depend_on_the_seed_and_step_only(part: Arrays, vocabulary: Vocabulary) -> None:
    one, two = batches(part, vocabulary), batches(part, vocabulary)
    one[7]
    assert np.array_equal(one[2].ids, two[2].ids)
    assert not np.array_equal(one[2].ids, one[3].ids)
    assert not np.array_equal(one[2].ids, batches(part, vocabulary, seed=1)[2].ids)


def test_an_epoch_meets_every_document_once(part: Arrays, vocabulary: Vocabulary) -> None:
    source = batches(part, vocabulary)
    for epoch in range(3):
        met = [source._shuffled(epoch, place) for place in range(len(source))]
        assert sorted(met) == list(range(len(source)))


def test_rows_are_full_and_labels_follow(part: Arrays, vocabulary: Vocabulary) -> None:
    batch = batches(part, vocabulary)[0]
    assert (batch.pieces > 0).mean() > 0.9
    flat, places = batch.ids.reshape(-1), batch.labels.reshape(-1)
    wanted = np.flatnonzero(places != -100)
    assert np.array_equal(places[wanted], flat[wanted + 1])
    pieces = batch.pieces.reshape(-1)
    assert np.array_equal(pieces[wanted], pieces[wanted + 1])
    assert vocabulary.marker not in places[wanted]
    assert (flat[batch.markers] == vocabulary.marker).all()
    assert len(batch.markers) == 2 * len(batch.groups) > 0
    assert len(batch.taught) == len(batch.targets) > 0


def test_grounded_sequences_cite_the_passage_that_is_copied(
    part: Arrays, vocabulary: Vocabulary, template: Template
) -> None:
    source, rng, decode = (
        batches(part, vocabulary),
        np.random.default_rng(0),
        template.tokenizer.decode,
    )
    for _ in range(40):
        piece = source._prompt(rng)
        assert piece.kind == GROUNDED
        answer = decode(piece.ids[piece.first :], skip_special_tokens=True).strip()
        sentence, number = answer[:-1].rsplit(" [", 1)
        shown = decode(piece.ids[: piece.first]).split("<|passage|>")
        assert sentence in shown[int(number)]


def test_packed_equals_separate(part: Arrays, vocabulary: Vocabulary) -> None:
    batch = batches(part, vocabulary)[1]
    torch.manual_seed(0)
    network = LlamaForCausalLM(config("tiny", vocabulary.size)).eval()
    rows = {name: torch.from_numpy(getattr(batch, name)) for name in ("ids", "positions", "labels")}
    pieces = torch.from_numpy(batch.pieces)
    with torch.inference_mode():
        hidden = states(network, rows["ids"], rows["positions"], dense_mask(pieces))
        weights = torch.ones_like(hidden[..., 0])
        _, losses = token_losses(hidden, network.lm_head.weight, rows["labels"], weights)
        for number in range(1, 8):
            chosen = pieces == number
            if not chosen.any():
                continue  # had no room
            alone = network(rows["ids"][chosen][None])
            separate = network.model(rows["ids"][chosen][None]).last_hidden_state[0]
            assert torch.allclose(hidden[chosen], separate, atol=1e-5)
            if (wanted := rows["labels"][chosen] != -100).any():
                own = torch.nn.functional.cross_entropy(
                    alone.logits[0][wanted], rows["labels"][chosen][wanted]
                )
                assert torch.allclose(losses[chosen][wanted].mean(), own, atol=1e-5)


@pytest.mark.parametrize(("bfloat16", "close"), [(False, 1e-4), (True, 2e-2)])
def test_token_losses_in_parts_are_those_in_one_go(bfloat16: bool, close: float) -> None:
    torch.manual_seed(0)
    given = torch.randn(2, 300, 16, requires_grad=True), torch.randn(50, 16, requires_grad=True)
    labels = torch.randint(50, (2, 300))
    labels[torch.rand(2, 300) < 0.2] = -100
    weights = torch.rand(2, 300)
    found = []
    for way in (token_losses, TokenLossesInParts.apply):
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16 and way is not token_losses):
            total, losses = way(*given, labels, weights)
        (3 * total).backward()
        found.append((total.detach(), losses, *(one.grad for one in given)))
        for one in given:
            one.grad = None
    for whole, parts in zip(*found, strict=True):
        assert not parts.requires_grad and parts.dtype == torch.float32
        assert (whole - parts).norm() < close * whole.norm()


def test_blocks_of_the_mask_are_compiled_once_and_equal_the_dense_mask(
    part: Arrays, vocabulary: Vocabulary
) -> None:
    torch.manual_seed(0)
    network = LlamaForCausalLM(config("tiny", vocabulary.size)).eval()
    source = Batches([part], vocabulary, Shape(2, 256))
    torch._dynamo.reset()
    with torch.inference_mode():
        for step in range(3):
            batch = source[step]
            ids_, positions = torch.from_numpy(batch.ids), torch.from_numpy(batch.positions)
            pieces = torch.from_numpy(batch.pieces)
            network.set_attn_implementation("sdpa")
            dense = states(network, ids_, positions, dense_mask(pieces))
            network.set_attn_implementation("flex_attention")
            for layer in network.model.layers:
                layer.compile(backend="eager", dynamic=False)
            with torch._dynamo.config.patch(error_on_recompile=True):
                blocks = states(network, ids_, positions, block_mask(pieces))
            for layer in network.model.layers:
                layer._compiled_call_impl = None
            seen = pieces > 0
            assert torch.allclose(dense[seen], blocks[seen], atol=1e-5)


def test_embeddings_are_those_of_the_model_that_is_saved(
    part: Arrays, vocabulary: Vocabulary, template: Template
) -> None:
    torch.manual_seed(0)
    network = LlamaForCausalLM(config("tiny", vocabulary.size)).eval()
    codec = Codec(np.eye(384, 192, dtype=np.float32), np.ones(192, np.float32))
    learner = Learner(network, codec, torch.device("cpu"), Weights())
    batch = batches(part, vocabulary)[0]
    model = UniConv(network, template.tokenizer, template)
    at = int(batch.markers[0])
    row, column = divmod(at, batch.ids.shape[1])
    tokens = batch.ids[row][batch.pieces[row] == batch.pieces[row, column]]
    with torch.inference_mode():
        pieces = torch.from_numpy(batch.pieces)
        ids_, positions = torch.from_numpy(batch.ids), torch.from_numpy(batch.positions)
        hidden = states(network, ids_, positions, dense_mask(pieces))
        made = learner._embeddings(hidden, torch.from_numpy(batch.markers))[0]
        state = model.network.model(torch.tensor(tokens)[None]).last_hidden_state[0, -1]
    assert torch.allclose(made, state / state.norm(), atol=1e-5)


def test_copied_tokens_weigh_more_than_others(part: Arrays, vocabulary: Vocabulary) -> None:
    torch.manual_seed(0)
    network = LlamaForCausalLM(config("tiny", vocabulary.size))
    codec = Codec(np.eye(384, 192, dtype=np.float32), np.ones(192, np.float32))
    batch = batches(part, vocabulary)[0]
    copied = ((batch.kinds == GROUNDED) & (batch.labels != -100)).sum()
    others = (batch.labels != -100).sum() - copied
    assert copied > 0 and others > 0
    totals = []
    for weight in (1.0, 6.0):
        weights = Weights(grounded=weight, contrast=0, distance=0)
        learner = Learner(network, codec, torch.device("cpu"), weights)
        with torch.no_grad():
            total, report = learner.losses(batch)
        totals.append(total.item())
        rest = (report["next"] * (copied + others) - report["grounded"] * copied) / others
        mean = (weight * copied * report["grounded"] + others * rest) / (weight * copied + others)
        assert totals[-1] == pytest.approx(float(mean), rel=1e-5)
    assert totals[0] != totals[1]


def test_pairs_of_one_group_are_no_negatives() -> None:
    embeddings = torch.nn.functional.normalize(torch.randn(6, 8), dim=-1)
    apart, _ = info_nce(embeddings, torch.tensor([1, 2, 3]), 0.05)
    together, _ = info_nce(embeddings, torch.tensor([1, 1, 1]), 0.05)
    assert together.item() == pytest.approx(0, abs=1e-6) and apart > 0.01
    twins = embeddings[:3].repeat(2, 1)
    assert info_nce(twins, torch.tensor([1, 2, 3]), 0.05)[1] == 1


def test_the_teacher_binds_the_first_dimensions_only() -> None:
    targets = torch.randn(4, 3)
    embeddings = torch.cat([targets * 2, torch.randn(4, 5)], dim=1)
    assert distance_to(embeddings, targets).item() == pytest.approx(0, abs=1e-6)
    assert distance_to(-embeddings[:, :2], targets).item() == pytest.approx(2, abs=1e-6)


def test_packed_embeddings_are_near_the_originals() -> None:
    rng = np.random.default_rng(0)
    spread = rng.normal(size=(384, 384)) * np.linspace(1, 0.02, 384) ** 2
    vectors = (rng.normal(size=(2000, 384)) @ spread.T).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    codec = Codec.fit(vectors[:1500])
    back = codec.decode(codec.encode(vectors[1500:])) @ codec.basis.T
    cosine = (back * vectors[1500:]).sum(1) / np.linalg.norm(back, axis=1)
    assert codec.encode(vectors[:5]).shape == (5, 96) and cosine.mean() > 0.95


def test_the_schedule_warms_up_stays_and_falls() -> None:
    assert [schedule(step, 4) for step in range(6)] == [0.25, 0.5, 0.75, 1, 1, 1]
    falling = [schedule(100, 4, left) for left in (1, 0.75, 0.25, 0)]
    assert falling[0] == 1 and falling[-1] == 0
    assert falling == sorted(falling, reverse=True)


def test_sentences_and_spacing() -> None:
    assert (
        clean("born in 1901 , in `` Paris '' ( France ) .") == 'born in 1901, in "Paris" (France).'
    )
    assert sentences("Dr. J. Smith came. He saw it! Why?") == [
        "Dr. J. Smith came.",
        "He saw it!",
        "Why?",
    ]
    assert overlap("the red house", "A house that is red") == 1.0
    assert held_out("a") == held_out("a")
    assert 0 < sum(held_out(str(n)) for n in range(2000)) < 100


def test_the_answering_sentence_is_the_one_nearest_to_the_question() -> None:
    text = "Anna met Tom. Tom built the mill. Tom slept."
    assert answer_sentence(text, ["Tom"], "Who built the mill?") == "Tom built the mill."
    assert answer_sentence(text, ["Eve"], "Who?") is None


def test_a_window_keeps_the_answer() -> None:
    text = " ".join(f"Number {n} is here." for n in range(30))
    for seed in range(20):
        part = window(text, "Number 17 is here.", random.Random(seed), 4)
        assert "Number 17 is here." in part and len(sentences(part)) <= 4


def test_near_duplicates_are_found_in_pieces_and_in_order() -> None:
    known = Duplicates(bits=22)
    assert not any(known.add(words_of(text)) for text in TEXTS)
    assert known.add(words_of(TEXTS[3].upper().replace(".", " !")))
    assert known.add(words_of(" ".join(sentences(TEXTS[5])[1:3])))
    assert not known.add(words_of(paragraph(900)))
    assert known.add(words_of(f"{TEXTS[6]} And then it rained."))


def test_dialogues_are_known_by_questions_and_by_short_questions_with_their_answers() -> None:
    known = Dialogues([["Why?", "Because the mill was flooded by the long river."]])
    assert known.within(words_of("He said: why? Because the mill was flooded by the sea")) == 2
    assert known.within(words_of("Because the mill was flooded by the long river.")) is None
    known = Dialogues([["Who painted the tower in the winter of 1932?", "Nobody."]])
    assert known.within(words_of("who painted the tower | in the winter of 1932")) is not None
    assert known.within(words_of("Who painted the tower?")) is None


@pytest.mark.parametrize(
    ("licence", "allowed"),
    [
        ("MIT", True),
        ("BSD-3-Clause", True),
        ("Apache Software License", True),
        ("GPL-2.0 or Artistic", True),
        ("GPL-3.0-or-later", False),
        ("MPL-2.0", False),
        ("", False),
    ],
)
def test_licences(licence: str, allowed: bool) -> None:
    assert free(licence) == allowed


def test_docstrings_keep_code_and_join_prose(tmp_path: Path) -> None:
    code = '''def add(a, b=2):
    """Adds two numbers that are given
    on two lines of a docstring.

    >>> add(1, 2)
    3
    """
'''
    (tmp_path / "sums.py").write_text(code, "utf-8")
    (document,) = standard_library(tmp_path)
    assert document.title == "sums.add"
    assert document.paragraphs == (
        "add(a, b=2)",
        "Adds two numbers that are given on two lines of a docstring.",
        ">>> add(1, 2)",
        "3",
    )


def test_an_installed_package_says_its_licence() -> None:
    from importlib.metadata import distribution

    documents = list(package(distribution("rich")))
    assert documents and all("MIT" in document.source.licence for document in documents)
    assert any(document.title.startswith("rich.") for document in documents)


def test_textbooks_lose_their_figures() -> None:
    said = (
        "The sun is a star of middle age (). Its layers are shown in . It is, as shown in , "
        "hot enough to melt iron. In , you can see why."
    )
    assert cleaning.book_paragraph(said) == (
        "The sun is a star of middle age. It is hot enough to melt iron."
    )
    assert cleaning.book_paragraph("Learning Objectives: Explain why the sun is so hot.") == ""
    assert cleaning.book_paragraph("Smith, J. (2001). Stars. https://example.org/stars") == ""


def test_wikitext_and_brown_are_joined() -> None:
    text = "\n = Lobster = \n \n A lobster is 0 @.@ 5 m long . It eats <unk> . It is blue . \n"
    ((title, paragraphs),) = cleaning.wikitext(text)
    assert title == "Lobster" and clean(paragraphs[0]) == "A lobster is 0.5 m long. It is blue."
    ((sentence,),) = cleaning.brown("\n\n `` Why is it so ? ? '' he said .\n\n\n f{t} is big .")
    assert clean(sentence) == '"Why is it so?" he said.'


def test_squad_paragraphs_become_examples(tmp_path: Path) -> None:
    qa = [
        {"question": "When was it opened?", "answers": ["1932"]},
        {"question": "Why?", "answers": []},
    ]
    found_in = {
        "context": "The old bridge is here. It was opened in 1932. It carries trains.",
        "qas": qa,
    }
    data = {"data": [{"title": "Harbour_bridge", "paragraphs": [found_in]}]}
    for name in ("dev-v2.0.from_explore_html.json", "dev-1.1.from_explore_html.json"):
        (tmp_path / name).write_text(json.dumps(data), "utf-8")
    found = list(squad(tmp_path))
    assert [e.answer for e in found] == ["It was opened in 1932."] * 2
    assert found[0].title == "Harbour bridge"


def test_the_answer_of_a_medical_question_is_no_question(tmp_path: Path) -> None:
    row = {
        "focus": "Gout",
        "question": "What are the treatments for Gout ?",
        "answer": "How might gout be treated? Rest and cold packs help most people. So does water.",
    }
    (tmp_path / "medquad.jsonl").write_text(json.dumps(row), "utf-8")
    (found,) = medquad(tmp_path)
    assert found.answer == "Rest and cold packs help most people."


def test_docstrings_become_questions(tmp_path: Path) -> None:
    (tmp_path / "walls.py").write_text(
        'def paint(wall, colour="white"):\n'
        '    """Paint a wall with white colour. Returns litres."""\n'
        "def _hidden():\n    '''Nobody asks about this private function anywhere.'''\n",
        "utf-8",
    )
    found = list(docstrings(tmp_path))
    assert [e.turns[0] for e in found] == [
        "What does walls.paint do?",
        "What is paint for?",
        "How do I paint a wall with white colour?",
    ]
    assert found[0].text.startswith("paint(wall, colour='white'): Paint a wall")


def test_muon_steps_as_pytorch_does() -> None:
    torch.manual_seed(0)
    shapes = ((24, 16), (16, 24), (16, 24), (16, 16))
    ours, theirs = ([torch.nn.Parameter(torch.randn(*shape)) for shape in shapes] for _ in range(2))
    for one, other in zip(ours, theirs, strict=True):
        one.data.copy_(other.data)
    before = [one.detach().clone() for one in ours]
    optimizers = (
        Muon([{"params": ours}], 0.1),
        torch.optim.Muon(theirs, 0.1, weight_decay=0.1, adjust_lr_fn="match_rms_adamw"),
    )
    for _ in range(3):
        for one, other in zip(ours, theirs, strict=True):
            one.grad = torch.randn(one.shape)
            other.grad = one.grad.clone()
        for optimizer in optimizers:
            optimizer.step()
    for start, one, other in zip(before, ours, theirs, strict=True):
        moved, expected = (one - start).flatten(), (other - start).flatten()
        assert torch.cosine_similarity(moved, expected, dim=0) > 0.999
        assert abs(moved.norm() / expected.norm() - 1) < 0.01  # PyTorch's is in bfloat16

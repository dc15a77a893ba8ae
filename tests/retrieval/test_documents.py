from __future__ import annotations

import gzip
import json
import zipfile

import pytest
from retrieval_fixtures import write_docx, write_pdf

from uniconv.errors import DataError, UniConvError
from uniconv.retrieval.chunking import Chunking
from uniconv.retrieval.documents import SourceFile, find_files, read_passages
from uniconv.retrieval.formats import DocumentError
from uniconv.types import Passage


def read(path, name=None, chunking=None):
    return list(read_passages(SourceFile(path, name or path.name), chunking or Chunking()))


def test_markdown(tmp_path):
    path = tmp_path / "guide.md"
    path.write_text("# Guide\nWelcome.\n\n## Install\nRun it.\n\n### Linux\nUse apt.\n", "utf-8")
    assert read(path, "docs/guide.md") == [
        Passage("docs/guide.md#1", "Welcome.", "Guide", {"file": "docs/guide.md"}),
        Passage(
            "docs/guide.md#2",
            "Run it.",
            "Guide > Install",
            {"file": "docs/guide.md", "section": "Install"},
        ),
        Passage(
            "docs/guide.md#3",
            "Use apt.",
            "Guide > Install > Linux",
            {"file": "docs/guide.md", "section": "Install > Linux"},
        ),
    ]


def test_a_heading_is_the_title_only_where_it_is_above_all_others(tmp_path):
    path = tmp_path / "notes.md"
    path.write_text("Intro.\n# One\nA.\n# Two\nB.\n```\n# code\n```")
    assert [one.title for one in read(path)] == ["notes", "notes > One", "notes > Two"]
    path.write_text("## Sub\nA.\n### Deep\nB.")
    assert [one.title for one in read(path)] == ["Sub", "Sub > Deep"]


def test_front_matter_gives_the_title_and_is_not_text(tmp_path):
    path = tmp_path / "a.md"
    path.write_text("---\ntitle: 'The Tower'\ntags: [x]\n---\nBuilt in 1893.\n# More\nText.")
    assert [(one.title, one.text) for one in read(path)] == [
        ("The Tower", "Built in 1893."),
        ("The Tower > More", "Text."),
    ]


def test_broken_front_matter_does_no_harm(tmp_path):
    path = tmp_path / "a.md"
    path.write_text("---\ntitle: [x\n---\nText.")
    assert [(one.title, one.text) for one in read(path)] == [("a", "Text.")]


def test_text_is_titled_by_its_file_and_cut_with_overlap(tmp_path):
    path = tmp_path / "notes.txt"
    sentences = [f"Here is sentence {n} of the notes." for n in range(30)]
    path.write_bytes(b"\xef\xbb\xbf" + " ".join(sentences).encode())
    found = read(path, chunking=Chunking(200, 40))
    assert [one.id for one in found] == [f"notes.txt#{n}" for n in range(1, len(found) + 1)]
    assert {one.title for one in found} == {"notes"}
    assert found[0].text.startswith("Here is sentence 0")
    assert found[1].text.split(". ")[0] + "." == found[0].text.split(". ")[-1]


def test_html_is_read_without_what_surrounds_it(tmp_path):
    path = tmp_path / "page.html"
    path.write_text(
        "<html><head><title>The Tower | A site</title><style>p{}</style></head><body>"
        "<nav>Home</nav><main><h1>The Tower</h1><p>Built in <b>1893</b>, see "
        '<a href="http://a.b">here</a>.</p><img src="x.png" alt="A drawing">'
        "<script>bad()</script><h2>Visits</h2><ul><li>Open daily</li></ul></main>"
        "<footer>Imprint</footer></body></html>"
    )
    found = read(path)
    assert [one.title for one in found] == ["The Tower", "The Tower > Visits"]
    assert found[0].text.split("\n\n") == ["Built in **1893**, see here.", "A drawing"]
    assert found[1].text == "* Open daily"


def test_html_with_several_top_headings_is_called_by_its_head(tmp_path):
    path = tmp_path / "page.html"
    path.write_text("<title>The\n Site</title><h1>A</h1><p>One.</p><h1>B</h1><p>Two.</p>")
    assert [one.title for one in read(path)] == ["The Site > A", "The Site > B"]


def test_html_in_another_encoding(tmp_path):
    path = tmp_path / "page.htm"
    path.write_bytes('<meta charset="iso-8859-1"><p>Café über alles</p>'.encode("latin-1"))
    assert [(one.title, one.text) for one in read(path)] == [("page", "Café über alles")]


def test_docx(tmp_path):
    path = tmp_path / "manual.docx"
    write_docx(
        path,
        [
            ("Heading1", "Manual"),
            ("Normal", "Read me first."),
            ("Heading2", "Care"),
            ("Normal", "Keep it dry."),
        ],
    )
    assert [(one.title, one.text) for one in read(path)] == [
        ("Manual", "Read me first."),
        ("Manual > Care", "Keep it dry."),
    ]


def test_the_title_of_a_docx_is_not_text(tmp_path):
    path = tmp_path / "manual.docx"
    blocks = [("Title", "Manual"), ("Heading1", "Care"), ("Normal", "Dry."), ("Heading1", "Use")]
    write_docx(path, [*blocks, ("Normal", "Drink.")])
    assert [(one.title, one.text) for one in read(path)] == [
        ("Manual > Care", "Dry."),
        ("Manual > Use", "Drink."),
    ]


def test_pdf_chunks_know_their_page(tmp_path):
    path = tmp_path / "paper.pdf"
    pages = [" ".join(f"Page {p} sentence {n}." for n in range(12)) for p in (1, 2, 3)]
    write_pdf(path, [pages[0], "", pages[1]], "On Towers")
    found = read(path, chunking=Chunking(150, 0))
    assert {one.title for one in found} == {"On Towers"}
    for one in found:
        assert one.metadata["page"] == ("1" if one.text.startswith("Page 1") else "3")
    assert " ".join(one.text for one in found) == f"{pages[0]} {pages[1]}"
    assert read(path)[-1].metadata == {"file": "paper.pdf", "page": "1"}


def test_pdf_without_a_title_is_called_by_its_name(tmp_path):
    write_pdf(tmp_path / "scan.pdf", ["Text."])
    assert read(tmp_path / "scan.pdf")[0].title == "scan"


def _no_pdf(path):
    path.write_bytes(b"%PDF-1.4\nthis is none")


def _cut_pdf(path):
    write_pdf(path, ["Text."])
    path.write_bytes(path.read_bytes()[:300])


def _plain_zip(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a", "b")


@pytest.mark.parametrize(
    ("name", "write", "message"),
    [
        ("a.pdf", _no_pdf, "not a PDF that can be read"),
        ("a.pdf", _cut_pdf, "not a PDF that can be read"),
        ("a.pdf", lambda path: path.touch(), "not a PDF that can be read"),
        ("a.pdf", lambda path: write_pdf(path, ["", ""]), "are its pages pictures"),
        ("a.docx", lambda path: path.write_bytes(b"no zip"), "not a Word document"),
        ("a.docx", _plain_zip, "not a Word document"),
        ("a.txt", lambda path: path.write_bytes(b"caf\xe9"), r"not UTF-8 text \(byte 4\)"),
        ("a.md", lambda path: path.write_bytes("x".encode("utf-16")), "not UTF-8 text"),
        ("a.txt", lambda path: path.write_text(" \n"), "holds no text"),
        ("a.md", lambda path: path.write_text("# Only\n## Headings\n"), "holds no text"),
        ("a.html", lambda path: path.touch(), "holds no text"),
    ],
)
def test_a_document_that_gives_nothing_says_why(tmp_path, name, write, message):
    write(tmp_path / name)
    with pytest.raises(DocumentError, match=message) as error:
        read(tmp_path / name)
    assert "\n" not in str(error.value)


def test_folders_are_read_in_a_fixed_order_without_hidden_files(tmp_path):
    for name in ("b.md", "a.TXT", "sub/c.pdf", ".hidden.md", ".git/d.md", "sub/.x/e.md", "f.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).touch()
    assert [file.name for file in find_files([tmp_path])] == ["a.TXT", "b.md", "sub/c.pdf"]


def test_a_file_that_two_sources_hold_is_read_once(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/a.md").touch()
    (tmp_path / "b.md").touch()
    found = find_files([tmp_path, str(tmp_path / "sub"), tmp_path / "b.md"])
    assert [file.name for file in found] == ["b.md", "sub/a.md"]


def test_links_that_go_round_do_no_harm(tmp_path):
    (tmp_path / "a.md").touch()
    (tmp_path / "round").symlink_to(tmp_path)
    assert [file.name for file in find_files([tmp_path])] == ["a.md"]


def test_sources_that_can_not_be_read(tmp_path):
    with pytest.raises(UniConvError, match="no such file or folder"):
        find_files([tmp_path / "absent"])
    with pytest.raises(UniConvError, match=r"no file of these formats: \.md"):
        find_files([tmp_path])
    (tmp_path / "a.py").touch()
    with pytest.raises(UniConvError, match=r"a\.py: can't be indexed; the formats are \.md"):
        find_files([tmp_path / "a.py"])


@pytest.mark.parametrize("name", ["corpus.jsonl", "corpus.jsonl.gz", "mine.jsonl"])
def test_beir_corpora(tmp_path, name):
    opener = gzip.open if name.endswith(".gz") else open
    with opener(tmp_path / name, "wt") as file:
        for id in ("x", "y"):
            file.write(json.dumps({"_id": id, "title": "T", "text": f"About {id}."}) + "\n")
    source = tmp_path if name.startswith("corpus") else tmp_path / name
    (tmp_path / "readme.md").write_text("About the corpus.")
    (file,) = find_files([source])
    assert file.is_corpus
    assert [one.id for one in read_passages(file, Chunking())] == ["x", "y"]


def test_a_malformed_line_of_a_corpus_is_named(tmp_path):
    (tmp_path / "corpus.jsonl").write_text('{"_id": "x", "text": "Good."}\n{"_id": 3\n')
    (file,) = find_files([tmp_path])
    with pytest.raises(DataError, match=r"corpus\.jsonl:2"):
        list(read_passages(file, Chunking()))

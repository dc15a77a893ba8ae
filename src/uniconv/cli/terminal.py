"""The terminal chat and how passages and answers look there."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.progress import Progress, TextColumn
from rich.text import Text

from uniconv.data.conversations import read_conversations, write_conversations
from uniconv.errors import UniConvError
from uniconv.search import ConversationalSearch
from uniconv.types import Answer, Conversation, ScoredPassage

_HELP = """[b]/sources[/b]       the passages behind the last answer, in full
[b]/reset[/b]         start a new conversation
[b]/save[/b] [i]FILE[/i]     add the conversation to a file of conversations (JSONL)
[b]/quit[/b]          leave (also Ctrl-D)"""


def print_passages(passages: Sequence[ScoredPassage], *, full: bool = False) -> None:
    """Numbered passages with their scores, shortened unless ``full``."""
    console = Console()
    for number, scored in enumerate(passages, start=1):
        passage = scored.passage
        console.print(
            Text.assemble(
                (f"[{number}] ", "bold cyan"),
                (passage.title or passage.id, "bold"),
                (f"  {scored.score:.3f}  {passage.id}", "dim"),
            )
        )
        text = passage.text if full else _shorten(passage.text, 2 * console.width - 8)
        console.print(Text(text), style="none" if full else "dim", soft_wrap=False)


def print_answer(pieces: Iterable[str], console: Console) -> None:
    """An answer as it is written."""
    for piece in pieces:
        console.print(piece, end="", markup=False, highlight=False, soft_wrap=True)
    console.print()


def print_sources(answer: Answer, console: Console) -> None:
    """The passages that an answer marks, and how long it took."""
    for citation in answer.citations:
        title = citation.passage.title or citation.passage.id
        console.print(f"  [cyan]\\[{citation.number}][/cyan] {escape(title)}", highlight=False)
    spent = answer.timings
    console.print(
        f"  [dim]read {1000 * spent['read']:.0f} ms, retrieved {1000 * spent['retrieve']:.0f} ms, "
        f"wrote {1000 * spent['write']:.0f} ms[/dim]",
        highlight=False,
    )


@contextmanager
def loss_progress(steps: int) -> Iterator[Callable[[int, Mapping[str, float]], None]]:
    """A progress bar of training steps that is told the parts of the loss."""
    columns = (*Progress.get_default_columns(), TextColumn("{task.fields[losses]}"))
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("Learning", total=steps, losses="")

        def show(step: int, losses: Mapping[str, float]) -> None:
            text = "  ".join(f"{part} {value:.3f}" for part, value in losses.items())
            progress.update(task, completed=step, losses=text)

        yield show


def hold_conversation(
    search: ConversationalSearch, ask: Callable[[], str] | None = None
) -> Conversation | None:
    """Reads questions until the end of input; returns the conversation as it stands."""
    console = Console()
    console.print(
        f"{len(search.index):,} passages. Ask a question; [b]/help[/b] lists the commands.",
        highlight=False,
    )
    conversation: Conversation | None = None
    answer: Answer | None = None
    ask = ask or (lambda: console.input("\n[bold green]>[/bold green] "))
    while True:
        try:
            line = ask().strip()
        except (EOFError, KeyboardInterrupt):
            console.print()
            return conversation
        command, _, argument = line.partition(" ")
        match command:
            case "":
                continue
            case "/quit" | "/exit":
                return conversation
            case "/help":
                console.print(_HELP)
            case "/reset":
                conversation = answer = None
                console.print("A new conversation.")
            case "/sources" if answer is not None:
                print_passages(answer.passages, full=True)
            case "/save" if conversation is not None:
                _save(conversation, argument.strip(), console)
            case "/sources" | "/save":
                console.print("Nothing has been asked yet.")
            case _ if command.startswith("/"):
                console.print(f"There is no {escape(command)}; /help lists the commands.")
            case _:
                conversation = conversation.ask(line) if conversation else Conversation.start(line)
                conversation, answer = _answer(search, conversation, console)


def _answer(
    search: ConversationalSearch, conversation: Conversation, console: Console
) -> tuple[Conversation | None, Answer | None]:
    """Answers the open question; Ctrl-C takes the question back."""
    try:
        stream = search.stream(conversation)
        print_answer(stream, console)
    except KeyboardInterrupt:
        console.print("\n(interrupted; the question is forgotten)")
        earlier = conversation.turns[:-1]
        return (Conversation(conversation.id, earlier) if earlier else None), None
    answer = stream.answer
    print_sources(answer, console)
    return conversation.answer(answer.text), answer


def _save(conversation: Conversation, name: str, console: Console) -> None:
    if not name:
        console.print("Name a file: /save talk.jsonl")
        return
    path = Path(name)
    try:
        earlier = _read(path)
        taken = {one.id for one in earlier}
        number = next(n for n in range(1, len(earlier) + 2) if f"chat-{n}" not in taken)
        write_conversations(path, [*earlier, Conversation(f"chat-{number}", conversation.turns)])
    except UniConvError as error:
        console.print(f"Not saved: {escape(str(error))}")
        return
    console.print(f"Saved as chat-{number} in {escape(name)}.")


def _read(path: Path) -> list[Conversation]:
    return list(read_conversations(path)) if path.exists() else []


def _shorten(text: str, width: int) -> str:
    text = " ".join(text.split())
    return text if len(text) <= width else text[: width - 1] + "…"

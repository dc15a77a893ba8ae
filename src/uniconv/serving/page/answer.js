// An answer in the transcript: its text with citation chips, its sources, and what can be done.
import { counted, duration, icon, iconButton, node, textButton } from "./dom.js";
import { citedPassages, marks, nameOf, sentenceBefore } from "./citations.js";
import { isRunning } from "./conversations.js";
import { blocks, drawBlock } from "./markdown.js";

const BEGUN_MARK = /\s*\[[\d,\s]*$/;

/**
 * @typedef {import("./conversations.js").Turn} Turn
 * @typedef {{openPassages: (turn: Turn, opener: Element, cited?: {number: number,
 *   sentence?: string}) => void, again: (turn: Turn) => void}} Actions
 */

export class Answer {
  /** @param {Turn} turn @param {Actions} actions */
  constructor(turn, actions) {
    this.turn = turn;
    this.actions = actions;
    this.drawn = [];
    this.text = node("div", { className: "prose" });
    this.status = node("div", { className: "answer-status" });
    this.foot = node("div", { className: "answer-foot" });
    this.element = node("div", { className: "answer" }, this.text, this.status, this.foot);
    this.update();
  }

  /** Draws what has changed. @param {{retryAt: number, hurry: () => void}|null} wait */
  update(wait = null) {
    const running = isRunning(this.turn);
    this.element.dataset.state = this.turn.state;
    this.text.setAttribute("aria-busy", String(running));
    this.drawText(running ? this.turn.text.replace(BEGUN_MARK, "") : this.turn.text);
    const { state, passages, text } = this.turn;
    const known = `${state} ${passages.length} ${!text} ${wait?.retryAt}`;
    if (known === this.known) return;
    this.known = known;
    clearInterval(this.counting);
    this.status.replaceChildren(...this.drawStatus(wait));
    this.foot.replaceChildren(...(running ? [] : this.drawFoot()));
  }

  /** Blocks that are as before stay, and with them the focus and what is selected. */
  drawText(text) {
    const wanted = blocks(text);
    const same = wanted.findIndex((block, place) => block !== this.drawn[place]);
    const first = same < 0 ? wanted.length : same;
    while (this.text.children.length > first) this.text.lastChild.remove();
    const leaf = (...place) => this.drawMarks(...place);
    this.text.append(...wanted.slice(first).map((block) => drawBlock(block, leaf)));
    this.drawn = wanted;
  }

  drawMarks(text, from, to) {
    const drawn = [];
    let at = from;
    for (const mark of marks(text.slice(from, to))) {
      const start = from + mark.start;
      drawn.push(text.slice(at, start).replace(/ $/, "\u202f"));
      const sentence = sentenceBefore(text, start);
      for (const number of mark.numbers) drawn.push(this.chip(number, sentence));
      at = from + mark.end;
    }
    return [...drawn, text.slice(at, to)];
  }

  chip(number, sentence) {
    const passage = this.turn.passages.find((one) => one.number === number);
    if (!passage) return `[${number}]`;
    const chip = node("button", {
      type: "button",
      className: "chip",
      textContent: String(number),
      title: passage.title || passage.id,
      ariaLabel: `Passage ${number}: ${passage.title || passage.id}`,
    });
    chip.addEventListener("click", () =>
      this.actions.openPassages(this.turn, chip, { number, sentence }));
    return chip;
  }

  drawStatus(wait) {
    const { turn } = this;
    if (wait) return [this.drawWait(wait)];
    if (turn.state === "failed") return [this.drawProblem(turn.problem)];
    if (turn.state === "stopped") return [node("p", { className: "faint small" }, "Stopped.")];
    if (!isRunning(turn) || turn.text) return [];
    const read = turn.passages.filter((passage) => passage.read).length;
    const doing = turn.passages.length
      ? `Reading ${read} of ${counted(turn.passages.length, "passage")}`
      : "Looking through the passages";
    return [node("p", { className: "working" }, doing)];
  }

  drawWait(wait) {
    const left = node("span");
    const count = () => {
      const seconds = Math.max(0, Math.ceil((wait.retryAt - Date.now()) / 1000));
      left.textContent = `The server is busy. Asking again in ${counted(seconds, "second")}.`;
    };
    count();
    this.counting = setInterval(count, 500);
    return node("div", { className: "problem calm" }, left,
      textButton("Ask now", wait.hurry));
  }

  drawProblem(problem) {
    return node("div", { className: "problem" },
      node("p", {}, problem),
      textButton("Try again", () => this.actions.again(this.turn), "again"));
  }

  drawFoot() {
    const { turn } = this;
    const notes = [...turn.warnings];
    if (turn.finish === "length") notes.push("The answer reached the limit of its length.");
    return [
      ...notes.map((note) => node("p", { className: "faint small" }, note)),
      this.drawSources(),
      this.drawActions(),
    ].filter(Boolean);
  }

  drawSources() {
    const cited = citedPassages(this.turn);
    if (!cited.length) return null;
    const source = (passage) => {
      const title = passage.title || passage.id;
      const button = node("button", { type: "button", className: "source", title },
        node("span", { className: "number" }, String(passage.number)),
        node("span", { className: "name" }, nameOf(passage).name));
      button.addEventListener("click", () =>
        this.actions.openPassages(this.turn, button, { number: passage.number }));
      return node("li", {}, button);
    };
    return node("ul", { className: "sources plain-list", ariaLabel: "Cited passages" },
      ...cited.map(source));
  }

  drawActions() {
    const { turn } = this;
    const all = node("div", { className: "actions" });
    if (turn.text && navigator.clipboard) {
      all.append(iconButton("copy", "Copy the answer", (event) => copy(turn.text, event)));
    }
    if (turn.state !== "failed") {
      const again = iconButton("again", "Answer again", () => this.actions.again(turn));
      again.classList.add("again");
      all.append(again);
    }
    if (turn.passages.length) {
      const open = (event) => this.actions.openPassages(turn, event.currentTarget);
      const label = counted(turn.passages.length, "passage");
      all.append(iconButton("quote", label, open, { shown: true }));
      const time = summary(turn);
      if (time) all.append(iconButton("clock", time, open, { shown: true }));
    }
    return all;
  }
}

/** How long it took, and how much needn't be read again. */
function summary({ timings, usage }) {
  const parts = timings.total === undefined ? [] : [duration(timings.total)];
  if (usage?.cached) parts.push(`${counted(usage.cached, "token")} from the cache`);
  return parts.join(" · ");
}

async function copy(text, { currentTarget: button }) {
  await navigator.clipboard.writeText(text);
  button.replaceChildren(icon("check"));
  setTimeout(() => button.replaceChildren(icon("copy")), 1500);
}

// The conversation on the page: questions, which can be edited, and their answers.
import { byId, counted, iconButton, node, textButton } from "./dom.js";
import { Answer } from "./answer.js";

const NEAR = 80; // pixels from the end within which new text is followed

/**
 * @typedef {import("./conversations.js").Turn} Turn
 * @typedef {import("./answer.js").Actions & {edit: (turn: Turn, question: string) => void,
 *   running: () => boolean}} Actions
 */

export class Transcript {
  /** @param {Actions} actions */
  constructor(actions) {
    this.actions = actions;
    /** @type {Map<Turn, Answer>} */
    this.answers = new Map();
    this.follows = true;
    this.scroller = byId("scroller");
    this.scroller.addEventListener("scroll", () => this.onScroll(), { passive: true });
    byId("latest").addEventListener("click", () => this.toEnd(true));
    const observer = new ResizeObserver(() => (this.follows ? this.toEnd() : this.onScroll()));
    observer.observe(byId("turns"));
    observer.observe(this.scroller);
  }

  /** @param {Turn[]} turns */
  show(turns) {
    this.turns = turns;
    this.answers.clear();
    byId("turns").replaceChildren(...turns.map((turn) => this.drawTurn(turn)));
    byId("welcome").hidden = turns.length > 0;
    this.toEnd();
  }

  /** Draws what has changed in an answer, if it is shown. */
  update(turn, wait) {
    this.answers.get(turn)?.update(wait);
  }

  has(turn) {
    return this.answers.has(turn);
  }

  toEnd(smoothly = false) {
    const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
    const behavior = smoothly && !still ? "smooth" : "instant";
    this.scroller.scrollTo({ top: this.scroller.scrollHeight, behavior });
    this.follows = true;
    byId("latest").hidden = true;
  }

  onScroll() {
    const { scrollHeight, scrollTop, clientHeight } = this.scroller;
    this.follows = scrollHeight - scrollTop - clientHeight < NEAR;
    byId("latest").hidden = this.follows;
  }

  drawTurn(turn) {
    const answer = new Answer(turn, this.actions);
    this.answers.set(turn, answer);
    const question = node("div", { className: "question" });
    this.drawQuestion(question, turn);
    return node("li", { className: "turn" }, question, answer.element);
  }

  drawQuestion(place, turn) {
    const edit = iconButton("pencil", "Edit the question", () => {
      if (!this.actions.running()) this.drawEdit(place, turn);
    });
    place.replaceChildren(node("h2", { textContent: turn.question }), edit);
    return edit;
  }

  drawEdit(place, turn) {
    const field = node("textarea", {
      value: turn.question, ariaLabel: "Edit the question",
      rows: Math.min(8, turn.question.split("\n").length + 1),
    });
    const cancel = () => this.drawQuestion(place, turn).focus();
    const save = () => {
      const question = field.value.trim();
      if (question) this.actions.edit(turn, question);
    };
    field.addEventListener("keydown", (event) => {
      if (event.key === "Escape") {
        event.stopPropagation();
        cancel();
      }
      if (!asks(event)) return;
      event.preventDefault();
      save();
    });
    const later = this.turns.length - this.turns.indexOf(turn) - 1;
    const removed = `${counted(later, "later question")} will be removed.`;
    const warning = later ? node("p", { className: "faint small" }, removed) : null;
    place.replaceChildren(node("div", { className: "edit" }, field, warning,
      node("div", { className: "dialog-buttons" },
        textButton("Cancel", cancel), textButton("Ask", save, "primary"))));
    field.focus();
  }
}

/** Whether a key press in a question sends it; not the one that ends an input method's word. */
export function asks(event) {
  return event.key === "Enter" && !event.shiftKey && !event.isComposing;
}

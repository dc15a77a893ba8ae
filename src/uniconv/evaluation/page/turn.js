"use strict";
// One turn: its reason, history, answer, passages and measures.
// Everything from the data enters the page as text (textContent), never as markup.
const data = JSON.parse(document.getElementById("data").textContent);
const RECENT = 2; // turns of history that are open at first
const at = (id) => document.getElementById(id);
const state = { page: 0, found: [], chosen: null };

function node(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children.filter((child) => child !== null));
  return made;
}

const conversation = (turn) => data.conversations[turn.conversation];
const said = (turn) => conversation(turn).turns[turn.depth - 1];
const reason = (turn) => data.reasons[turn.reason];
const value = (turn, name) => turn.measures[name];
const shownValue = (number) => (number === undefined ? "–" : number.toFixed(3));

function choose(turn, focus) {
  state.chosen = turn;
  for (const button of at("turns").querySelectorAll("button")) {
    if (button.dataset.turn === turn.id) button.setAttribute("aria-current", "true");
    else button.removeAttribute("aria-current");
  }
  drawTurn(turn);
  const hash = "#turn=" + encodeURIComponent(turn.id);
  if (location.hash !== hash) history.pushState(null, "", hash);
  if (focus) {
    at("detail").querySelector("h2").focus();
    scrollTo({ top: at("detail").offsetTop });
  }
}

function stepButton(text, turn) {
  const button = node("button", { type: "button", textContent: text, disabled: !turn });
  button.addEventListener("click", () => choose(turn, true));
  return button;
}

function listButton() {
  const button = node("button", { type: "button", textContent: "Back to the list" });
  button.addEventListener("click", () => {
    const row = at("turns").querySelector("[aria-current]") ?? at("turns").querySelector("button");
    (row ?? at("text")).focus();
  });
  return button;
}

function drawTurn(turn) {
  const place = state.found.indexOf(turn);
  const attributes = turn.labels.map(([name, text]) => `${name}: ${text}`);
  const parts = [
    node("div", { className: "steps" },
      stepButton("Previous turn", place > 0 ? state.found[place - 1] : null),
      stepButton("Next turn", place >= 0 ? state.found[place + 1] : null),
      listButton()),
    node("h2", { textContent: said(turn).query, tabIndex: -1 }),
    node("p", {
      className: "faint",
      textContent: [`${turn.id} (turn ${turn.depth})`, ...attributes].join(" · "),
    }),
    said(turn).rewrite
      ? node("p", { className: "faint", textContent: `Made self-contained: ${said(turn).rewrite}` })
      : null,
    drawReason(turn),
    ...drawHistory(turn),
    ...drawAnswer(turn),
    ...drawPassages("Read by the model", turn.read, turn),
    ...drawPassages("Relevant passages", turn.relevant, turn, turn.moreRelevant, 2),
    ...drawPassages("Retrieved", turn.retrieved, turn, turn.moreRetrieved),
    ...drawMeasures(turn),
  ];
  at("detail").replaceChildren(...parts.filter((part) => part !== null));
}

function drawReason(turn) {
  const one = reason(turn);
  return node("section", { className: "why " + (one.failed ? "bad" : "good"), ariaLabel: "Why" },
    node("strong", { textContent: one.label }),
    node("ul", {}, ...turn.steps.map((step) => node("li", { textContent: step }))),
    node("p", { className: "faint", textContent: `Rule: ${one.rule}` }));
}

function drawHistory(turn) {
  const before = conversation(turn).turns.slice(0, turn.depth - 1);
  if (!before.length) return [];
  const first = Math.max(0, before.length - RECENT);
  const list = (turns, start) =>
    node("ol", { className: "history", start }, ...turns.map((one) =>
      node("li", {},
        node("p", { className: "said", textContent: one.query }),
        node("p", { className: "said faint", textContent: one.response ?? "" }))));
  const earlier = node("details", {},
    node("summary", { textContent: first === 1 ? "1 earlier turn" : `${first} earlier turns` }), list(before.slice(0, first), 1));
  return [
    node("h3", { textContent: "Said before" }),
    ...(first ? [earlier] : []),
    list(before.slice(first), first + 1),
  ];
}

function withCitations(text, turn) {
  // Marks such as [1] or [1, 3] point to the passages that were read.
  return text.split(/(\[\d{1,3}(?:\s*,\s*\d{1,3})*\])/).map((piece, place) => {
    const number = place % 2 ? Number.parseInt(piece.slice(1), 10) : 0;
    if (number < 1 || number > turn.read.length) return document.createTextNode(piece);
    const link = node("button", {
      type: "button", className: "citation", textContent: piece, ariaLabel: `Citation ${number}`,
    });
    link.addEventListener("click", () => {
      const cited = at(`read-${number}`);
      cited.open = true;
      cited.querySelector("summary").focus();
    });
    return link;
  });
}

function drawAnswer(turn) {
  const own = turn.answer === null ? null : node("div", {},
    node("h3", { textContent: turn.declined ? "Response (declines)" : "Response" }),
    node("p", { className: "said" }, ...withCitations(turn.answer, turn)),
    turn.confidence === null ? null : node("p", {
      className: "faint", textContent: `Confidence that it was found: ${turn.confidence}`,
    }));
  const title = turn.references.length > 1 ? "Reference responses" : "Reference response";
  const reference = node("div", {},
    node("h3", { textContent: title }),
    ...turn.references.map((text) => node("p", { className: "said", textContent: text })),
    turn.references.length ? null : node("p", { className: "faint", textContent: "none" }));
  return [node("div", { className: "pair" }, own, reference)];
}

function drawPassages(title, entries, turn, more = 0, open = 0) {
  if (!entries.length) return [];
  const heading = node("h3", { textContent: `${title} (${entries.length + more})` });
  const left = more
    ? [node("p", { className: "faint", textContent: `${more} more are not on this page.` })]
    : [];
  return [heading, ...entries.map((entry, n) => drawPassage(entry, turn, n < open)), ...left];
}

function drawPassage(entry, turn, open) {
  const passage = data.passages[entry.passage];
  const relevant = turn.relevantIds.includes(passage.id);
  const facts = [
    entry.number ? `[${entry.number}]` : null,
    entry.rank ? `rank ${entry.rank}` : null,
    entry.score === undefined ? null : `score ${entry.score}`,
    entry.grade === undefined ? null : `grade ${entry.grade}`,
    entry.unranked ? "not retrieved" : null,
  ].filter((fact) => fact !== null);
  const badges = [
    relevant ? node("span", { className: "badge good", textContent: "relevant" }) : null,
    entry.cited ? node("span", { className: "badge", textContent: "cited" }) : null,
  ];
  const text = passage.text === null
    ? "Its text is not known here; give the corpus or the index to see it."
    : passage.text + (passage.cut ? " […]" : "");
  const made = node("details", { className: "passage" + (relevant ? " relevant" : "") },
    node("summary", {},
      node("span", { className: "number faint", textContent: facts.join(", ") + " " }),
      node("span", { textContent: passage.title || passage.id }), ...badges),
    node("p", { className: "said", textContent: text }),
    passage.title ? node("p", { className: "said faint", textContent: passage.id }) : null);
  made.open = open;
  if (entry.number) made.id = `read-${entry.number}`;
  return made;
}

function drawMeasures(turn) {
  const rows = data.measures.filter((name) => value(turn, name) !== undefined);
  if (!rows.length) return [];
  return [
    node("h3", { textContent: "Measures of this turn" }),
    node("table", {}, node("tbody", {}, ...rows.map((name) => node("tr", {},
      node("th", { scope: "row", textContent: name }),
      node("td", { className: "number", textContent: shownValue(value(turn, name)) }))))),
  ];
}

// The list of turns: filters, order, pages, and the beginning of everything (after turn.js).
const PAGE = 50;

function haystack(turn) {
  if (turn.haystack === undefined) {
    const texts = [turn.id, said(turn).query, turn.answer ?? "", ...turn.references];
    turn.haystack = texts.join("\n").toLowerCase();
  }
  return turn.haystack;
}

// ---- filters and order

function option(value, text) {
  return node("option", { value, textContent: text });
}

function fillSelect(id, options) {
  const select = at(id);
  select.replaceChildren(...options);
  select.closest("label").hidden = options.length < 2;
}

function tally(keysOf) {
  const counts = new Map();
  for (const turn of data.turns)
    for (const key of keysOf(turn)) counts.set(key, (counts.get(key) ?? 0) + 1);
  return counts;
}

function fillFilters() {
  const all = `all (${data.turns.length})`;
  const failed = data.turns.filter((turn) => reason(turn).failed).length;
  const reasons = tally((turn) => [turn.reason]);
  fillSelect("reason", [
    option("", all),
    ...(failed ? [option("failed", `every failure (${failed})`)] : []),
    ...Object.entries(data.reasons)
      .filter(([key]) => reasons.has(key))
      .map(([key, one]) => option(key, `${one.label} (${reasons.get(key)})`)),
  ]);
  const depths = [...tally((turn) => [turn.depth])].sort(([a], [b]) => a - b);
  fillSelect("depth", [option("", "all"), ...depths.map(([d, n]) => option(d, `${d} (${n})`))]);
  const needs = tally((turn) => (turn.needsHistory === null ? [] : [turn.needsHistory]));
  fillSelect("history", [
    option("", "all"),
    ...[[true, "yes"], [false, "no"]]
      .filter(([key]) => needs.has(key))
      .map(([key, text]) => option(key, `${text} (${needs.get(key)})`)),
  ]);
  const attributes = [...tally((turn) => turn.labels.map((pair) => pair.join(": ")))];
  attributes.sort((a, b) => b[1] - a[1]);
  fillSelect("attribute", [
    option("", "all"),
    ...attributes.slice(0, 200).map(([text, n]) => option(text, `${text} (${n})`)),
  ]);
  fillSelect("measure", data.measures.map((name) => option(name, name)));
  at("measure").value = data.firstMeasure;
  fillSelect("order", [
    option("worst", "worst first: failures, lowest measure"),
    option("low", "lowest measure first"),
    option("high", "highest measure first"),
    option("reason", "by reason"),
    option("depth", "by turn depth"),
    option("conversation", "as in the conversations"),
  ]);
}

function compare(order, measure) {
  const keys = Object.keys(data.reasons);
  const rank = (turn) => keys.indexOf(turn.reason);
  const passed = (turn) => (reason(turn).failed ? 0 : 1);
  const low = (turn) => value(turn, measure) ?? Infinity;
  const high = (turn) => -(value(turn, measure) ?? -Infinity);
  const by = (...keys) => (a, b) => {
    for (const key of keys) {
      const [first, second] = [key(a), key(b)];
      if (first !== second) return first < second ? -1 : 1;
    }
    return a.place - b.place;
  };
  return {
    worst: by(passed, low, rank),
    low: by(low, rank),
    high: by(high, rank),
    reason: by(passed, rank, low),
    depth: by((turn) => turn.depth, low),
    conversation: by(),
  }[order];
}

function find() {
  const chosen = (id) => at(id).value;
  const words = chosen("text").toLowerCase().split(/\s+/).filter(Boolean);
  state.found = data.turns.filter(
    (turn) =>
      (!chosen("reason") ||
        (chosen("reason") === "failed" ? reason(turn).failed : turn.reason === chosen("reason"))) &&
      (!chosen("depth") || String(turn.depth) === chosen("depth")) &&
      (!chosen("history") || String(turn.needsHistory) === chosen("history")) &&
      (!chosen("attribute") ||
        turn.labels.some((pair) => pair.join(": ") === chosen("attribute"))) &&
      words.every((word) => haystack(turn).includes(word)),
  );
  state.found.sort(compare(chosen("order"), chosen("measure")));
  state.page = 0;
  drawList();
}

// ---- the list

function drawList() {
  const pages = Math.max(1, Math.ceil(state.found.length / PAGE));
  const shown = state.found.slice(state.page * PAGE, (state.page + 1) * PAGE);
  at("turns").replaceChildren(...shown.map(listItem));
  at("turns").start = state.page * PAGE + 1;
  at("status").textContent =
    `${state.found.length} of ${data.turns.length} turns` +
    (pages > 1 ? `, page ${state.page + 1} of ${pages}` : "");
  at("back").disabled = state.page === 0;
  at("forward").disabled = state.page >= pages - 1;
  document.querySelector(".pager").hidden = pages < 2;
}

function listItem(turn) {
  const measure = at("measure").value;
  const one = reason(turn);
  const button = node("button", { type: "button" },
    node("span", { className: "question", textContent: said(turn).query }),
    node("span", { className: "meta" },
      node("span", { className: one.failed ? "bad" : "good", textContent: one.label }),
      node("span", {
        className: "faint number",
        textContent: `turn ${turn.depth}` +
          (measure ? `, ${measure} ${shownValue(value(turn, measure))}` : ""),
      })));
  button.dataset.turn = turn.id;
  if (turn === state.chosen) button.setAttribute("aria-current", "true");
  button.addEventListener("click", () => choose(turn, true));
  return node("li", {}, button);
}

function turnPage(by) {
  state.page += by;
  drawList();
  at("turns").querySelector("button")?.focus();
}

function moveFocus(event) {
  const buttons = [...at("turns").querySelectorAll("button")];
  const place = buttons.indexOf(document.activeElement);
  const to = {
    ArrowDown: place + 1, ArrowUp: place - 1, Home: 0, End: buttons.length - 1,
  }[event.key];
  if (to === undefined || place < 0) return;
  event.preventDefault();
  buttons[Math.min(buttons.length - 1, Math.max(0, to))].focus();
}

// ---- beginning

function fromHash() {
  let id = null;
  try {
    id = decodeURIComponent(location.hash.replace(/^#turn=/, ""));
  } catch {
    return null;
  }
  return data.turns.find((turn) => turn.id === id) ?? null;
}

function switchTheme() {
  const names = { "": "as the system", light: "light", dark: "dark" };
  const now = document.documentElement.dataset.theme ?? "";
  const keys = Object.keys(names);
  const next = keys[(keys.indexOf(now) + 1) % keys.length];
  document.documentElement.dataset.theme = next;
  at("theme").textContent = `Theme: ${names[next]}`;
}

function begin() {
  const megabytes = (new Blob([at("data").textContent]).size / 1e6).toFixed(1);
  at("about").textContent = `${data.about} ${megabytes} MB of data.`;
  at("rule-list").append(...Object.values(data.reasons).map((one) => node("li", {},
    node("strong", { textContent: one.label }), ` – ${one.rule}`)));
  fillFilters();
  at("filters").addEventListener("input", find);
  at("filters").addEventListener("submit", (event) => event.preventDefault());
  at("turns").addEventListener("keydown", moveFocus);
  at("back").addEventListener("click", () => turnPage(-1));
  at("forward").addEventListener("click", () => turnPage(1));
  at("theme").addEventListener("click", switchTheme);
  addEventListener("popstate", () => {
    const turn = fromHash();
    if (turn) choose(turn, false);
  });
  find();
  const first = fromHash() ?? state.found[0];
  if (first) {
    state.chosen = first;
    drawTurn(first);
    drawList();
  }
}

begin();

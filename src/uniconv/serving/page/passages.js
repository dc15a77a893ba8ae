// The panel of the passages that were considered for an answer, and how the answer came about.
import { byId, counted, duration, node } from "./dom.js";
import { citedPassages, citingSentences, highlighted, nameOf } from "./citations.js";

/**
 * @typedef {import("./conversations.js").Turn} Turn
 * @typedef {import("./conversations.js").Passage} Passage
 */

/**
 * Draws the passages of a turn. Of the one that was opened by a mark, the words of the sentence
 * before that mark are highlighted; of others, those of all sentences that cite them.
 * @param {Turn} turn
 * @param {{number: number, sentence?: string}} [cited] the passage to open
 * @returns {HTMLElement} what the focus should go to
 */
export function drawPassages(turn, cited) {
  const citedNumbers = new Set(citedPassages(turn).map((passage) => passage.number));
  const best = Math.max(...turn.passages.map((passage) => passage.score), 0);
  const cards = turn.passages.map((passage) => {
    const opened = passage.number === cited?.number;
    const sentence =
      (opened && cited.sentence) || citingSentences(turn.text, passage.number).join(" ");
    return drawPassage(passage, {
      opened, sentence, best, cited: citedNumbers.has(passage.number),
    });
  });
  byId("sources-body").replaceChildren(
    node("p", { className: "faint small" }, about(turn)),
    node("ol", { className: "plain-list" }, ...cards.map((card) => node("li", {}, card))),
    drawTimings(turn),
  );
  const open = cards[turn.passages.findIndex((passage) => passage.number === cited?.number)];
  return open?.querySelector("summary") ?? byId("sources-title");
}

function about(turn) {
  const read = turn.passages.filter((passage) => passage.read).length;
  const considered = `${counted(turn.passages.length, "passage")} considered`;
  if (!turn.found) return `${considered}, none near enough to answer from.`;
  return `${considered}, the best first; the answer was written from ${read} of them.`;
}

function drawPassage(passage, { opened, sentence, best, cited }) {
  const { name, above } = nameOf(passage);
  const text = node("p", { className: "passage-text" }, ...drawText(passage.text, sentence));
  const shared = text.querySelector("mark");
  const bar = node("span", { className: "score-bar", ariaHidden: "true" }, node("span"));
  const share = best > 0 ? Math.max(0, passage.score) / best : 0;
  bar.firstChild.style.width = `${(100 * share).toFixed(1)}%`;
  return node("details", { className: "passage", open: opened },
    node("summary", {},
      node("span", { className: `number${cited ? " cited" : ""}` }, String(passage.number)),
      node("span", { className: "passage-name" },
        above ? node("span", { className: "above" }, above) : null, name),
      node("span", { className: "facts" },
        node("span", {}, `score ${shownScore(passage.score)}`), bar,
        cited ? node("span", { className: "badge" }, "cited") : null,
        passage.read && !cited ? node("span", { className: "badge plain" }, "read") : null)),
    opened && !shared
      ? node("p", { className: "faint small" }, "The sentence shares no words with this passage.")
      : null,
    text,
    drawMetadata(passage));
}

function drawText(text, sentence) {
  if (!sentence) return [text];
  return highlighted(text, sentence).map((run) =>
    run.marked ? node("mark", { textContent: run.text }) : run.text);
}

/** @param {Passage} passage */
function drawMetadata({ id, title, metadata }) {
  const told = Object.entries(metadata ?? {}).filter(([, value]) => !title.includes(value));
  const rows = [["id", id], ...told];
  return node("dl", {}, ...rows.map(([name, value]) =>
    node("div", {}, node("dt", {}, name), node("dd", {}, ...linked(String(value))))));
}

/** Only a web address is a link; any other scheme could run a script. */
function linked(value) {
  const address = URL.canParse(value) ? new URL(value) : null;
  if (!address || !/^https?:$/.test(address.protocol)) return [value];
  return [node("a", { href: address.href, rel: "noopener noreferrer", target: "_blank" }, value)];
}

function shownScore(score) {
  return Number(score.toPrecision(3)).toString();
}

function drawTimings({ timings, usage }) {
  const stages = stagesOf(timings);
  const together = stages.reduce((sum, { seconds }) => sum + seconds, 0);
  const bar = node("div", { className: "stages", ariaHidden: "true" });
  for (const { seconds, kind } of stages) {
    const part = node("span", { className: kind });
    part.style.flexGrow = String((100 * seconds) / together);
    bar.append(part);
  }
  const row = (name, value, kind = "") =>
    node("tr", {}, node("th", { scope: "row", className: kind }, name), node("td", {}, value));
  const rows = stages.map(({ name, seconds, kind }) =>
    row(name, duration(seconds), `stage ${kind}`));
  if (timings.total !== undefined) rows.push(row("Together", duration(timings.total)));
  if (usage) rows.push(...usageRows(usage, timings).map(([name, value]) => row(name, value)));
  if (!rows.length) return "";
  return node("section", { className: "timings", ariaLabel: "How the answer came about" },
    node("h3", {}, "How the answer came about"), bar,
    node("table", {}, node("tbody", {}, ...rows)));
}

/** Stages one after the other; `first_text` and `total` count from the question. */
function stagesOf({ read, retrieve, first_text: first, total }) {
  const stages = [
    { name: "Read the conversation", seconds: read, kind: "one" },
    { name: "Find passages", seconds: retrieve, kind: "two" },
    { name: "Read passages, to the first word", seconds: first - read - retrieve, kind: "three" },
    { name: "Write the rest", seconds: total - first, kind: "four" },
  ];
  return stages
    .filter(({ seconds }) => Number.isFinite(seconds))
    .map((stage) => ({ ...stage, seconds: Math.max(0, stage.seconds) }));
}

function usageRows({ prompt, cached, written }, { write }) {
  const number = (count) => count.toLocaleString("en");
  const share = Math.round((100 * cached) / prompt);
  const rows = [["Tokens in the prompt", number(prompt)]];
  if (cached) rows.push(["From the cache, not read again", `${number(cached)} (${share} %)`]);
  rows.push(["Tokens written", number(written)]);
  if (write > 0) rows.push(["Tokens written a second", (written / write).toFixed(0)]);
  return rows;
}

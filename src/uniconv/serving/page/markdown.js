// The part of Markdown that answers use, as elements: paragraphs, lists, headings, code, emphasis.
// Links and images stay text: an answer can't make the browser go or load anywhere.
import { node } from "./dom.js";

const ITEM = /^\s*(?:[-*•]|(\d{1,3})[.)])\s+/;
const HEADING = /^#{1,6}\s+/;
const FENCE = /^\s*```/;
const INLINE = /`([^`\n]+)`|\*\*(?=\S)([^*]+?)(?<=\S)\*\*|\*(?=[^\s*])([^*\n]+?)(?<=[^\s*])\*/g;

/**
 * The blocks of a text: each ends where no later text can change it, except for the last.
 * @param {string} text
 * @returns {string[]}
 */
export function blocks(text) {
  const found = [];
  let fenced = false;
  for (const line of text.split("\n")) {
    const starts = !fenced && startsBlock(line, found.at(-1));
    if (starts || !found.length) found.push(line);
    else found.push(`${found.pop()}\n${line}`);
    if (FENCE.test(line)) fenced = !fenced;
  }
  return found.map((block) => block.replace(/^\n+|\s+$/g, "")).filter(Boolean);
}

function startsBlock(line, block) {
  if (!block || !line.trim()) return false;
  const before = block.split("\n").at(-1);
  if (FENCE.test(line) || HEADING.test(line)) return true;
  if (ITEM.test(line)) return !ITEM.test(block);
  if (ITEM.test(block)) return !before.trim() && !/^\s/.test(line);
  return !before.trim() || HEADING.test(before) || (FENCE.test(before) && before !== block);
}

/**
 * @param {string} block
 * @param {(text: string, from: number, to: number) => (Node|string)[]} leaf draws the part of a
 *   paragraph or item between two offsets, in which nothing else is marked up
 */
export function drawBlock(block, leaf) {
  if (FENCE.test(block)) {
    const code = block.replace(/^[^\n]*\n?/, "").replace(/\n?\s*```\s*$/, "");
    return node("pre", { tabIndex: 0 }, node("code", { textContent: code }));
  }
  if (HEADING.test(block)) return node("h3", {}, ...inline(block.replace(HEADING, ""), leaf));
  if (ITEM.test(block)) return drawList(block, leaf);
  return node("p", {}, ...inline(block, leaf));
}

function drawList(block, leaf) {
  const items = [];
  for (const line of block.split("\n").filter((one) => one.trim())) {
    if (ITEM.test(line)) items.push(line.replace(ITEM, ""));
    else items.push(`${items.pop()}\n${line.trim()}`);
  }
  const first = ITEM.exec(block)[1];
  const list = first ? node("ol", { start: Number(first) }) : node("ul");
  list.append(...items.map((item) => node("li", {}, ...inline(item, leaf))));
  return list;
}

function inline(text, leaf) {
  const drawn = [];
  let at = 0;
  const plain = (from, to) => (to > from ? leaf(text, from, to) : []);
  for (const match of text.matchAll(INLINE)) {
    const [whole, code, strong, emphasis] = match;
    drawn.push(...plain(at, match.index));
    at = match.index + whole.length;
    if (code !== undefined) drawn.push(node("code", { textContent: code }));
    else {
      const edge = strong === undefined ? 1 : 2;
      const inside = plain(match.index + edge, match.index + edge + (strong ?? emphasis).length);
      drawn.push(node(strong === undefined ? "em" : "strong", {}, ...inside));
    }
  }
  return [...drawn, ...plain(at, text.length)];
}

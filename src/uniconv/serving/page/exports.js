// Conversations as files: JSONL in UniConv's format (docs/data-formats.md), and Markdown.
import { node } from "./dom.js";
import { titleOf } from "./conversations.js";
import { citedPassages } from "./citations.js";

/** A line per conversation; only a last turn may lack its response. */
export function asJsonl(conversations) {
  return conversations
    .filter((one) => one.turns.length)
    .map((one) => `${JSON.stringify({ id: one.id, turns: one.turns.map(exportedTurn) })}\n`)
    .join("");
}

function exportedTurn(turn, place, turns) {
  const last = place === turns.length - 1;
  if (!turn.text && last) return { query: turn.question };
  return { query: turn.question, response: turn.text };
}

/** Questions as headings, answers, and the passages that they cite. */
export function asMarkdown(conversation) {
  const parts = [`# ${titleOf(conversation)}`];
  for (const turn of conversation.turns) {
    parts.push(`## ${turn.question.replace(/\s+/g, " ").trim()}`, turn.text || "*No answer.*");
    const cited = citedPassages(turn);
    if (cited.length) parts.push(cited.map(sourceLine).join("\n"));
  }
  return `${parts.join("\n\n")}\n`;
}

function sourceLine({ number, title, id, text }) {
  const name = title ? `**${title.replace(/\s+/g, " ")}** (${id})` : `**${id}**`;
  return `> [${number}] ${name}\n>\n${text.split("\n").map((line) => `> ${line}`).join("\n")}\n`;
}

/** Hands a text to the browser as a file to keep. */
export function download(name, type, text) {
  const address = URL.createObjectURL(new Blob([text], { type }));
  const link = node("a", { href: address, download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(address), 1000);
}

/** A file name that every system takes. */
export function fileName(conversation, extension) {
  const words = titleOf(conversation).normalize("NFKC").toLowerCase().match(/[\p{L}\p{N}]+/gu);
  return `${(words ?? ["conversation"]).join("-").slice(0, 60)}.${extension}`;
}

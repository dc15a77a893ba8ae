// Conversations as they are kept in this browser: one entry of localStorage each.

const PREFIX = "uniconv.conversation.";
const TITLE_LENGTH = 60;

/**
 * @typedef {{number: number, id: string, title: string, text: string, score: number,
 *   metadata: Record<string, string>, read: boolean}} Passage
 * @typedef {{prompt: number, cached: number, written: number}} Usage tokens
 * @typedef {"waiting"|"writing"|"done"|"stopped"|"failed"} State
 * @typedef {{question: string, text: string, state: State, problem: string|null,
 *   passages: Passage[], found: boolean, confidence: number|null, warnings: string[],
 *   timings: Record<string, number>, usage: Usage|null, finish: string|null,
 *   before: Turn|null}} Turn `before` has the answer that this one is to take the place of
 * @typedef {{id: string, title: string, updated: number, turns: Turn[]}} Conversation
 */

/** @returns {Turn} */
export function newTurn(question, before = null) {
  return {
    question, text: "", state: "waiting", problem: null, passages: [], found: true,
    confidence: null, warnings: [], timings: {}, usage: null, finish: null, before,
  };
}

/**
 * Ends a turn: only a whole answer takes the place of another.
 * @param {Conversation} conversation @param {Turn} turn
 * @returns {Turn} the one that stays
 */
export function settle(conversation, turn) {
  const { before } = turn;
  turn.before = null;
  if (!before || turn.state === "done") return turn;
  conversation.turns.splice(conversation.turns.indexOf(turn), 1, before);
  return before;
}

export const isRunning = (turn) => turn.state === "waiting" || turn.state === "writing";

/** @returns {Conversation} */
export function newConversation() {
  const random = crypto.getRandomValues(new Uint32Array(2));
  const id = `chat-${Array.from(random, (part) => part.toString(36)).join("")}`;
  return { id, title: "", updated: Date.now(), turns: [] };
}

/** The name that was given, or else the first question. */
export function titleOf(conversation) {
  const title = conversation.title || conversation.turns[0]?.question || "New conversation";
  const line = title.replace(/\s+/g, " ").trim();
  return line.length > TITLE_LENGTH ? `${line.slice(0, TITLE_LENGTH - 1).trimEnd()}…` : line;
}

/** Conversations by id. Works without storage too; then they last as long as the page. */
export class Conversations {
  constructor() {
    /** @type {Map<string, Conversation>} */
    this.byId = new Map();
    for (const [id, conversation] of stored()) this.byId.set(id, conversation);
  }

  /** @returns {Conversation[]} the latest first */
  get list() {
    return [...this.byId.values()].sort((one, other) => other.updated - one.updated);
  }

  get(id) {
    return this.byId.get(id) ?? null;
  }

  /** @returns {boolean} whether it is kept; false when the browser's storage is full or blocked */
  save(conversation) {
    this.byId.set(conversation.id, conversation);
    try {
      localStorage.setItem(PREFIX + conversation.id, JSON.stringify(conversation));
      return true;
    } catch {
      return false;
    }
  }

  remove(id) {
    this.byId.delete(id);
    try {
      localStorage.removeItem(PREFIX + id);
    } catch {
      // Storage is blocked, so nothing was kept.
    }
  }

  /** Follows changes of another tab; `changed` gets the id of the conversation. */
  follow(changed) {
    addEventListener("storage", ({ key, newValue }) => {
      if (!key?.startsWith(PREFIX)) return;
      const id = key.slice(PREFIX.length);
      const conversation = parsed(newValue);
      if (conversation) this.byId.set(id, conversation);
      else this.byId.delete(id);
      changed(id);
    });
  }
}

function* stored() {
  let keys = [];
  try {
    keys = Object.keys(localStorage).filter((key) => key.startsWith(PREFIX));
  } catch {
    return;
  }
  for (const key of keys) {
    const conversation = parsed(localStorage.getItem(key));
    if (conversation) yield [conversation.id, interrupted(conversation)];
  }
}

function parsed(text) {
  try {
    const value = JSON.parse(text ?? "null");
    if (!Array.isArray(value?.turns) || typeof value.id !== "string") return null;
    // What an earlier version of the page didn't keep is as in a new turn.
    const turns = value.turns.map((turn) => ({ ...newTurn(""), ...turn }));
    return { title: "", updated: 0, ...value, turns };
  } catch {
    return null;
  }
}

/** An answer that was being written when the page was left won't be written on. */
function interrupted(conversation) {
  for (const turn of conversation.turns.filter(isRunning)) {
    turn.state = "stopped";
    settle(conversation, turn);
  }
  return conversation;
}

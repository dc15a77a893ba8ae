// One question on its way: sent with what was said before, its answer taken as it comes.
import { complete, ServerError } from "./api.js";
import { announce } from "./dom.js";

const MOST_WAITS = 5; // how often a busy server is asked again by itself
const SENTENCES = /^[^]*[.!?。！？]["'’”)\]]*\s/;

/** @typedef {import("./conversations.js").Conversation} Conversation */
/** @typedef {import("./conversations.js").Turn} Turn */

export class Asking {
  /**
   * @param {Conversation} conversation
   * @param {Turn} turn the conversation's open question
   * @param {{model: () => Promise<string>, temperature?: number}} options
   * @param {(asking: Asking) => void} changed called whenever the turn has changed
   */
  constructor(conversation, turn, options, changed) {
    this.conversation = conversation;
    this.turn = turn;
    this.options = options;
    this.changed = () => changed(this);
    /** @type {number|null} when the server, now busy, is asked again (milliseconds, as Date.now) */
    this.retryAt = null;
    /** @type {ServerError|null} */
    this.error = null;
    this.controller = new AbortController();
    this.spoken = 0;
  }

  /** Ends with the turn done, stopped or failed; never throws. */
  async run() {
    const { turn } = this;
    try {
      await this.untilServed();
      turn.state = "done";
    } catch (error) {
      // A page that is left or loaded again loses its connections first; that is no failure.
      if (error.unreachable) await new Promise((resolve) => setTimeout(resolve, 100));
      this.error = error;
      const stopped = error.name === "AbortError";
      turn.state = stopped ? "stopped" : "failed";
      turn.problem = stopped ? null : problemOf(error);
    }
    this.changed();
  }

  stop() {
    this.controller.abort();
    this.hurry();
  }

  /** Asks a busy server again at once. */
  hurry() {
    this.endWait?.();
  }

  /** Tells screen readers the sentences that are whole and not told yet. */
  speak() {
    const rest = this.turn.text.slice(this.spoken);
    const whole = this.turn.state === "writing" ? (SENTENCES.exec(rest)?.[0] ?? "") : rest;
    this.spoken += whole.length;
    if (whole.trim()) announce(whole.replace(/\[(\d+)\]/g, " (passage $1) "));
    if (this.turn.state === "stopped") announce("Stopped.");
    if (this.turn.state === "failed") announce(this.turn.problem);
  }

  async untilServed() {
    for (let waits = 0; ; waits++) {
      try {
        await this.readStream();
        return;
      } catch (error) {
        const busy = error.retryAfter !== undefined && !this.turn.text;
        if (!busy || waits === MOST_WAITS) throw error;
        await this.wait(error.retryAfter);
      }
    }
  }

  async readStream() {
    const request = {
      model: await this.options.model(),
      messages: messages(this.conversation, this.turn),
      temperature: this.options.temperature,
    };
    for await (const chunk of complete(request, this.conversation.id, this.controller.signal)) {
      take(this.turn, chunk);
      this.changed();
    }
  }

  async wait(seconds) {
    this.retryAt = Date.now() + seconds * 1000;
    this.changed();
    await new Promise((resolve) => {
      this.endWait = resolve;
      setTimeout(resolve, seconds * 1000);
    });
    this.retryAt = null;
    this.controller.signal.throwIfAborted();
    this.changed();
  }
}

function problemOf(error) {
  if (error instanceof ServerError) return error.message;
  console.error(error);
  return "The server's answer could not be understood.";
}

/** What is sent: answered turns before this one, and the question. */
function messages(conversation, turn) {
  const before = conversation.turns.slice(0, conversation.turns.indexOf(turn));
  const said = before
    .filter((one) => one.text)
    .flatMap((one) => [
      { role: "user", content: one.question },
      { role: "assistant", content: one.text },
    ]);
  return [...said, { role: "user", content: turn.question }];
}

function take(turn, chunk) {
  const { passages, found, confidence, warnings, timings, usage } = chunk.uniconv ?? {};
  turn.state = "writing";
  if (passages) Object.assign(turn, { passages, found, confidence, warnings: warnings ?? [] });
  if (timings) turn.timings = { ...turn.timings, ...timings };
  takeUsage(turn, usage ?? chunk.usage);
  const choice = chunk.choices?.[0];
  turn.text += choice?.delta?.content ?? "";
  turn.finish = choice?.finish_reason ?? turn.finish;
}

function takeUsage(turn, usage) {
  if (!usage) return;
  turn.usage = {
    prompt: usage.prompt_tokens,
    cached: usage.prompt_tokens_details?.cached_tokens ?? usage.cached_tokens ?? 0,
    written: usage.completion_tokens,
  };
}

// Whether the server is there, and what it serves.
import * as api from "./api.js";
import { byId, counted } from "./dom.js";
import { notice } from "./notice.js";

const FIRST_WAIT = 1; // seconds; doubled up to the longest
const LONGEST_WAIT = 15;

export class Connection {
  /** @param {(model: object) => void} changed called when what the server serves is known anew */
  constructor(changed) {
    this.changed = changed;
    /** The model's entry (see `api.model`); null while the server hasn't told. */
    this.model = null;
    /** @type {api.ServerError|null} why the server is not there */
    this.error = null;
    this.checking = null;
    this.wait = FIRST_WAIT;
    addEventListener("online", () => this.error && this.check());
  }

  /** Asks the server what it serves; goes on by itself until it is reached. */
  check() {
    clearTimeout(this.timer);
    this.checking ??= this.ask().finally(() => (this.checking = null));
    return this.checking;
  }

  /** @throws {api.ServerError} the server is not there */
  async modelId() {
    if (!this.model) await this.check();
    if (!this.model) throw this.error;
    return this.model.id;
  }

  async ask() {
    try {
      this.model = await api.model();
      if (this.error) notice("Connected again.", { passing: true });
      this.error = null;
      this.wait = FIRST_WAIT;
      this.changed(this.model);
    } catch (error) {
      this.lost(error);
    }
  }

  lost(error) {
    this.error = error;
    const byItself = error.status === 401 ? "" : " Trying again by itself.";
    notice(error.message + byItself, { action: "Try now", act: () => this.check() });
    if (!byItself) return;
    this.timer = setTimeout(() => this.check(), (error.retryAfter ?? this.wait) * 1000);
    this.wait = Math.min(LONGEST_WAIT, 2 * this.wait);
  }
}

/** What the empty page and the side panel tell of the index. */
export function drawInfo({ id, uniconv }) {
  const { passages, documents } = uniconv;
  const count = counted(passages, "passage");
  byId("about").textContent = `${id} · ${count}`;
  byId("hint-documents").hidden = !documents;
  const empty = documents
    ? "There are no passages yet. Add documents, then ask about them."
    : "There are no passages yet. Index documents with “uniconv index”, then ask about them.";
  const ready = `${count} ${passages === 1 ? "is" : "are"} ready to be searched.`;
  byId("welcome-count").textContent = passages ? ready : empty;
}

// The line above the conversation that tells what went wrong, or right.
import { byId, node, textButton } from "./dom.js";

const PASSING = 4000; // milliseconds
let timer;

/**
 * @param {string} text
 * @param {{action?: string, act?: () => void, passing?: boolean}} [options] a button and what it
 *   does; passing: good news, gone by itself
 */
export function notice(text, { action = "Close", act = hideNotice, passing = false } = {}) {
  const place = byId("notice");
  clearTimeout(timer);
  place.hidden = false;
  place.classList.toggle("good", passing);
  place.replaceChildren(node("p", {}, text), passing ? "" : textButton(action, act));
  if (passing) timer = setTimeout(hideNotice, PASSING);
}

export function hideNotice() {
  clearTimeout(timer);
  byId("notice").hidden = true;
}

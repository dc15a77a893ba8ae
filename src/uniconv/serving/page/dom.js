// Elements. All that comes from data enters the page here, as text, never as markup.

/** @param {string} id */
export const byId = (id) => document.getElementById(id);

/**
 * An element; children may be elements, texts, or null (left out).
 * @param {string} tag
 * @param {Record<string, unknown>} [properties] of the element; `on` maps events to listeners
 * @param {...(Node|string|null)} children
 */
export function node(tag, properties = {}, ...children) {
  const { on = {}, ...own } = properties;
  const made = Object.assign(document.createElement(tag), own);
  for (const [event, listener] of Object.entries(on)) made.addEventListener(event, listener);
  made.append(...children.filter((child) => child !== null));
  return made;
}

/** An icon of the sprite in index.html, which screen readers pass over. */
export function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  use.setAttribute("href", `#i-${name}`);
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  svg.append(use);
  return svg;
}

/** A button with an icon, and a text that is shown or only told to screen readers. */
export function iconButton(name, label, listener, { shown = false } = {}) {
  const texts = shown ? [label] : [];
  return node("button", {
    type: "button",
    className: shown ? "quiet-button" : "icon-button",
    ariaLabel: shown ? null : label,
    title: shown ? "" : label,
    on: { click: listener },
  }, icon(name), ...texts);
}

/** A button with a text, as in notices and forms. */
export function textButton(label, listener, className = "") {
  const classes = `text-button ${className}`.trim();
  return node("button", { type: "button", className: classes, on: { click: listener } }, label);
}

/** @param {number} count @param {string} singular */
export function counted(count, singular) {
  return `${count.toLocaleString("en")} ${singular}${count === 1 ? "" : "s"}`;
}

/** @param {number} seconds */
export function duration(seconds) {
  if (seconds < 0.9995) return `${Math.max(1, Math.round(seconds * 1000))} ms`;
  return `${seconds.toFixed(seconds < 9.95 ? 1 : 0)} s`;
}

/** @param {string} text */
export function announce(text) {
  const said = node("p", { textContent: text });
  byId("announcer").append(said);
  setTimeout(() => said.remove(), 10_000);
}

// The panels at the sides: beside the conversation where there is room, else over it.
import { byId } from "./dom.js";

const panels = [];

export class Panel {
  /**
   * @param {HTMLElement} element
   * @param {{docks: string, always?: boolean}} options docks: the media query under which it lies
   *   beside the conversation; always: there it is always shown
   */
  constructor(element, { docks, always = false }) {
    this.element = element;
    this.room = matchMedia(docks);
    this.always = always;
    this.isOpen = false;
    this.opener = null;
    this.room.addEventListener("change", () => this.apply());
    element.querySelector(".close").addEventListener("click", () => this.close());
    byId("backdrop").addEventListener("click", () => this.close());
    addEventListener("keydown", (event) => this.onKey(event));
    panels.push(this);
    this.apply();
  }

  /** Whether it covers the conversation. */
  get covers() {
    return this.isOpen && !this.room.matches;
  }

  /** @param {Element} opener gets the focus back @param {HTMLElement} [target] gets it now */
  open(opener, target = this.element.querySelector("button")) {
    this.opener = opener;
    this.isOpen = true;
    this.apply();
    target.focus({ preventScroll: true });
  }

  close({ giveBack = true } = {}) {
    if (!this.isOpen) return;
    this.isOpen = false;
    this.apply();
    if (!giveBack) return;
    if (this.opener?.isConnected) this.opener.focus();
    else byId("question").focus();
  }

  onKey(event) {
    if (event.key !== "Escape" || event.defaultPrevented || !this.isOpen) return;
    if (byId("dialog").open || (!this.covers && !this.element.contains(event.target))) return;
    event.preventDefault();
    this.close();
  }

  get isShown() {
    return this.isOpen || (this.always && this.room.matches);
  }

  /** What a panel covers can't be reached, as the panels that are not shown. */
  apply() {
    const covering = panels.find((panel) => panel.covers);
    for (const panel of panels) {
      panel.element.dataset.shown = String(panel.isShown);
      panel.element.inert = !panel.isShown || (covering ?? panel) !== panel;
    }
    byId("backdrop").hidden = !covering;
    byId("main").inert = Boolean(covering);
  }
}

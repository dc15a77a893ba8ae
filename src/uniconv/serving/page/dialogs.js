// The one dialog: a question with a text to type in, or one to confirm.
import { byId } from "./dom.js";

/**
 * @param {{title: string, text?: string, accept: string, label?: string, value?: string,
 *   secret?: boolean, danger?: boolean}} options label: there is a field, and this is its name
 * @returns {Promise<string|null>} what was typed (empty without a field); null when cancelled
 */
export function ask({ title, text = "", accept, label, value = "", secret, danger }) {
  const dialog = byId("dialog");
  const form = dialog.querySelector("form");
  const field = byId("dialog-field");
  const input = field.querySelector("input");
  byId("dialog-title").textContent = title;
  byId("dialog-text").textContent = text;
  byId("dialog-text").hidden = !text;
  byId("dialog-accept").textContent = accept;
  byId("dialog-accept").classList.toggle("danger", Boolean(danger));
  field.hidden = !label;
  field.querySelector("span").textContent = label ?? "";
  Object.assign(input, { value, type: secret ? "password" : "text", required: Boolean(label) });
  input.disabled = !label;
  return new Promise((resolve) => {
    let answer = null;
    form.onsubmit = (event) => {
      event.preventDefault();
      answer = input.value.trim();
      dialog.close();
    };
    byId("dialog-cancel").onclick = () => dialog.close();
    dialog.onclose = () => resolve(answer);
    dialog.showModal();
    if (label) input.select();
    else byId("dialog-cancel").focus();
  });
}

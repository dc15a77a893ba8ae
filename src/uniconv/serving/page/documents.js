// Documents of the index: listed, added by a button or by dropping files, removed.
import * as api from "./api.js";
import { byId, counted, icon, iconButton, node } from "./dom.js";
import { ask } from "./dialogs.js";
import { notice } from "./notice.js";

export class Documents {
  /** @param {() => void} changed called when the index has other passages than before */
  constructor(changed) {
    this.changed = changed;
    this.enabled = false;
    this.depth = 0; // of elements entered by what is dragged
    byId("add-documents").addEventListener("click", () => byId("files").click());
    byId("files").addEventListener("change", ({ target }) => {
      this.add([...target.files]);
      target.value = "";
    });
    for (const event of ["dragenter", "dragover", "dragleave", "drop"]) {
      addEventListener(event, (one) => this.onDrag(one));
    }
  }

  /** @param {boolean} enabled whether the server takes documents */
  async show(enabled) {
    this.enabled = enabled;
    byId("documents").hidden = !enabled;
    if (!enabled) return;
    try {
      const all = await api.documents();
      byId("document-list").replaceChildren(...all.map((one) => this.draw(one)));
    } catch (error) {
      tell(error.message);
    }
  }

  /** @param {File[]} files */
  async add(files) {
    if (!files.length) return;
    if (!this.enabled) {
      notice("This server doesn't take documents. It does when it is started with them enabled.");
      return;
    }
    const what = files.length === 1 ? files[0].name : counted(files.length, "document");
    tell(`Adding ${what} …`);
    byId("documents").ariaBusy = "true";
    try {
      await api.upload(files);
      tell(`Added ${what}.`);
      notice(`Added ${what}.`, { passing: true });
      this.changed();
    } catch (error) {
      tell(`${what} could not be added.`);
      notice(`${what} could not be added: ${error.message}`);
    }
    byId("documents").ariaBusy = "false";
  }

  async remove(name) {
    const text = "Its passages can't be found any more. Answers that cite them stay.";
    const sure = await ask({ title: `Remove ${name}?`, text, accept: "Remove", danger: true });
    if (sure === null) return;
    try {
      await api.removeDocument(name);
      tell(`Removed ${name}.`);
      this.changed();
    } catch (error) {
      tell(error.message);
    }
    byId("add-documents").focus();
  }

  draw({ name, passages }) {
    return node("li", { className: "document" }, icon("file"),
      node("span", { className: "name", title: name }, name),
      node("span", { className: "faint small" }, counted(passages, "passage")),
      iconButton("trash", `Remove ${name}`, () => this.remove(name)));
  }

  onDrag(event) {
    if (!event.dataTransfer?.types.includes("Files")) return;
    event.preventDefault(); // or the browser leaves the page to open the file
    const steps = { dragenter: 1, dragleave: -1, drop: -this.depth };
    this.depth += steps[event.type] ?? 0;
    byId("drop").hidden = !this.enabled || this.depth <= 0;
    if (event.type === "drop") this.add([...event.dataTransfer.files]);
  }
}

function tell(text) {
  byId("documents-status").textContent = text;
}

// The chat page: what happens when the user asks, stops, edits, opens, renames, exports, deletes.
import { whenUnauthorized } from "./api.js";
import { Asking } from "./asking.js";
import { Connection, drawInfo } from "./connection.js";
import { Conversations, newConversation, newTurn, settle, titleOf } from "./conversations.js";
import { ask } from "./dialogs.js";
import { Documents } from "./documents.js";
import { announce, byId, node } from "./dom.js";
import { asJsonl, asMarkdown, download, fileName } from "./exports.js";
import { notice } from "./notice.js";
import { Panel } from "./panels.js";
import { drawPassages } from "./passages.js";
import { startThemeSwitch } from "./theme_switch.js";
import { asks, Transcript } from "./transcript.js";

const ANOTHER = 0.5; // temperature of another answer, which at 0 would be the same again

const store = new Conversations();
/** @type {Map<string, Asking>} by conversation */
const askings = new Map();
let current = newConversation();

const field = byId("question");
const sidebar = new Panel(byId("sidebar"), { docks: "(min-width: 56rem)", always: true });
const sources = new Panel(byId("sources"), { docks: "(min-width: 75rem)" });
const transcript = new Transcript({
  openPassages, again, edit, running: () => askings.has(current.id),
});
const connection = new Connection((model) => {
  drawInfo(model);
  documents.show(model.uniconv.documents);
});
const documents = new Documents(() => connection.check());

function start(turn, options = {}) {
  const model = () => connection.modelId();
  const asking = new Asking(current, turn, { model, ...options }, changed);
  askings.set(current.id, asking);
  keep(current);
  show(current);
  announce("Looking through the passages.");
  asking.run().then(() => finished(asking));
}

/** Draws at most once a frame, however fast the text comes. */
function changed(asking) {
  asking.frame ??= requestAnimationFrame(() => {
    asking.frame = null;
    draw(asking);
  });
}

function draw(asking) {
  if (!transcript.has(asking.turn)) return;
  const { retryAt } = asking;
  transcript.update(asking.turn, retryAt && { retryAt, hurry: () => asking.hurry() });
  asking.speak();
}

function finished(asking) {
  const { conversation, turn } = asking;
  askings.delete(conversation.id);
  draw(asking);
  const kept = settle(conversation, turn);
  if (store.get(conversation.id)) keep(conversation);
  if (kept !== turn && conversation === current) {
    show(current);
    notice(`${turn.problem ?? "Stopped."} The earlier answer is kept.`);
  }
  drawControls();
  if (asking.error?.unreachable) connection.check();
}

function submit() {
  const question = field.value.trim();
  if (!question || askings.has(current.id)) return;
  field.value = "";
  fitField();
  const turn = newTurn(question);
  current.turns.push(turn);
  location.hash = current.id;
  start(turn);
  if (matchMedia("(pointer: coarse)").matches) field.blur();
  else field.focus();
}

function stop() {
  askings.get(current.id)?.stop();
  field.focus();
}

function again(turn) {
  const whole = turn.state === "done";
  replace(turn, newTurn(turn.question, whole ? turn : null), whole ? { temperature: ANOTHER } : {});
}

function edit(turn, question) {
  replace(turn, newTurn(question));
}

function replace(turn, fresh, options = {}) {
  if (askings.has(current.id)) return;
  current.turns.splice(current.turns.indexOf(turn), Infinity, fresh);
  sources.close({ giveBack: false });
  start(fresh, options);
  field.focus();
}

function openPassages(turn, opener, cited) {
  const target = drawPassages(turn, cited);
  sources.open(opener, target);
  const place = target.closest("details")?.querySelector("mark") ?? target;
  place.scrollIntoView({ block: cited ? "center" : "end" });
}

/** The page is left, and with it the answer. */
function leave(asking) {
  asking.stop();
  asking.turn.state = "stopped";
  settle(asking.conversation, asking.turn);
  store.save(asking.conversation);
}

function keep(conversation) {
  conversation.updated = Date.now();
  if (!store.save(conversation)) {
    notice("The browser keeps no more conversations. Export and delete some, or this one is lost.");
  }
  drawList();
}

/** Shows a conversation; an unfinished one goes on. */
function show(conversation) {
  current = conversation;
  sources.close({ giveBack: false });
  transcript.show(conversation.turns);
  if (askings.has(conversation.id)) draw(askings.get(conversation.id));
  drawList();
  drawControls();
}

function drawControls() {
  const running = askings.has(current.id);
  byId("send").hidden = running;
  byId("stop").hidden = !running;
  byId("open-menu").disabled = !current.turns.length;
  byId("title").textContent = titleOf(current);
  document.title = current.turns.length ? `${titleOf(current)} – UniConv` : "UniConv";
}

function drawList() {
  const links = store.list.map((one) => {
    const link = node("a", { href: `#${one.id}`, title: titleOf(one) }, titleOf(one));
    if (one.id === current.id) link.setAttribute("aria-current", "page");
    link.addEventListener("click", () => sidebar.close({ giveBack: false }));
    return node("li", {}, link);
  });
  byId("conversations").replaceChildren(...links);
  byId("no-conversations").hidden = links.length > 0;
}

function showNew() {
  if (location.hash) history.pushState(null, "", location.pathname + location.search);
  show(newConversation());
  sidebar.close({ giveBack: false });
  field.focus();
}

function showAddressed() {
  const id = location.hash.slice(1);
  if (id === current.id) return;
  const found = store.get(id);
  if (found) show(found);
  else if (!id) show(newConversation());
}

async function rename() {
  const title = await ask({
    title: "Rename the conversation", label: "Name", value: current.title || titleOf(current),
    accept: "Rename",
  });
  if (title === null) return;
  current.title = title;
  keep(current);
  drawControls();
}

async function remove() {
  const sure = await ask({
    title: "Delete this conversation?", text: `“${titleOf(current)}” is kept nowhere else.`,
    accept: "Delete", danger: true,
  });
  if (sure === null) return;
  askings.get(current.id)?.stop();
  store.remove(current.id);
  showNew();
}

function fitField() {
  if (CSS.supports("field-sizing", "content")) return;
  field.style.height = "auto";
  field.style.height = `${field.scrollHeight}px`;
}

function onEscape(event) {
  const taken = event.defaultPrevented || byId("dialog").open;
  if (event.key === "Escape" && !taken && askings.has(current.id)) stop();
}

function startMenu() {
  const menu = byId("menu");
  const actions = {
    rename, delete: remove,
    "export-markdown": () =>
      download(fileName(current, "md"), "text/markdown", asMarkdown(current)),
    "export-jsonl": () =>
      download(fileName(current, "jsonl"), "application/jsonl", asJsonl([current])),
    "export-all": () => download("conversations.jsonl", "application/jsonl", asJsonl(store.list)),
  };
  for (const [id, act] of Object.entries(actions)) {
    byId(id).addEventListener("click", () => {
      menu.hidePopover();
      act();
    });
  }
  menu.addEventListener("beforetoggle", () => {
    const place = byId("open-menu").getBoundingClientRect();
    menu.style.top = `${place.bottom + 6}px`;
    menu.style.right = `${innerWidth - place.right}px`;
  });
}

function askForToken(refused) {
  return ask({
    title: refused ? "The token was not accepted" : "This server asks for a token",
    text: "Whoever runs the server has one for you. It is kept until this tab is closed.",
    label: "Token", secret: true, accept: "Connect",
  });
}

function begin() {
  whenUnauthorized(askForToken);
  byId("composer").addEventListener("submit", (event) => {
    event.preventDefault();
    submit();
  });
  field.addEventListener("keydown", (event) => {
    if (!asks(event)) return;
    event.preventDefault();
    submit();
  });
  field.addEventListener("input", fitField);
  byId("stop").addEventListener("click", stop);
  byId("new").addEventListener("click", showNew);
  byId("open-sidebar").addEventListener("click", (event) => sidebar.open(event.currentTarget));
  document.querySelector(".skip").addEventListener("click", (event) => {
    event.preventDefault();
    field.focus();
  });
  addEventListener("hashchange", showAddressed);
  addEventListener("keydown", onEscape);
  addEventListener("pagehide", () => askings.forEach(leave));
  store.follow((id) => {
    const mine = id === current.id && !askings.has(id) && store.get(id);
    if (mine) show(mine);
    else drawList();
  });
  startMenu();
  startThemeSwitch();
  show(current);
  showAddressed();
  connection.check();
}

begin();

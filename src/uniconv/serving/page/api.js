// The server's HTTP interface. Addresses are relative, so the page works below any path.

const TOKEN = "uniconv.token";
let token = kept();
let askForToken = async () => null;
let asking = null;

/** What went wrong, in a sentence for the user. */
export class ServerError extends Error {
  /**
   * @param {string} message
   * @param {{status?: number, retryAfter?: number}} [details] status 0: the server wasn't reached;
   *   retryAfter: seconds after which the server wants to be asked again
   */
  constructor(message, { status = 0, retryAfter } = {}) {
    super(sentence(message));
    this.status = status;
    this.retryAfter = retryAfter;
  }

  get unreachable() {
    return this.status === 0;
  }
}

/**
 * @param {(refused: boolean) => Promise<string|null>} ask called when the server wants a token;
 *   refused: it had one, and didn't take it
 */
export function whenUnauthorized(ask) {
  askForToken = ask;
}

/** The entry of the one model: its `id` and `uniconv`, which tells of the index. */
export async function model() {
  const list = await (await send("v1/models")).json();
  return list.data[0];
}

export async function documents() {
  return (await (await send("v1/documents")).json()).documents;
}

/** @param {File[]} files */
export async function upload(files) {
  const body = new FormData();
  for (const file of files) body.append("files", file, file.name);
  return (await send("v1/documents", { method: "POST", body })).json();
}

/** @param {string} name */
export async function removeDocument(name) {
  await send(`v1/documents/${encodeURIComponent(name)}`, { method: "DELETE" });
}

/**
 * The chunks of a streamed chat completion.
 * @param {string} conversation its id: a proxy sends it to the replica that has read it
 * @throws {ServerError} also for an error in the middle, and when the stream ends before its end
 */
export async function* complete(request, conversation, signal) {
  const response = await send("v1/chat/completions", {
    method: "POST",
    headers: { "Content-Type": "application/json", "X-UniConv-Conversation": conversation },
    body: JSON.stringify({ ...request, stream: true, stream_options: { include_usage: true } }),
    signal,
  });
  for await (const data of events(response.body)) {
    if (data === "[DONE]") return;
    const chunk = JSON.parse(data);
    if (chunk.error) throw new ServerError(chunk.error.message, { status: 500 });
    yield chunk;
  }
  throw new ServerError("The connection was lost in the middle of the answer.");
}

/** The data of server-sent events. */
async function* events(body) {
  let text = "";
  try {
    for await (const bytes of pieces(body.pipeThrough(new TextDecoderStream()))) {
      const lines = (text + bytes).split(/\r?\n/);
      text = lines.pop();
      for (const line of lines) if (line.startsWith("data:")) yield line.slice(5).trim();
    }
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ServerError("The connection was lost in the middle of the answer.");
  }
}

// Not every browser iterates over a stream by itself.
async function* pieces(stream) {
  const reader = stream.getReader();
  try {
    for (let read = await reader.read(); !read.done; read = await reader.read()) yield read.value;
  } finally {
    reader.cancel().catch(() => {});
  }
}

async function send(path, options = {}) {
  for (;;) {
    const response = await reach(path, options);
    if (response.ok) return response;
    const problem = await problemOf(response);
    if (response.status !== 401) throw problem;
    asking ??= askForToken(Boolean(token)).finally(() => (asking = null));
    const given = await asking;
    if (given === null) throw problem;
    keep(given);
  }
}

async function reach(path, options) {
  const headers = { ...options.headers, ...(token ? { Authorization: `Bearer ${token}` } : {}) };
  try {
    return await fetch(path, { ...options, headers });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ServerError("The server can't be reached.");
  }
}

async function problemOf(response) {
  const body = await response.json().catch(() => ({}));
  const wait = Number.parseFloat(response.headers.get("Retry-After") ?? "");
  return new ServerError(
    body.error?.message ?? `The server answered with an error (${response.status}).`,
    { status: response.status, retryAfter: Number.isFinite(wait) ? Math.max(0, wait) : undefined },
  );
}

/** The server's messages begin in lower case; names of fields and files stay as they are. */
function sentence(text) {
  const whole = /^[a-z]+ /.test(text) ? text[0].toUpperCase() + text.slice(1) : text;
  return /[.!?…]$/.test(whole) ? whole : `${whole}.`;
}

function kept() {
  try {
    return sessionStorage.getItem(TOKEN) ?? "";
  } catch {
    return "";
  }
}

function keep(given) {
  token = given;
  try {
    sessionStorage.setItem(TOKEN, given);
  } catch {
    // Storage is blocked: the token lasts as long as the page.
  }
}

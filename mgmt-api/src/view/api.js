// The API: questions, actions, the stream of events, and who is asking.
//
// A token lives in this tab's session storage and goes nowhere but into the Authorization header. Without one the
// gateway may know us all the same: by a client certificate, or because a tunnel ends at its unix socket.

const V1 = "/api/v1";
const KEY = "softwire-gateway.token";
const ROLES = ["read", "operate", "admin"];

/** An answer that is an error: a problem document (RFC 9457), or no answer at all (status 0). */
export class Problem extends Error {
  constructor(status, title, detail, retry) {
    super(detail || title);
    Object.assign(this, { status, title, detail: detail ?? "", retry });
  }
}

export const session = {
  name: null,
  role: null,
  token: sessionStorage.getItem(KEY),
  /** Whether whoever is logged in may do what takes this role. */
  may: (role) => ROLES.indexOf(session.role) >= ROLES.indexOf(role),
};

/** Logs in, with a token or as who we are anyway. Throws a Problem with status 401 when a token is needed. */
export async function login(token) {
  session.token = token ?? session.token;
  try {
    const who = await get("/whoami");
    Object.assign(session, { name: who.name, role: who.role });
  } catch (problem) {
    if (problem.status !== 404) throw problem;
    Object.assign(session, { name: null, role: "read" });
  }
  if (token) sessionStorage.setItem(KEY, token);
}

export function logout() {
  sessionStorage.removeItem(KEY);
  Object.assign(session, { name: null, role: null, token: null });
}

async function request(method, path, { params, signal, body, accept = "application/json" } = {}) {
  const url = new URL(V1 + path, location.origin);
  for (const [name, value] of Object.entries(params ?? {})) {
    if (value !== undefined && value !== null && value !== "") url.searchParams.set(name, value);
  }
  const headers = { accept };
  if (session.token) headers.authorization = `Bearer ${session.token}`;
  if (body !== undefined) headers["content-type"] = "application/json";
  let answer;
  try {
    answer = await fetch(url, { method, headers, signal, body: body && JSON.stringify(body), cache: "no-store" });
  } catch (error) {
    if (signal?.aborted && signal.reason?.name !== "TimeoutError") throw error;
    throw new Problem(0, "The gateway does not answer.");
  }
  if (answer.ok) return answer;
  const document = await answer.json().catch(() => ({}));
  const problem = new Problem(answer.status, document.title ?? `Error ${answer.status}`, document.detail,
    Number(answer.headers.get("retry-after")) || undefined);
  problem.document = document;
  if (answer.status === 401) window.dispatchEvent(new Event("unauthorized"));
  throw problem;
}

/** GET, decoded. Gives up after ten seconds. */
export async function get(path, params, signal) {
  const limits = [AbortSignal.timeout(10_000), ...(signal ? [signal] : [])];
  return (await request("GET", path, { params, signal: AbortSignal.any(limits) })).json();
}

/** GET of something that this gateway, or this role, may not have: null then. */
export async function maybe(path, params, signal) {
  try {
    return await get(path, params, signal);
  } catch (problem) {
    if (problem.status === 404 || problem.status === 403) return null;
    throw problem;
  }
}

/** An action. */
export const act = (method, path, body) =>
  request(method, path, { body, signal: AbortSignal.timeout(30_000) });

/**
 * Server-sent events, over fetch since EventSource carries no Authorization header. Yields { id, event, data }, the first
 * being "open". The gateway says something every quarter of a minute; a connection that is silent for longer is dead.
 */
export async function* stream(path, signal) {
  const dead = new AbortController();
  let timer;
  const alive = () => {
    clearTimeout(timer);
    timer = setTimeout(() => dead.abort(), 60_000);
  };
  signal.addEventListener("abort", () => clearTimeout(timer));
  const answer = await request("GET", path, { signal: AbortSignal.any([signal, dead.signal]), accept: "text/event-stream" });
  yield { event: "open" };
  let event = {};
  for await (const line of lines(answer.body)) {
    alive();
    if (line === "") {
      if (event.data !== undefined) yield { event: "message", ...event };
      event = {};
      continue;
    }
    const colon = line.indexOf(":");
    if (colon === 0) continue;
    const [field, rest] = colon < 0 ? [line, ""] : [line.slice(0, colon), line.slice(colon + 1)];
    const value = rest.startsWith(" ") ? rest.slice(1) : rest;
    if (field === "data") event.data = event.data === undefined ? value : `${event.data}\n${value}`;
    else if (field === "event" || field === "id") event[field] = value;
  }
}

async function* lines(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      const parts = (rest + value).split("\n");
      rest = parts.pop();
      for (const part of parts) yield part.endsWith("\r") ? part.slice(0, -1) : part;
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

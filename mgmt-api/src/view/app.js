// The page: who is looking, which view is shown, keys, and the line at the top that says whether what is seen is current.
//
//   index.html ── app.js ── api.js    questions, actions, events; the token
//                   │   └── live.js   samples of counters and the last events, for all views
//                   └── a view: overview, subscribers, sas, bgp, mesh, radius, commits, events
//                         └── dom.js, format.js, table.js, plot.js
//
// A view is { title, show(root, route, signal) }: it fills `root` and works until the signal is aborted. It may return a
// function that is given the next route of the same view, and says whether it needs not be shown anew. The route is the part of the address
// after "#/": name, further parts, parameters.

import { login, logout, session } from "./api.js";
import { badge, confirmed, failure, fill, h, put } from "./dom.js";
import { clock, duration } from "./format.js";
import { live, on, start } from "./live.js";
import { view as overview } from "./overview.js";
import { view as subscribers } from "./subscribers.js";
import { view as sas } from "./sas.js";
import { view as bgp } from "./bgp.js";
import { view as mesh } from "./mesh.js";
import { view as radius } from "./radius.js";
import { view as commits } from "./commits.js";
import { view as events } from "./events.js";

const VIEWS = { overview, subscribers, sas, bgp, mesh, radius, commits, events };
const NAMES = Object.keys(VIEWS);
const element = (id) => document.getElementById(id);

let shown = { name: null, stop: null, follow: null };
let working = null;

export function route() {
  const [path, query] = location.hash.replace(/^#\/?/, "").split("?");
  const [name, ...parts] = path.split("/").map((part) => {
    try {
      return decodeURIComponent(part);
    } catch {
      return part;
    }
  });
  return { name: VIEWS[name] ? name : "overview", parts, params: new URLSearchParams(query) };
}

function navigate() {
  if (!session.role) return;
  const next = route();
  if (next.name === shown.name && shown.follow?.(next)) return;
  shown.stop?.abort();
  const stop = new AbortController();
  const view = VIEWS[next.name];
  const root = h("div", { class: `view ${next.name}` });
  fill(element("main"), h("h1", null, view.title), root);
  document.title = `${view.title} · Softwire gateway`;
  for (const link of element("nav").querySelectorAll("a")) {
    if (link.dataset.name === next.name) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  element("nav").querySelector("[aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });
  const first = shown.name === null;
  shown = { name: next.name, stop, follow: view.show(root, next, stop.signal) };
  if (!first) element("main").focus({ preventScroll: true });
  window.scrollTo(0, 0);
}

function nav() {
  put(element("nav"), NAMES.map((name, i) =>
    h("a", { href: `#/${name}`, "data-name": name, "aria-keyshortcuts": String(i + 1) }, h("span", null, VIEWS[name].title), h("kbd", { "aria-hidden": "true" }, String(i + 1)))));
}

function state() {
  const drawn = () => {
    const { status, silent, failure: problem } = live;
    document.body.classList.toggle("stale", silent !== null);
    if (silent !== null) {
      const since = `since ${clock(silent)}`;
      return badge("bad", `${problem.status ? problem.message : "No answer"} ${since}`, "What is shown is from before.");
    }
    if (!status) return badge("idle", "connecting");
    return [badge("ok", "live"), h("span", { class: "muted version" }, `${status.version}, up ${duration(status.seconds)}`)];
  };
  put(element("state"), drawn());
}

function who() {
  const leave = () => {
    logout();
    ask();
  };
  const name = session.name ?? "not logged in";
  put(element("who"), h("span", { class: "name", title: `role ${session.role}` }, `${name} · ${session.role}`),
    session.token && h("button", { type: "button", onclick: leave }, "Log out"));
}

function begin() {
  document.body.classList.remove("locked");
  working?.abort();
  working = new AbortController();
  start(working.signal);
  on("sample", working.signal, state);
  nav();
  who();
  navigate();
}

// The login form, with what went wrong the last time.
function ask(problem) {
  working?.abort();
  shown.stop?.abort();
  shown = { name: null, stop: null, follow: null };
  document.body.classList.add("locked");
  document.body.classList.remove("stale");
  for (const part of ["nav", "state", "who"]) put(element(part));
  const token = h("input", { id: "token", type: "password", autocomplete: "off", spellcheck: "false", required: true, placeholder: "swgw_…" });
  const said = h("div", { role: "alert" });
  const button = h("button", { type: "submit", class: "primary" }, "Log in");
  const submit = async (event) => {
    event.preventDefault();
    button.disabled = true;
    try {
      await login(token.value.trim());
      begin();
    } catch (refused) {
      logout();
      put(said, explained(refused));
      token.select();
    }
    button.disabled = false;
  };
  fill(element("main"), h("form", { class: "login", onsubmit: submit },
    h("img", { src: "/view/icon.svg", alt: "", width: "48", height: "48" }),
    h("h1", null, "Softwire gateway"),
    h("label", { for: "token" }, "Access token"), token, said, button,
    h("p", { class: "muted" }, "A token of the role read suffices to look. It is made on the gateway by ", h("code", null, "swctl token create"), " and is forgotten when this tab is closed.")));
  if (problem) put(said, explained(problem));
  token.focus();
}

function explained(problem) {
  if (problem.status === 401) return h("p", { class: "failed" }, "The gateway does not accept this token.");
  if (problem.status === 429) return h("p", { class: "failed" }, `Too many failed attempts. Try again in ${duration(problem.retry ?? 2)}.`);
  return failure(problem);
}

const HELP = [
  ["1 – 8", "views"], ["/", "search"], ["j, k, arrows", "next, previous row"], ["Enter", "open the row"],
  ["Esc", "close the details"], ["w", "wall screen: larger, no menu"], ["?", "this help"],
];

function keys(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || !session.role || document.querySelector("dialog[open]")) return;
  const typing = event.target.matches("input, select, textarea");
  if (typing && event.key !== "Escape") return;
  const search = element("main").querySelector("input[type=search]");
  const view = NAMES[Number(event.key) - 1];
  if (view) location.hash = `#/${view}`;
  else if (event.key === "/" && search) search.focus();
  else if (event.key === "j" && !event.target.closest("tr, canvas")) element("main").querySelector("tr.opens")?.focus();
  else if (event.key === "w") document.body.classList.toggle("wall");
  else if (event.key === "?") confirmed("Keys", h("dl", { class: "facts" }, HELP.map(([key, what]) => [h("dt", null, h("kbd", null, key)), h("dd", null, what)])), null);
  else if (event.key === "Escape" && typing) event.target.blur();
  else if (event.key === "Escape") element("main").querySelector("[data-close]")?.click();
  else return;
  event.preventDefault();
}

document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  element("main").focus();
});
document.addEventListener("keydown", keys);
window.addEventListener("hashchange", navigate);
window.addEventListener("unauthorized", () => {
  if (!session.role) return;
  logout();
  ask(Object.assign(new Error(), { status: 401 }));
});

login().then(begin, (problem) => {
  if (problem.status === 401) {
    const expired = session.token !== null;
    logout();
    return ask(expired ? problem : undefined);
  }
  fill(element("main"), failure(problem), h("p", { class: "note" }, h("button", { type: "button", onclick: () => location.reload() }, "Try again")));
});

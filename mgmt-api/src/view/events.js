// Events as they happen. What happened while the page was elsewhere is there, too: `live` keeps the last ones.

import { badge, fill, h, put } from "./dom.js";
import { clock, plural, words } from "./format.js";
import { live, on } from "./live.js";

/** Families of kinds, by the part before the dot. */
const FAMILIES = ["session", "ike", "child", "bgp", "softwire", "config", "drain"];
const GOOD = ["up", "confirm", "done"];
const BAD = ["down", "failed", "reject", "revert"];

export const view = { title: "Events", show };

function mood(kind) {
  const verb = kind.split(".")[1];
  return GOOD.includes(verb) ? "ok" : BAD.includes(verb) ? "bad" : kind === "lagged" ? "warn" : "idle";
}

function told(event) {
  if (event.kind === "lagged") return `${plural(event.data.lost, "event")} missed: they came too fast, or the connection was down`;
  const rest = Object.entries(event.data).filter(([name, value]) => !["at", "kind"].includes(name) && value !== null && value !== 0 && value.length !== 0);
  return rest.map(([name, value]) => h("span", { class: "pair" },
    h("span", { class: "muted" }, words(name)), " ", h("b", null, Array.isArray(value) ? value.join(", ") : typeof value === "object" ? JSON.stringify(value) : String(value))));
}

export const NOTHING = "Nothing has happened since this page was opened.";

/** Words in place of events: a line as well, since they stand in a list. */
export const none = (text) => h("li", { class: "note" }, text);

/** An event as a line. */
export function brief(event) {
  return h("li", null, h("time", { datetime: event.at }, clock(event.at)), badge(mood(event.kind), event.kind), h("span", { class: "told" }, told(event)));
}

function show(root, route, signal) {
  const off = new Set((route.params.get("without") ?? "").split(",").filter(Boolean));
  let held = null;
  let sought = route.params.get("text") ?? "";
  const list = h("ol", { class: "brief long", "aria-label": "Events" });
  const hold = h("button", { type: "button", "aria-pressed": "false", onclick: () => {
    held = held ? null : [...live.events];
    hold.setAttribute("aria-pressed", String(held !== null));
    draw();
  } }, "Pause");
  const state = h("span", { class: "muted", role: "status" });

  const draw = () => {
    const all = held ?? live.events;
    const has = (event) => !sought || `${event.kind} ${JSON.stringify(event.data)}`.toLowerCase().includes(sought.toLowerCase());
    const wanted = all.filter((event) => !off.has(event.kind.split(".")[0]) && has(event));
    put(list, wanted.map(brief), wanted.length === 0 && none(all.length > 0 ? "No event is of these kinds." : NOTHING));
    const more = held ? live.events.findIndex((event) => event === held[0]) : 0;
    const behind = held && (more < 0 ? live.events.length : more);
    put(state, held ? `paused, ${plural(behind, "event")} since` : live.stream === "live" ? "listening" : live.stream);
  };
  const keep = () => {
    const params = new URLSearchParams();
    if (off.size > 0) params.set("without", [...off].join(","));
    if (sought) params.set("text", sought);
    history.replaceState(null, "", `#/events${params.size > 0 ? `?${params}` : ""}`);
    draw();
  };
  const chip = (family) => h("button", { type: "button", "aria-pressed": String(!off.has(family)), onclick: (event) => {
    if (!off.delete(family)) off.add(family);
    event.target.setAttribute("aria-pressed", String(!off.has(family)));
    keep();
  } }, family);

  fill(root, h("div", { class: "tools" },
    h("input", { type: "search", placeholder: "User, address, reason", "aria-label": "Search events", value: sought, oninput: (event) => {
      sought = event.target.value;
      keep();
    } }),
    h("div", { class: "choice", role: "group", "aria-label": "Kinds" }, FAMILIES.map(chip)),
    h("span", { class: "grow" }), state, hold),
  list);
  on("event", signal, draw);
}

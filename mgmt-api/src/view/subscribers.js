// Subscribers: searched and paged by the gateway, however many there are; one of them in detail beside the list.

import { badge, fill, h, put } from "./dom.js";
import { duration, isAddress, octets } from "./format.js";
import { live, on } from "./live.js";
import { details } from "./subscriber.js";
import { pages, table } from "./table.js";

const STATES = ["open", "network", "authorizing", "lcp", "tunnel", "closing"];

export const view = { title: "Subscribers", show };

export const mood = (state) => (state === "open" ? "ok" : state === "closing" ? "idle" : "warn");

/** What is typed into one box, as the parameter that the API has for it. */
function parameter(text) {
  if (/^[0-9]+\.[0-9]+$/.test(text)) return { id: text };
  // An address stands for its prefix, and the length of a prefix for nothing.
  const address = text.replace(/\/\d+$/, "");
  if (isAddress(address)) return { address };
  return text ? { user: text } : {};
}

function show(root, route, signal) {
  const wanted = Object.fromEntries(["q", "state", "listener"].map((name) => [name, route.params.get(name) ?? ""]));
  const aside = h("aside", { class: "details", "aria-label": "Details", hidden: true });
  let stop = new AbortController();
  signal.addEventListener("abort", () => stop.abort());

  const address = (id) => {
    const params = new URLSearchParams(Object.entries(wanted).filter(([, value]) => value));
    return `#/subscribers${id ? `/${encodeURIComponent(id)}` : ""}${params.size > 0 ? `?${params}` : ""}`;
  };
  const list = table({
    label: "Subscribers", empty: "No subscriber matches. Users are found by their whole name.", key: (row) => row.id,
    open: (row) => { location.hash = address(row.id); },
    columns: [
      { title: "User", class: "main", cell: (s) => s.user ?? s.ike_id ?? h("span", { class: "muted" }, "anonymous") },
      { title: "State", cell: (s) => badge(mood(s.state), s.state) },
      { title: "Listener", class: "extra", cell: (s) => s.listener ?? "" },
      { title: "Outer address", class: "extra", cell: (s) => h("code", null, s.outer) },
      { title: "IPv4", cell: (s) => s.ipv4 && h("code", null, s.ipv4) },
      { title: "IPv6", class: "extra", cell: (s) => [s.ipv6_prefix, s.delegated].filter(Boolean).map((p) => h("code", { class: "line" }, p)) },
      { title: "From", class: "num extra", cell: (s) => octets(s.counters.in_v4_octets + s.counters.in_v6_octets) },
      { title: "To", class: "num extra", cell: (s) => octets(s.counters.out_v4_octets + s.counters.out_v6_octets) },
      { title: "Up", class: "num", cell: (s) => duration(s.seconds) },
    ],
  });
  const filters = () => {
    const { id, ...rest } = parameter(wanted.q.trim());
    return { ...(id ? {} : rest), state: wanted.state, listener: wanted.listener };
  };
  const listed = pages({ signal, path: () => "/subscribers", filters, view: list, ms: 5000 });

  let typing;
  const changed = (name, value) => {
    wanted[name] = value;
    history.replaceState(null, "", address(null));
    clearTimeout(typing);
    typing = setTimeout(() => {
      const { id } = parameter(wanted.q.trim());
      if (id) location.hash = address(id);
      else listed.changed();
    }, 250);
  };
  const options = (name, label, values) => ["", ...values].map((value) => h("option", { value, selected: value === wanted[name] }, value || label));
  const select = (name, label, values) => h("select", { "aria-label": label, onchange: (event) => changed(name, event.target.value) }, options(name, label, values));
  const listeners = select("listener", "Any listener", wanted.listener ? [wanted.listener] : []);
  on("sample", signal, () => live.status && put(listeners, options("listener", "Any listener", live.status.listeners.map((one) => one.name))));

  fill(root,
    h("div", { class: "tools" },
      h("input", { type: "search", placeholder: "User, address or tunnel.session", "aria-label": "Search subscribers", value: wanted.q, oninput: (event) => changed("q", event.target.value) }),
      select("state", "Any state", STATES),
      listeners),
    h("div", { class: "split" }, h("div", { class: "list" }, list.node, listed.bar), aside));

  const follow = ({ parts: [id], params }) => {
    if (Object.entries(wanted).some(([name, value]) => value !== (params.get(name) ?? ""))) return false;
    stop.abort();
    stop = new AbortController();
    aside.hidden = !id;
    root.classList.toggle("opened", Boolean(id));
    list.select(id ?? null);
    if (!id) {
      fill(aside);
      return true;
    }
    const close = () => {
      location.hash = address(null);
    };
    details(aside, id, { signal: stop.signal, close, gone: () => listed.again() });
    return true;
  };
  follow(route);
  return follow;
}

// BGP: neighbours with what is exchanged, routes looked up, RPKI caches.

import { get, maybe } from "./api.js";
import { badge, facts, fill, h, panel, repeat } from "./dom.js";
import { count, duration, words } from "./format.js";
import { lookup } from "./routes.js";
import { table } from "./table.js";

export const view = { title: "BGP", show };

const code = (text) => text !== null && text !== undefined && h("code", null, text);
const FAMILY = { ipv4: "IPv4", ipv6: "IPv6" };
const PROTECTION = { md5: "TCP MD5", tcp_ao: "TCP-AO", none: "none" };
const up = (n) => n.state === "Established";
const state = (n) => badge(up(n) ? "ok" : n.stopped === "disabled" ? "idle" : "bad", n.stopped ? words(n.stopped) : n.state);
const per = (n, value) => n.families.map((f) => h("span", { class: f.negotiated || !up(n) ? "line" : "line muted" }, `${FAMILY[f.family]} ${value(f)}`));

function show(root, route, signal) {
  let chosen = route.parts[0] ?? null;
  let known = [];
  const aside = h("aside", { class: "details", "aria-label": "Details", hidden: true });
  const neighbours = table({
    label: "BGP neighbours", empty: "No BGP neighbours.", key: (n) => n.address, open: (n) => choose(n.address),
    columns: [
      { title: "Neighbour", class: "main", cell: (n) => [code(n.address), n.description && h("span", { class: "line muted" }, n.description)] },
      { title: "AS", class: "num", cell: (n) => (n.asn === 0 ? "any" : String(n.asn)) },
      { title: "State", cell: state },
      { title: "Up", class: "num", cell: (n) => duration(n.seconds) },
      { title: "Received", class: "num", cell: (n) => per(n, (f) => count(f.received)) },
      { title: "Accepted", class: "num extra", cell: (n) => per(n, (f) => count(f.accepted)) },
      { title: "Sent", class: "num extra", cell: (n) => per(n, (f) => count(f.advertised)) },
      { title: "Flaps", class: "num extra", cell: (n) => count(n.flaps) },
      { title: "Protection", class: "extra", cell: (n) => [h("span", null, PROTECTION[n.protection.method] ?? n.protection.method), n.protection.warnings.length > 0 && badge("warn", "key")] },
    ],
  });
  const caches = table({
    label: "RPKI caches", empty: "No RPKI caches.", key: (c) => c.name,
    columns: [
      { title: "Cache", class: "main", cell: (c) => c.name },
      { title: "State", cell: (c) => [badge(c.state === "up" ? "ok" : c.state === "synchronizing" ? "warn" : "bad", c.state, c.last_error), c.used && badge("idle", "in use")] },
      { title: "Address", cell: (c) => [code(c.address), c.tls && badge("idle", "TLS")] },
      { title: "VRPs", class: "num", cell: (c) => [h("span", { class: "line" }, `IPv4 ${count(c.ipv4)}`), h("span", { class: "line" }, `IPv6 ${count(c.ipv6)}`)] },
      { title: "Serial", class: "num", cell: (c) => c.serial ?? "–" },
      { title: "Heard", class: "num", cell: (c) => (c.seconds === null ? "never" : `${duration(c.seconds)} ago`) },
    ],
  });
  const routes = lookup({ signal, params: route.params, neighbours: () => known });

  const choose = (address) => {
    chosen = address;
    history.replaceState(null, "", `#/bgp${chosen ? `/${encodeURIComponent(chosen)}` : ""}`);
    neighbours.select(chosen);
    details();
  };
  const details = () => {
    const n = known.find((one) => one.address === chosen);
    aside.hidden = !n;
    root.classList.toggle("opened", Boolean(n));
    if (!n) return;
    // Refreshed as a whole, unless somebody is about to press one of its buttons.
    if (aside.contains(document.activeElement)) return;
    fill(aside,
      h("div", { class: "head" }, h("h2", null, n.description ?? n.address), h("span", { class: "grow" }), h("button", { type: "button", "data-close": true, "aria-label": "Close the details", onclick: () => choose(null) }, "✕")),
      facts(described(n)),
      h("div", { class: "buttons" },
        h("button", { type: "button", onclick: () => routes.show(n.address, "in") }, "Its routes"),
        h("button", { type: "button", onclick: () => routes.show(n.address, "out") }, "Routes sent to it")));
  };

  fill(root, h("div", { class: "split" }, h("div", { class: "list" }, panel("Neighbours", null, neighbours.node), routes.node, panel("RPKI caches", null, caches.node)), aside));
  repeat(signal, 5000, async () => {
    const [answer, others] = await Promise.all([get("/bgp/neighbours", null, signal), maybe("/bgp/rtr", null, signal)]);
    known = answer;
    neighbours.show(known);
    neighbours.select(chosen);
    caches.show(others ?? []);
    routes.refresh();
    details();
  }, (problem) => neighbours.fail(problem));
}

function described(n) {
  const agreed = n.negotiated;
  const yes = (value, text) => value && badge("idle", text);
  const messages = (m) => `${count(m.update)} updates, ${count(m.keepalive)} keepalives, ${count(m.notification)} notifications`;
  return [
    ["State", state(n)],
    ["Address", code(n.address)],
    ["AS, ours", `${n.asn === 0 ? "any" : n.asn}, ${n.local_asn}`],
    ["Router ID, ours", `${n.router_id ?? "–"}, ${n.local_router_id}`],
    ["Our address", code(n.local)],
    ["Established", `${count(n.established)} times, lost ${count(n.flaps)} times`],
    ["Last down", n.last_down && `${n.last_down}, ${duration(n.last_down_seconds)} ago`],
    ["Received", messages(n.received)],
    ["Sent", messages(n.sent)],
    ["Agreed on", agreed && [
      `hold time ${agreed.hold_time} s `, yes(agreed.extended_next_hop, "IPv6 next hops"), yes(agreed.extended_messages, "long messages"),
      yes(agreed.four_octet_as, "four-octet AS"), yes(agreed.enhanced_route_refresh || agreed.route_refresh, "route refresh"),
      yes(agreed.graceful_restart, "graceful restart"), yes(agreed.role, agreed.role)]],
    ["Families", n.families.map((f) => h("span", { class: "line" }, `${FAMILY[f.family]}: ${f.negotiated ? `${count(f.received)} received, ${count(f.accepted)} accepted, ${count(f.advertised)} sent` : "not carried"}${f.stale ? ", stale" : ""}${f.max_prefix ? `, at most ${count(f.max_prefix)} prefixes` : ""}`))],
    ["Import, export", `${n.import ?? "–"}, ${n.export ?? "–"}`],
    ["Reflector client", n.client && "yes"],
    ["Protection", [PROTECTION[n.protection.method], n.protection.key_chain && ` by ${n.protection.key_chain}`, n.protection.key_id !== null && ` (key ${n.protection.key_id})`, n.protection.ttl_security !== null && `, TTL security ${n.protection.ttl_security}`]],
    ["Key", n.protection.warnings.map((text) => badge("warn", text))],
    ["Refused", n.protection.refused && badge("bad", n.protection.refused)],
  ];
}

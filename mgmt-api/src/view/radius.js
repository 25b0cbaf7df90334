// RADIUS: servers, accounting records that wait, and what was dropped.

import { get } from "./api.js";
import { badge, failure, fill, h, note, panel, put, repeat } from "./dom.js";
import { count, plural, words } from "./format.js";

export const view = { title: "RADIUS", show };

/** Counters of a server that tell of trouble. */
const TROUBLE = /time|drop|forged|bad|malformed|unknown|invalid|lost|duplicate/;

function show(root, route, signal) {
  const top = h("div", { class: "tiles" });
  const servers = h("div", { class: "cards" });
  const discards = h("div", { class: "punts" });
  fill(root, top, servers, panel("Dynamic authorization", null, discards));
  repeat(signal, 3000, async () => {
    const r = await get("/radius", null, signal);
    const tile = (name, value, more) => h("div", { class: "tile" }, h("span", { class: "name" }, name), h("span", { class: "value" }, value), h("span", { class: "more" }, more));
    const alive = r.servers.filter((one) => one.alive).length;
    put(top,
      tile("Servers", `${count(alive)} of ${count(r.servers.length)}`, "answer"),
      tile("Subscribers waiting", count(r.waiting), "for an answer"),
      tile("Records pending", count(r.records_pending), "in the journal, not taken yet"),
      tile("Records taken", count(r.records_taken), "since the start"));
    put(servers, r.servers.map(server), r.servers.length === 0 && note("No RADIUS servers: subscribers are in the configuration."));
    const dropped = Object.entries(r.dynamic_discards).filter(([, n]) => n > 0);
    put(discards, dropped.length === 0 ? note("No request was dropped.") : [
      h("span", { class: "pair" }, "Requests dropped:"), dropped.map(([reason, n]) => h("span", { class: "pair" }, h("code", null, words(reason)), h("b", null, count(n))))]);
  }, (problem) => put(top, failure(problem)));
}

function server(one) {
  const rows = Object.entries(one.counters).filter(([, n]) => n > 0);
  return h("section", { class: `panel server ${one.alive ? "" : "dead"}`, "aria-label": `${one.name}, ${one.purpose}` },
    h("h2", null, one.name, " ", badge(one.alive ? "ok" : "bad", one.alive ? "answers" : "dead")),
    h("p", { class: "muted" }, `${one.purpose}, priority ${one.priority}`),
    h("p", null, h("code", null, one.address), badge("idle", one.transport)),
    h("p", { class: "muted" }, `${plural(one.links, "link")}, ${count(one.in_flight)} in flight`),
    h("table", { class: "small", "aria-label": `Counters of ${one.name}` }, h("tbody", null,
      rows.map(([name, n]) => h("tr", { class: TROUBLE.test(name) ? "trouble" : null }, h("th", { scope: "row" }, words(name)), h("td", { class: "num" }, count(n)))))));
}

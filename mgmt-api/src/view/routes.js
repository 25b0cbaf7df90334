// Looking up routes: the Loc-RIB with all its paths, or what a neighbour has sent and was sent. A page at a time.

import { badge, fill, h, panel } from "./dom.js";
import { pages, table } from "./table.js";
import { words } from "./format.js";

const ROV = { valid: "ok", invalid: "bad" };
const code = (text) => text !== null && text !== undefined && h("code", null, text);

/** The panel; `show(address, "in" | "out")` looks at a neighbour's routes, `refresh()` takes up new neighbours. */
export function lookup({ signal, neighbours }) {
  const chosen = { table: "", prefix: "", match: "longer", family: "" };
  const path = () => {
    const [way, address] = chosen.table.split(" ");
    return way ? `/bgp/neighbours/${encodeURIComponent(address)}/routes/${way}` : "/bgp/routes";
  };
  const filters = () => ({ family: chosen.family, prefix: chosen.prefix, match: chosen.prefix ? chosen.match : null });
  const rows = table({
    label: "Routes", empty: "No route matches.", key: (row) => row.key,
    columns: [
      { title: "Prefix", class: "main", cell: (row) => row.first && code(row.prefix) },
      { title: "Choice", cell: (row) => [row.best ? badge("ok", "best") : h("span", { class: "muted" }, row.why ?? ""), row.path.stale && badge("warn", "stale")] },
      { title: "Next hop", cell: (row) => [code(row.path.next_hop), row.egresses.map((e) => h("span", { class: "line muted" }, `softwire to ${e}`))] },
      { title: "From", cell: (row) => code(row.from) },
      { title: "AS path", cell: (row) => `${row.path.as_path || "–"} ${row.path.origin[0]}` },
      { title: "LP", class: "num", cell: (row) => row.path.local_pref ?? "–" },
      { title: "MED", class: "num extra", cell: (row) => row.path.med ?? "–" },
      { title: "ROV", cell: (row) => row.rov && badge(ROV[row.rov] ?? "idle", words(row.rov)) },
      { title: "Communities", class: "extra", cell: (row) => [...row.path.communities, ...row.path.large_communities, ...row.path.extended_communities].map((c) => h("code", { class: "line" }, c)) },
    ],
  });
  // A route of several paths is several rows.
  const view = {
    node: rows.node,
    fail: rows.fail,
    show: (routes) => rows.show(routes.flatMap((route) => paths(route))),
  };
  const listed = pages({ signal, path, filters, view });
  const look = () => {
    chosen.prefix = prefix.value.trim();
    listed.changed();
  };

  const select = (name, label, options) => h("select", { "aria-label": label, onchange: (event) => {
    chosen[name] = event.target.value;
    look();
  } }, options.map(([value, text]) => h("option", { value, selected: value === chosen[name] }, text)));
  const tables = select("table", "Table", [["", "Loc-RIB"]]);
  const search = (event) => {
    event.preventDefault();
    look();
  };
  const prefix = h("input", { type: "search", placeholder: "Prefix or address", "aria-label": "Prefix or address" });
  const node = panel("Routes", null,
    h("form", { class: "tools", onsubmit: search }, prefix,
      select("match", "Match", [["longer", "and within"], ["exact", "exactly"], ["covering", "and around"]]),
      select("family", "Family", [["", "Both families"], ["ipv4", "IPv4"], ["ipv6", "IPv6"]]), tables,
      h("button", { type: "submit", class: "primary" }, "Look up")),
    rows.node, listed.bar);

  let offered = "";
  const refresh = () => {
    const all = neighbours().flatMap((n) => [[`in ${n.address}`, `from ${n.description ?? n.address}`], [`out ${n.address}`, `to ${n.description ?? n.address}`]]);
    if (JSON.stringify(all) === offered) return;
    offered = JSON.stringify(all);
    fill(tables, [["", "Loc-RIB"], ...all].map(([value, text]) => h("option", { value, selected: value === chosen.table }, text)));
  };

  return {
    node,
    refresh,
    show(address, way) {
      refresh();
      chosen.table = `${way} ${address}`;
      tables.value = chosen.table;
      look();
      node.scrollIntoView({ block: "start" });
    },
  };
}

function paths(route) {
  if (!route.paths) {
    // Of an Adj-RIB: whom it is from is chosen above, and what was sent has no verdict.
    const why = route.verdict === "accepted" ? null : route.verdict;
    return [{ key: route.prefix, prefix: route.prefix, first: true, best: route.best, why, egresses: [], from: null, rov: route.rov, path: route }];
  }
  return route.paths.map((path, i) => ({
    key: `${route.prefix} ${i}`, prefix: route.prefix, first: i === 0, best: path.best, why: path.loses_by,
    egresses: i === 0 ? route.egresses : [], from: path.neighbour ?? "ourselves", rov: path.rov, path,
  }));
}

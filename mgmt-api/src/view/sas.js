// IKE SAs and child SAs, searched and paged by the gateway.

import { act, session } from "./api.js";
import { badge, confirmed, facts, fill, h, toast } from "./dom.js";
import { count, duration, isAddress, octets } from "./format.js";
import { pages, table } from "./table.js";

export const view = { title: "IPsec SAs", show };

const code = (text) => text && h("code", null, text);
const weak = (sa) => sa.weak.map((name) => badge("warn", `weak: ${name}`));

const IKE = {
  path: "/ike-sas",
  hint: "Identity or address",
  key: (sa) => `${sa.peer}-${sa.spi_i}`,
  empty: "No IKE SA matches. Peers are found by their whole identity.",
  filters: (text) => (isAddress(text) ? { address: text } : { id: text }),
  columns: [
    { title: "Peer's identity", class: "main", cell: (sa) => sa.remote_id ?? h("span", { class: "muted" }, "unknown") },
    { title: "State", cell: (sa) => badge(sa.state === "established" ? "ok" : "warn", sa.state) },
    { title: "Version", class: "extra", cell: (sa) => `IKEv${sa.version}` },
    { title: "Peer's address", cell: (sa) => [code(sa.remote), sa.natt && badge("idle", "NAT-T")] },
    { title: "PAD entry", class: "extra", cell: (sa) => sa.pad },
    { title: "Algorithms", class: "extra", cell: (sa) => [code(sa.algorithms), weak(sa), sa.shared_secret && badge("warn", "shared secret", "The identity is a claim.")] },
    { title: "Up", class: "num", cell: (sa) => duration(sa.seconds) },
  ],
  title: (sa) => sa.remote_id ?? sa.remote,
  facts: (sa) => [
    ["Our identity", sa.local_id], ["Our address", code(sa.local)], ["Peer's address", code(sa.remote)],
    ["SPIs", code(`${sa.spi_i} ${sa.spi_r}`)], ["Algorithms", [code(sa.algorithms), weak(sa)]],
    ["PAD entry", sa.pad], ["Up", duration(sa.seconds)], ["Peer number", String(sa.peer)],
  ],
  rekey: (sa) => `/ike-sas/${sa.peer}/rekey`,
};

const CHILD = {
  path: "/child-sas",
  hint: "Number of the IKE peer",
  key: (sa) => sa.spi_in,
  empty: "No child SA matches.",
  filters: (text) => ({ peer: text }),
  columns: [
    { title: "SPI in", class: "main", cell: (sa) => code(sa.spi_in) },
    { title: "SPI out", class: "extra", cell: (sa) => code(sa.spi_out) },
    { title: "Peer", class: "num", cell: (sa) => String(sa.peer) },
    { title: "Mode", class: "extra", cell: (sa) => [h("span", null, sa.mode), sa.encap && badge("idle", "UDP"), !sa.selected && badge("idle", "inbound only", "Outbound packets use another.")] },
    { title: "Algorithms", class: "extra", cell: (sa) => [code(sa.algorithms), sa.esn && badge("idle", "ESN"), weak(sa)] },
    { title: "Selectors", class: "extra", cell: (sa) => [h("code", { class: "line" }, sa.local_ts), h("code", { class: "line" }, sa.remote_ts)] },
    { title: "In", class: "num extra", cell: (sa) => octets(sa.in_octets) },
    { title: "Out", class: "num extra", cell: (sa) => octets(sa.out_octets) },
    { title: "Wrong", class: "num", cell: (sa) => (sa.replayed + sa.integrity_failures > 0 ? badge("bad", count(sa.replayed + sa.integrity_failures), `${sa.replayed} replayed, ${sa.integrity_failures} with a wrong ICV`) : "0") },
    { title: "Up", class: "num", cell: (sa) => duration(sa.seconds) },
  ],
  title: (sa) => `Child SA ${sa.spi_in}`,
  facts: (sa) => [
    ["Peer", h("span", null, String(sa.peer))], ["Mode", sa.mode], ["Algorithms", [code(sa.algorithms), weak(sa)]],
    ["Worker", sa.bound ? `${sa.worker}, for that one alone` : String(sa.worker)], ["Peer's resource", sa.bound && code(sa.peer_resource)],
    ["Our selector", code(sa.local_ts)], ["Peer's selector", code(sa.remote_ts)],
    ["In", `${count(sa.in_packets)} packets, ${octets(sa.in_octets)}`], ["Out", `${count(sa.out_packets)} packets, ${octets(sa.out_octets)}`],
    ["Replayed", count(sa.replayed)], ["Wrong ICV", count(sa.integrity_failures)], ["Up", duration(sa.seconds)],
  ],
  rekey: (sa) => `/child-sas/${sa.spi_in}/rekey`,
};

function show(root, route, signal) {
  const kind = route.parts[0] === "child" ? CHILD : IKE;
  let sought = route.params.get("q") ?? "";
  const aside = h("aside", { class: "details", "aria-label": "Details", hidden: true });
  const list = table({ label: kind === IKE ? "IKE SAs" : "Child SAs", empty: kind.empty, key: kind.key, columns: kind.columns, open });
  const listed = pages({ signal, path: () => kind.path, filters: () => (sought ? kind.filters(sought) : {}), view: list, ms: 5000 });

  function open(sa) {
    const close = () => {
      aside.hidden = true;
      root.classList.remove("opened");
      list.select(null);
      fill(aside);
    };
    const rekey = async () => {
      if (!(await confirmed(`Rekey ${kind.title(sa)}?`, "New keys are agreed on; traffic goes on meanwhile.", "Rekey"))) return;
      act("POST", kind.rekey(sa)).then(() => {
        toast("Rekeying.");
        listed.again();
      }, (problem) => toast(`Not rekeyed: ${problem.message}`, "bad"));
    };
    aside.hidden = false;
    root.classList.add("opened");
    list.select(kind.key(sa));
    fill(aside,
      h("div", { class: "head" }, h("h2", null, kind.title(sa)), h("span", { class: "grow" }), h("button", { type: "button", "data-close": true, "aria-label": "Close the details", onclick: close }, "✕")),
      facts(kind.facts(sa)),
      h("div", { class: "buttons" },
        kind === IKE && h("a", { class: "button", href: `#/sas/child?q=${sa.peer}` }, "Its child SAs"),
        session.may("operate") && h("button", { type: "button", onclick: rekey }, "Rekey")));
  }

  let typing;
  const search = (event) => {
    sought = event.target.value.trim();
    history.replaceState(null, "", `#/sas/${kind === IKE ? "ike" : "child"}${sought ? `?q=${encodeURIComponent(sought)}` : ""}`);
    clearTimeout(typing);
    typing = setTimeout(listed.changed, 250);
  };
  const tab = (name, text, one) => h("a", { href: `#/sas/${name}`, "aria-current": one === kind ? "page" : null }, text);
  fill(root,
    h("div", { class: "tools" },
      h("div", { class: "tabs" }, tab("ike", "IKE SAs", IKE), tab("child", "Child SAs", CHILD)),
      h("input", { type: "search", placeholder: kind.hint, "aria-label": "Search SAs", value: sought, oninput: search })),
    h("div", { class: "split" }, h("div", { class: "list" }, list.node, listed.bar), aside));
}

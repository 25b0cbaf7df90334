// One subscriber: who it is, what it has, what it sends, and the SAs below it.

import { act, get, maybe, session } from "./api.js";
import { badge, confirmed, facts, failure, fill, h, put, repeat, toast } from "./dom.js";
import { bits, count, duration, octets } from "./format.js";
import { plot } from "./plot.js";
import { mood } from "./subscribers.js";

/** Samples of a subscriber's own plot, one in two seconds. */
const SAMPLES = 150;

/** Fills `root` and keeps it current; `close` closes it, `gone` is told when the subscriber was disconnected. */
export function details(root, id, { signal, close, gone }) {
  const title = h("h2", null, id);
  const about = h("div");
  const traffic = h("div");
  const below = h("div");
  const actions = h("div", { class: "buttons" });
  const graph = plot({ title: "Traffic", format: bits, signal });
  const samples = [];
  let before = null;
  let known = null;

  const disconnect = async () => {
    const who = known.user ?? id;
    if (!(await confirmed(`Disconnect ${who}?`, "The session ends now. The client may come back at once.", "Disconnect"))) return;
    try {
      await act("DELETE", `/subscribers/${encodeURIComponent(id)}`);
      toast(`${who} is being disconnected.`);
      gone();
    } catch (problem) {
      toast(`${who} was not disconnected: ${problem.message}`, "bad");
    }
  };
  fill(root,
    h("div", { class: "head" }, title, h("span", { class: "grow" }), h("button", { type: "button", "data-close": true, "aria-label": "Close the details", onclick: close }, "✕")),
    about, graph.node, traffic, below, actions);
  // It is there once it is known whose session it ends.
  const end = session.may("operate") && h("button", { type: "button", class: "danger", onclick: disconnect }, "Disconnect");

  repeat(signal, 2000, async () => {
    const s = await get(`/subscribers/${encodeURIComponent(id)}`, null, signal);
    const first = known === null;
    known = s;
    put(actions, end);
    put(title, s.user ?? s.ike_id ?? "anonymous");
    put(about, identity(s));
    put(traffic, counters(s.counters));
    const now = { at: Date.now(), clock: performance.now(), ...s.counters };
    if (before) samples.push(rates(before, now));
    if (samples.length > SAMPLES) samples.shift();
    before = now;
    graph.draw(samples, [
      { name: "from it", color: "--in", value: (one) => one.up },
      { name: "to it", color: "--out", value: (one) => one.down },
    ], 300);
    if (first) repeat(signal, 5000, async () => put(below, known.ike_id ? await sas(known.ike_id, signal) : []), () => {});
  }, (problem) => {
    const ended = problem.status === 404;
    put(about, ended ? h("p", { class: "note" }, `There is no session ${id} any more.`) : failure(problem));
    if (ended) put(actions);
  });
}

function identity(s) {
  const limit = (kbits) => kbits && bits(kbits * 1000);
  const code = (text) => text && h("code", null, text);
  return facts([
    ["State", badge(mood(s.state), s.state)],
    ["IKE identity", s.ike_id],
    ["Listener", s.listener],
    ["Outer address", code(s.outer)],
    ["IPv4", code(s.ipv4)],
    ["Link prefix", code(s.ipv6_prefix)],
    ["Delegated", code(s.delegated)],
    ["DHCPv6 address", code(s.ipv6_address)],
    ["Routes", s.routes.map((route) => h("code", { class: "line" }, route))],
    ["Up", duration(s.seconds)],
    ["Session time left", s.seconds_left === null ? null : duration(s.seconds_left)],
    ["Rate from it", limit(s.rate_up)],
    ["Rate to it", limit(s.rate_down)],
    ["Filter", s.filter],
    ["MTU", count(s.mtu)],
    ["Tunnel, session", code(`${s.tunnel}, ${s.session}`)],
    ["The peer's", code(`${s.peer_tunnel}, ${s.peer_session}`)],
    ["Authenticated by", s.radius ? "RADIUS" : "configuration"],
    ["Acct-Session-Id", code(s.acct_session_id)],
  ]);
}

function counters(c) {
  const row = (name, p, o) => h("tr", null, h("th", { scope: "row" }, name), h("td", { class: "num" }, count(p)), h("td", { class: "num" }, octets(o)));
  return h("table", { class: "small", "aria-label": "Traffic of the session" },
    h("thead", null, h("tr", null, h("th", { scope: "col" }, "Direction"), h("th", { class: "num", scope: "col" }, "Packets"), h("th", { class: "num", scope: "col" }, "Octets"))),
    h("tbody", null,
      row("IPv4 from it", c.in_v4_packets, c.in_v4_octets), row("IPv4 to it", c.out_v4_packets, c.out_v4_octets),
      row("IPv6 from it", c.in_v6_packets, c.in_v6_octets), row("IPv6 to it", c.out_v6_packets, c.out_v6_octets)));
}

function rates(before, now) {
  const seconds = Math.max(0.001, (now.clock - before.clock) / 1000);
  const rate = (...names) => Math.max(0, names.reduce((sum, name) => sum + now[name] - before[name], 0) * 8 / seconds);
  return { at: now.at, up: rate("in_v4_octets", "in_v6_octets"), down: rate("out_v4_octets", "out_v6_octets") };
}

async function sas(identity, signal) {
  const found = (await maybe("/ike-sas", { id: identity, limit: 5 }, signal))?.items ?? [];
  return found.map((sa) => h("p", { class: "sa" },
    h("a", { href: `#/sas/ike?q=${encodeURIComponent(identity)}` }, `IKEv${sa.version} SA`), " ",
    badge(sa.state === "established" ? "ok" : "warn", sa.state), " ", h("code", null, sa.algorithms), " ",
    sa.weak.map((name) => badge("warn", `weak: ${name}`))));
}

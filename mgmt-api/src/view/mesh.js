// The mesh: AFBRs and the softwires to them as a picture, and the same in rows.

import { act, get, maybe, session } from "./api.js";
import { badge, confirmed, facts, failure, fill, h, note, panel, put, repeat, toast } from "./dom.js";
import { bits, count, duration, octets } from "./format.js";
import { picture } from "./picture.js";
import { table } from "./table.js";

export const view = { title: "Mesh", show };

const PERIOD = 3000;
const code = (text) => text && h("code", null, text);
const state = (s) => badge(s.state === "up" ? "ok" : "bad", s.state);

function show(root, route, signal) {
  let chosen = route.parts[0] ?? null;
  let before = new Map();
  let afbrs = [];
  let sessions = [];
  const choose = (remote) => {
    chosen = chosen === remote ? null : remote;
    history.replaceState(null, "", `#/mesh${chosen ? `/${encodeURIComponent(chosen)}` : ""}`);
    draw();
  };
  const drawing = picture({ signal, choose });
  const about = h("div", { class: "about" });
  const softwires = table({
    label: "Softwires", empty: "No softwires: nothing is routed to another AFBR.", key: (s) => s.id, open: (s) => choose(s.remote),
    columns: [
      { title: "AFBR", class: "main", cell: (s) => s.name ?? s.remote },
      { title: "State", cell: (s) => [state(s), s.bfd && badge(s.bfd === "up" ? "ok" : "bad", `BFD ${s.bfd}`)] },
      { title: "Ends", cell: (s) => [h("code", { class: "line" }, s.local), h("code", { class: "line" }, s.remote)] },
      { title: "Protection", cell: (s) => (s.peer ? [code(s.esp ?? "no SA"), s.profile && badge("idle", s.profile)] : badge("warn", "in the clear")) },
      { title: "MTU", class: "num", cell: (s) => count(s.mtu) },
      { title: "In", class: "num", cell: (s) => bits(s.rate.in) },
      { title: "Out", class: "num", cell: (s) => bits(s.rate.out) },
      { title: "Routed into it", cell: (s) => [s.prefixes.slice(0, 3).map((p) => h("code", { class: "line" }, p)), s.prefixes.length > 3 && h("span", { class: "muted" }, `and ${s.prefixes.length >= 100 ? "more" : s.prefixes.length - 3}`)] },
    ],
  });
  const bfd = table({
    label: "BFD sessions", empty: "No BFD sessions.", key: (b) => `${b.local} ${b.remote} ${b.multihop}`,
    columns: [
      { title: "Peer", class: "main", cell: (b) => code(b.remote) },
      { title: "State", cell: (b) => badge(b.state === "up" ? "ok" : "bad", b.state, b.diagnostic) },
      { title: "For", cell: (b) => [b.neighbour && badge("idle", "BGP"), b.softwire && badge("idle", "softwire"), b.multihop && badge("idle", "multihop")] },
      { title: "Every", class: "num", cell: (b) => (b.transmit_interval_ms === null ? "–" : `${count(b.transmit_interval_ms)} ms`) },
      { title: "Detects in", class: "num", cell: (b) => (b.detection_time_ms === null ? "–" : `${count(b.detection_time_ms)} ms`) },
      { title: "Downs", class: "num", cell: (b) => count(b.downs) },
      { title: "Since", class: "num", cell: (b) => duration(b.seconds) },
    ],
  });

  const draw = () => {
    drawing.draw(afbrs, chosen);
    const one = afbrs.find((a) => a.remote === chosen);
    softwires.show(afbrs.flatMap((a) => a.softwires).filter((s) => !one || s.remote === one.remote));
    put(about, one ? one.softwires.map((s) => [h("h3", null, `${one.name} · softwire ${s.id}`), described(s)]) : summary(afbrs));
    for (const button of about.querySelectorAll("button")) button.onclick = () => rekey(button.dataset.id);
  };
  const rekey = async (id) => {
    if (!(await confirmed(`Rekey softwire ${id}?`, "New keys are agreed on; traffic goes on meanwhile.", "Rekey"))) return;
    act("POST", `/softwires/${id}/rekey`).then(() => toast("Rekeying."), (problem) => toast(`Not rekeyed: ${problem.message}`, "bad"));
  };

  fill(root, h("div", { class: "board top" }, h("div", { class: "wide" }, panel("AFBRs and softwires", null, drawing.node)), panel("Details", null, about)),
    panel("Softwires", null, softwires.node), panel("BFD", null, bfd.node));
  repeat(signal, PERIOD, async () => {
    const [answer, others] = await Promise.all([all("/softwires", signal), maybe("/bfd", null, signal)]);
    const at = performance.now();
    const now = new Map(answer.map((s) => [s.id, { ...s, at }]));
    for (const s of answer) s.rate = rate(before.get(s.id), now.get(s.id));
    before = now;
    afbrs = grouped(answer);
    sessions = others ?? [];
    draw();
    bfd.show(sessions);
  }, (problem) => {
    put(about, failure(problem));
    softwires.fail(problem);
  });
}

/** All pages of a list that is short. */
async function all(path, signal) {
  const rows = [];
  let after = null;
  do {
    const page = await get(path, { after, limit: 1000 }, signal);
    rows.push(...page.items);
    after = page.next;
  } while (after);
  return rows;
}

function rate(before, now) {
  if (!before || now.in_octets < before.in_octets || now.out_octets < before.out_octets) return { in: 0, out: 0 };
  const seconds = Math.max(0.001, (now.at - before.at) / 1000);
  return { in: (8 * (now.in_octets - before.in_octets)) / seconds, out: (8 * (now.out_octets - before.out_octets)) / seconds };
}

function grouped(softwires) {
  const found = new Map();
  for (const s of softwires) {
    const one = found.get(s.remote) ?? { remote: s.remote, name: s.name ?? s.remote, local: s.local, softwires: [] };
    one.softwires.push(s);
    found.set(s.remote, one);
  }
  return [...found.values()];
}

function summary(afbrs) {
  const all = afbrs.flatMap((a) => a.softwires);
  if (all.length === 0) return note("This gateway has no softwires to other AFBRs.");
  const sum = (way) => all.reduce((total, s) => total + s.rate[way], 0);
  return [facts([
    ["AFBRs", count(afbrs.length)],
    ["Softwires up", `${count(all.filter((s) => s.state === "up").length)} of ${count(all.length)}`],
    ["In the clear", count(all.filter((s) => !s.peer).length)],
    ["In", bits(sum("in"))],
    ["Out", bits(sum("out"))],
  ]), note("Choose an AFBR to see its softwires.")];
}

function described(s) {
  return [facts([
    ["State", [state(s), s.bfd && badge(s.bfd === "up" ? "ok" : "bad", `BFD ${s.bfd}`)]],
    ["Our end", code(s.local)], ["Its end", code(s.remote)],
    ["PAD entry", s.peer ?? badge("warn", "in the clear")], ["Profile", s.profile], ["Algorithms", code(s.esp)],
    ["MTU, path MTU", `${count(s.mtu)}, ${count(s.path_mtu)}`], ["Too big", s.too_big],
    ["Inner sources", s.strict ? "checked" : "not checked"], ["Padded", s.tfc ? "to one length" : null],
    ["In", `${bits(s.rate.in)}, ${octets(s.in_octets)} in all`], ["Out", `${bits(s.rate.out)}, ${octets(s.out_octets)} in all`],
    ["Prefixes", s.prefixes.slice(0, 20).map((p) => h("code", { class: "line" }, p))],
  ]), s.peer && session.may("operate") && h("div", { class: "buttons" }, h("button", { type: "button", "data-id": String(s.id) }, "Rekey"))];
}

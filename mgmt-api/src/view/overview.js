// The overview: what passes, what is dropped and why, who is there, and what to look at. It fits a wall screen.

import { maybe } from "./api.js";
import { badge, failure, fill, h, note, panel, put, repeat } from "./dom.js";
import { bits, count, duration, packets, percent } from "./format.js";
import { NOTHING, brief, none } from "./events.js";
import { HARMLESS, live, on } from "./live.js";
import { plot } from "./plot.js";
import { table } from "./table.js";
import { warnings } from "./warnings.js";

const RANGES = [["2 min", 120], ["10 min", 600], ["1 h", 3600]];
/** Reasons with a color of their own; the others are put together. */
const TOP = 5;

export const view = { title: "Overview", show };

function show(root, route, signal) {
  let seconds = 120;
  let unit = "bits";
  const slow = {};
  const traffic = plot({ title: "Throughput", format: (n) => (unit === "bits" ? bits(n) : packets(n)), signal });
  const dropped = plot({ title: "Drops by reason", format: packets, stacked: true, signal });
  const tiles = h("div", { class: "tiles" });
  const number = h("span");
  const watch = h("ul", { class: "watch" });
  const reasons = table({
    label: "Drops by reason", empty: "No packet has been dropped.", key: (row) => row.reason,
    columns: [
      { title: "Reason", class: "main", cell: (row) => h("code", null, row.reason) },
      { title: "Now", class: "num", cell: (row) => packets(row.rate) },
      { title: "Since start", class: "num", cell: (row) => count(row.total) },
    ],
  });
  const workers = h("div", { class: "workers" });
  const latest = h("ol", { class: "brief" });
  const listeners = h("div", { class: "listeners" });
  const punts = h("div");

  const choose = (label, options, chosen) => h("div", { class: "choice", role: "group", "aria-label": label },
    options.map(([text, value]) => h("button", { type: "button", "aria-pressed": String(value === chosen()), onclick: (event) => {
      if (label === "Range") seconds = value;
      else unit = value;
      for (const one of event.target.parentElement.children) one.setAttribute("aria-pressed", String(one === event.target));
      draw();
    } }, text)));
  const head = h("div", { class: "tools" },
    choose("Unit", [["bit/s", "bits"], ["pps", "packets"]], () => unit),
    choose("Range", RANGES, () => seconds));

  const draw = () => {
    const { samples, status, counters } = live;
    if (!status) {
      if (live.failure) put(tiles, failure(live.failure));
      return;
    }
    const now = samples.at(-1);
    put(tiles, cards(now, status, samples));
    traffic.draw(samples, [
      { name: "received", color: "--in", value: (one) => one.received[unit] },
      { name: "sent", color: "--out", value: (one) => one.sent[unit] },
    ], seconds);
    dropped.draw(samples, stack(samples.slice(-Math.ceil(seconds / 2))), seconds);
    reasons.show(totals(counters, now));
    put(workers, (now?.workers ?? []).map(bar), !now && note("Measuring …"));
    put(listeners, status.listeners.map(listener), status.listeners.length === 0 && note("No listeners: an AFBR only."));
    put(punts, classes(now));
    alarm();
  };
  const alarm = () => {
    const found = warnings({ status: live.status, counters: live.counters, sample: live.samples.at(-1), ...slow });
    const bad = found.filter((one) => one.kind === "bad").length;
    put(number, bad > 0 && badge("bad", String(bad), "alarms"), found.length > bad && badge("warn", String(found.length - bad), "warnings"));
    put(watch, found.map(({ kind, text, more, href }) => h("li", { class: kind },
      badge(kind, kind === "bad" ? "alarm" : "warning"), " ",
      h(href ? "a" : "span", { href, class: "what" }, text), more && h("span", { class: "muted" }, more))),
    found.length === 0 && h("li", { class: "ok" }, badge("ok", "fine"), " ", "Nothing to look at."));
  };

  fill(root, tiles, h("div", { class: "board" },
    h("div", { class: "wide" }, panel("Throughput", head, traffic.node)),
    panel("Attention", number, watch),
    h("div", { class: "wide" }, panel("Drops", null, dropped.node, reasons.node)),
    h("div", { class: "stack" }, panel("Workers", null, workers), panel("To the control plane", null, punts), panel("Listeners", null, listeners))),
  panel("Last events", null, latest));

  on("sample", signal, draw);
  on("event", signal, () => put(latest, live.events.slice(0, 8).map(brief),
    live.events.length === 0 && none(live.stream === "live" ? NOTHING : live.stream)));
  const learn = (name, path, params) => maybe(path, params, signal).then((answer) => { slow[name] = answer; });
  repeat(signal, 10_000, async () => {
    await Promise.all([
      learn("drain", "/drain"),
      learn("neighbours", "/bgp/neighbours"),
      learn("softwires", "/softwires", { limit: 1000 }),
      learn("radius", "/radius"),
      learn("caches", "/bgp/rtr"),
      learn("commits", "/config/commits", { limit: 5 }),
      // A gateway that is not ready says why in a problem document.
      learn("ready", "/ready").catch((problem) => { slow.ready = problem.document; }),
    ]);
    if (live.status) alarm();
  }, () => {});
}

function cards(now, status, samples) {
  const rate = (one, format) => (now ? format(one(now)) : "…");
  const card = (name, value, more, href, spark) => h(href ? "a" : "div", { class: "tile", href },
    h("span", { class: "name" }, name), h("span", { class: "value" }, value), h("span", { class: "more" }, more ?? ""), spark);
  const before = samples.at(-31);
  const trend = (key) => {
    const grown = before && now ? now[key] - before[key] : 0;
    return grown === 0 ? "steady" : `${grown > 0 ? "+" : "−"}${count(Math.abs(grown))} in a minute`;
  };
  return [
    card("Received", rate((n) => n.received.bits, bits), rate((n) => n.received.packets, packets)),
    card("Sent", rate((n) => n.sent.bits, bits), rate((n) => n.sent.packets, packets)),
    card("Dropped", rate((n) => n.lost, packets), now ? `${percent(now.received.packets > 0 ? Math.min(1, now.lost / now.received.packets) : 0)} of received` : ""),
    card("Sessions", count(status.open_sessions), status.sessions > status.open_sessions ? `${count(status.sessions - status.open_sessions)} on their way` : trend("sessions"), "#/subscribers"),
    card("IKE SAs", count(status.ike_sas), trend("ike"), "#/sas"),
    card("Child SAs", count(status.child_sas), trend("child"), "#/sas/child"),
    card("Busiest worker", now ? percent(Math.max(0, ...now.workers.map((w) => w.load))) : "…", `of ${count(status.workers)}`),
    card("Up", duration(status.seconds), `version ${status.version}`),
  ];
}

// Series of the reasons that dropped most within the samples, the rest as one.
function stack(samples) {
  const sum = {};
  for (const { drops } of samples) {
    for (const [reason, rate] of Object.entries(drops)) if (!HARMLESS.includes(reason)) sum[reason] = (sum[reason] ?? 0) + rate;
  }
  const top = Object.keys(sum).sort((a, b) => sum[b] - sum[a]).slice(0, TOP);
  const rest = (one) => one.lost - top.reduce((all, reason) => all + (one.drops[reason] ?? 0), 0);
  const series = top.map((reason, i) => ({ name: reason, color: `--c${i + 1}`, value: (one) => one.drops[reason] ?? 0 }));
  return Object.keys(sum).length > TOP ? [...series, { name: "others", color: "--c6", value: rest }] : series;
}

function totals(counters, now) {
  const sum = {};
  for (const worker of counters.workers) {
    for (const [name, value] of Object.entries(worker)) {
      if (name.startsWith("drop.") && value > 0) sum[name.slice(5)] = (sum[name.slice(5)] ?? 0) + value;
    }
  }
  return Object.entries(sum)
    .map(([reason, total]) => ({ reason, total, rate: now?.drops[reason] ?? 0 }))
    .sort((a, b) => b.rate - a.rate || b.total - a.total)
    .slice(0, 8);
}

function bar(worker, i) {
  const meter = h("div", { class: "meter", role: "meter", "aria-label": `Load of worker ${i}`, "aria-valuemin": "0", "aria-valuemax": "100", "aria-valuenow": String(Math.round(worker.load * 100)) });
  const fill = h("div", { class: worker.load > 0.9 ? "fill hot" : "fill" });
  fill.style.width = `${worker.load * 100}%`;
  meter.append(fill);
  return h("div", { class: "worker" },
    h("span", { class: "name" }, `worker ${i}`), meter,
    h("span", { class: "num" }, worker.stuck ? badge("bad", "stuck") : percent(worker.load)),
    h("span", { class: "muted" }, `${packets(worker.received)} in, ${packets(worker.sent)} out${worker.lost > 0 ? `, ${packets(worker.lost)} lost` : ""}`));
}

function classes(now) {
  const all = Object.entries(now?.punts ?? {}).sort((a, b) => b[1] - a[1]);
  if (all.length === 0) return note("Nothing at the moment.");
  return h("table", { class: "small", "aria-label": "Packets to the control plane" }, h("tbody", null, all.map(([name, rate]) =>
    h("tr", null, h("th", { scope: "row" }, h("code", null, name)), h("td", { class: "num" }, packets(rate))))));
}

function listener(one) {
  const kind = one.anonymous || one.protection === "none" ? "warn" : "ok";
  return h("div", { class: "listener" },
    h("span", { class: "name" }, one.name), h("code", null, one.address),
    badge(kind, one.protection === "none" ? "in the clear" : one.protection), one.anonymous && badge("warn", "anonymous"),
    one.ikev1 && badge(one.ikev1.weak.length > 0 ? "warn" : "idle", "IKEv1", one.ikev1.weak.join(", ")));
}

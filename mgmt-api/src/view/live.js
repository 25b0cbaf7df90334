// What every view shares, kept up to date while the page is open: status, counters as rates, and the last events.
//
//   GET /status, /counters  every 2 s ──► differences ──► `live.samples`, an hour of them
//   GET /events, one stream           ──► `live.events`, the last 500
//
// Counters only grow. When one has shrunk, the gateway was restarted and its history begins anew.

import { get, session, stream } from "./api.js";
import { repeat } from "./dom.js";

/** Milliseconds between samples. */
export const PERIOD = 2000;
const SAMPLES = 1800;
const EVENTS = 500;
/** Drops that are no loss: packets that end here on purpose. */
export const HARMLESS = ["consumed", "esp_dummy"];

export const live = {
  status: null,
  counters: null,
  /** { at, received: { packets, bits }, sent, drops: { reason: per second }, lost, punts, load: [share], workers } */
  samples: [],
  /** { at, kind, data }, the newest first. */
  events: [],
  /** "connecting", "live", or why there are no events. */
  stream: "connecting",
  /** Since when the gateway has not answered, milliseconds since the epoch. */
  silent: null,
  failure: null,
};

const listeners = { sample: new Set(), event: new Set() };

/** Calls `f` after every sample ("sample") or event ("event") until the signal is aborted, and once now. */
export function on(what, signal, f) {
  listeners[what].add(f);
  signal.addEventListener("abort", () => listeners[what].delete(f));
  f();
}

const tell = (what) => listeners[what].forEach((f) => f());

// A thousand events a second are drawn four times a second.
let told = null;
const tellEvent = () => {
  told ??= setTimeout(() => {
    told = null;
    tell("event");
  }, 250);
};

/** Starts both; they end with the signal. */
export function start(signal) {
  Object.assign(live, { status: null, counters: null, samples: [], events: [], silent: null, failure: null });
  let before = null;
  repeat(signal, PERIOD, async () => {
    const [status, counters] = await Promise.all([get("/status", null, signal), get("/counters", null, signal)]);
    const now = { at: Date.now(), clock: performance.now(), sums: sums(counters), workers: counters.workers };
    if (before && live.status && (status.seconds < live.status.seconds || shrunk(before.sums, now.sums))) {
      live.samples = [];
      before = null;
    }
    if (before) live.samples.push(sample(before, now, status));
    if (live.samples.length > SAMPLES) live.samples.shift();
    before = now;
    Object.assign(live, { status, counters, silent: null, failure: null });
    tell("sample");
  }, (problem) => {
    live.silent ??= Date.now();
    live.failure = problem;
    tell("sample");
  });
  listen(signal);
}

function sums(counters) {
  const total = {};
  for (const worker of counters.workers) {
    for (const [name, value] of Object.entries(worker)) total[name] = (total[name] ?? 0) + value;
  }
  return total;
}

const shrunk = (before, now) => now.polls < before.polls || now.received < before.received;

function sample(before, now, status) {
  const seconds = Math.max(0.001, (now.clock - before.clock) / 1000);
  const rate = (name) => ((now.sums[name] ?? 0) - (before.sums[name] ?? 0)) / seconds;
  const named = (prefix) => Object.fromEntries(Object.keys(now.sums)
    .filter((name) => name.startsWith(prefix))
    .map((name) => [name.slice(prefix.length), rate(name)])
    .filter(([, value]) => value > 0));
  const drops = named("drop.");
  const workers = now.workers.map((worker, i) => {
    const old = before.workers[i] ?? worker;
    const grown = (name) => (worker[name] ?? 0) - (old[name] ?? 0);
    const lost = Object.keys(worker).filter((n) => n.startsWith("drop.") && !HARMLESS.includes(n.slice(5)));
    return {
      load: grown("polls") > 0 ? 1 - grown("idle_polls") / grown("polls") : 0,
      stuck: grown("polls") === 0,
      received: grown("received") / seconds,
      sent: grown("sent") / seconds,
      bits: (8 * (grown("received_octets") + grown("sent_octets"))) / seconds,
      lost: lost.reduce((sum, name) => sum + grown(name), 0) / seconds,
    };
  });
  return {
    at: now.at,
    received: { packets: rate("received"), bits: 8 * rate("received_octets") },
    sent: { packets: rate("sent"), bits: 8 * rate("sent_octets") },
    drops,
    lost: Object.entries(drops).reduce((sum, [reason, value]) => sum + (HARMLESS.includes(reason) ? 0 : value), 0),
    punts: named("punt."),
    workers,
    sessions: status.open_sessions,
    ike: status.ike_sas,
    child: status.child_sas,
  };
}

// Reconnects for as long as we are logged in. The gateway does not repeat what was missed, but its numbers tell how much.
async function listen(signal) {
  let last = null;
  while (!signal.aborted) {
    try {
      for await (const { event, id, data } of stream("/events", signal)) {
        if (event === "open") {
          live.stream = "live";
        } else {
          if (last !== null && Number(id) > last + 1 && live.events[0]?.kind !== "lagged") remember("lagged", JSON.stringify({ lost: id - last - 1 }));
          remember(event, data);
          last = id === undefined ? last : Number(id);
        }
        tellEvent();
      }
      live.stream = "connecting";
    } catch (problem) {
      if (signal.aborted) return;
      live.stream = problem.status ? problem.message : "connecting";
      if (problem.status === 404 || problem.status === 403 || !session.role) return tellEvent();
    }
    tellEvent();
    await new Promise((next) => setTimeout(next, 3000));
  }
}

function remember(kind, text) {
  let data;
  try {
    data = JSON.parse(text);
  } catch {
    data = { detail: text };
  }
  const fields = data !== null && typeof data === "object" ? data : { detail: String(data) };
  live.events.unshift({ kind, at: fields.at ?? new Date().toISOString(), data: fields });
  live.events.length = Math.min(live.events.length, EVENTS);
}

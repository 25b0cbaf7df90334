// What an operator should look at, out of everything that the gateway says of itself. Pure: answers in, warnings out.

import { clock, count, duration, packets, percent, plural } from "./format.js";
import { HARMLESS } from "./live.js";

/** Load of a worker that leaves no room for a burst. */
const BUSY = 0.9;

/**
 * Warnings, the worst first: { kind: "bad" | "warn", text, more, href }. Whatever is null is not known, or not offered.
 */
export function warnings({ status, counters, sample, ready, drain, neighbours, softwires, radius, caches, commits }) {
  const found = [];
  const bad = (text, more, href) => found.push({ kind: "bad", text, more, href });
  const warn = (text, more, href) => found.push({ kind: "warn", text, more, href });

  for (const { path, detail } of ready?.errors ?? []) {
    if (path !== "/checks/drain") bad("Not ready", detail);
  }
  if (drain && drain.state !== "off") {
    warn(drain.state === "drained" ? "Drained" : "Draining", `${drain.mode}: ${plural(drain.sessions_left, "session")} left, no new ones`);
  }
  for (const [i, worker] of (sample?.workers ?? []).entries()) {
    if (worker.stuck) bad(`Worker ${i} does not poll`, "its packets wait");
    else if (worker.load > BUSY) warn(`Worker ${i} is busy`, percent(worker.load));
  }
  for (const [name, value] of Object.entries(counters?.fib ?? {})) {
    if (name.startsWith("refused_") && value > 0) bad("Forwarding table full", `${plural(value, "route")} of IP${name.slice(8)} not installed`);
  }
  for (const worker of counters?.workers ?? []) {
    if (worker.ops_refused > 0) bad("A worker refused table changes", `${count(worker.ops_refused)}; please report this`);
  }
  const worst = Object.entries(sample?.drops ?? {}).filter(([reason]) => !HARMLESS.includes(reason)).sort((a, b) => b[1] - a[1])[0];
  if (worst && sample.received.packets > 0 && sample.lost > 0.01 * sample.received.packets && sample.lost > 10) {
    warn(`${percent(Math.min(1, sample.lost / sample.received.packets))} of packets dropped`, `${worst[0]} ${packets(worst[1])}`);
  }
  for (const s of softwires?.items ?? []) {
    if (s.state !== "up") bad(`Softwire to ${s.name ?? s.remote} is ${s.state}`, [s.profile, s.bfd && `BFD ${s.bfd}`].filter(Boolean).join(", "), "#/mesh");
  }
  const clear = (softwires?.items ?? []).filter((s) => !s.peer);
  if (clear.length > 0) warn(`${plural(clear.length, "softwire")} in the clear`, clear.map((s) => s.name ?? s.remote).slice(0, 3).join(", "), "#/mesh");
  for (const n of neighbours ?? []) {
    const who = n.description ?? n.address;
    if (n.protection.refused) bad(`BGP neighbour ${who} is not protected`, n.protection.refused, "#/bgp");
    else if (n.state !== "Established" && n.stopped !== "disabled") bad(`BGP neighbour ${who} is down`, n.stopped ?? n.last_down ?? n.state, "#/bgp");
    for (const text of n.protection.warnings) warn(`BGP key of ${who}`, text, "#/bgp");
  }
  for (const cache of caches ?? []) {
    if (cache.state !== "up" && cache.state !== "synchronizing") warn(`RPKI cache ${cache.name} is ${cache.state}`, cache.last_error, "#/bgp");
  }
  for (const server of radius?.servers ?? []) {
    if (!server.alive) bad(`RADIUS server ${server.name} does not answer`, server.purpose, "#/radius");
  }
  for (const commit of (commits?.commits ?? []).filter((c) => c.state === "pending")) {
    warn(`Commit ${commit.id} waits to be confirmed`, commit.confirm_by ? `by ${commit.author}; taken back at ${clock(commit.confirm_by)}` : `by ${commit.author}`, "#/commits");
  }
  for (const listener of status?.listeners ?? []) {
    const name = `Listener ${listener.name}`;
    if (listener.anonymous) warn(`${name} admits anybody`, listener.protection === "none" ? "no authentication, no protection of packets" : "no authentication");
    else if (listener.protection === "none") warn(`${name} is not protected`, "L2TP in the clear");
    const v1 = listener.ikev1;
    const weak = [...(v1?.weak ?? []), ...(v1?.sha256_96 ? ["sha256 cut to 96 bits"] : [])];
    if (weak.length > 0) warn(`${name} allows weak algorithms`, `IKEv1: ${weak.join(", ")}`);
    if (v1?.shared_secret) warn(`${name} has one key for everybody`, "identities are claims");
  }
  if (status && status.seconds < 60) warn("Started a moment ago", duration(status.seconds));
  return found.sort((a, b) => (a.kind === b.kind ? 0 : a.kind === "bad" ? -1 : 1));
}

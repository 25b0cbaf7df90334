// The picture of the mesh: this gateway in the middle, AFBRs around it, a line for each softwire.
//
// A line is green while packets pass and red while none do, dashed where nothing protects them, and the thicker the more
// passes. On a narrow screen the AFBRs stand below one another instead. All in CSS pixels of the box.

import { h, note, put, s } from "./dom.js";
import { bits, plural } from "./format.js";

/** AFBRs that are drawn; the rest is in the table. */
const MOST = 36;
/** Width of a box that has room for a circle. */
const NARROW = 620;
/** Widths of a site, in em: of the circle, of the ladder. */
const WIDE = 13;
const NEAR = 11;

export function picture({ signal, choose }) {
  const node = h("div", { class: "picture" });
  let shown = { afbrs: [], chosen: null };

  const draw = () => {
    const width = Math.floor(node.clientWidth);
    if (width < 1) return;
    const { afbrs, chosen } = shown;
    if (afbrs.length === 0) return put(node, note("No softwires."));
    const drawn = [...afbrs].sort((a, b) => urgency(b) - urgency(a)).slice(0, MOST);
    // In the order of their addresses, so that nobody moves while one goes up or down.
    drawn.sort((a, b) => afbrs.indexOf(a) - afbrs.indexOf(b));
    const em = parseFloat(getComputedStyle(node).fontSize);
    const plan = width < NARROW ? ladder(drawn.length, width, em) : circle(drawn.length, width, em);
    const label = `${afbrs.length} AFBRs, ${afbrs.flatMap((a) => a.softwires).filter((w) => w.state !== "up").length} softwires down`;
    const focused = node.contains(document.activeElement) ? document.activeElement.dataset.remote : null;
    put(node,
      s("svg", { width, height: plan.height, viewBox: `0 0 ${width} ${plan.height}`, role: "group", "aria-label": label },
        drawn.map((afbr, i) => links(afbr, plan, plan.places[i], chosen, em)),
        drawn.map((afbr, i) => site(afbr, plan, plan.places[i], chosen, em)),
        hub(drawn[0].local, plan.hub, em)),
      afbrs.length > MOST && note(`${afbrs.length - MOST} more AFBRs are in the table.`));
    if (focused) [...node.querySelectorAll(".site")].find((one) => one.dataset.remote === focused)?.focus();
  };
  const pick = (event) => {
    const one = event.target.closest(".site");
    if (!one || (event.type === "keydown" && !["Enter", " "].includes(event.key))) return;
    event.preventDefault();
    choose(one.dataset.remote);
  };
  node.addEventListener("click", pick);
  node.addEventListener("keydown", pick);
  let width = 0;
  const size = new ResizeObserver(() => {
    if (node.clientWidth !== width) draw();
    width = node.clientWidth;
  });
  size.observe(node);
  signal.addEventListener("abort", () => size.disconnect());

  return {
    node,
    draw(afbrs, chosen) {
      shown = { afbrs, chosen };
      draw();
    },
  };
}

const passing = (wire) => wire.rate.in + wire.rate.out;
const urgency = (afbr) => (afbr.softwires.some((w) => w.state !== "up") ? 1e18 : 0) + afbr.softwires.reduce((sum, w) => sum + passing(w), 0);

// Places on an ellipse, every other one further in when it is crowded.
function circle(n, width, em) {
  const height = Math.round(Math.max(22 * em, Math.min(width * 0.62, 44 * em)));
  const hub = { x: width / 2, y: height / 2 };
  const places = Array.from({ length: n }, (_, i) => {
    const angle = (2 * Math.PI * i) / n - Math.PI / 2 + (n === 2 ? Math.PI / 2 : 0);
    const reach = n > 12 && i % 2 === 1 ? 0.66 : 1;
    return { x: hub.x + Math.cos(angle) * reach * (width / 2 - 7.5 * em), y: hub.y + Math.sin(angle) * reach * (height / 2 - 2.6 * em) };
  });
  return { height, hub, places };
}

function ladder(n, width, em) {
  const step = 6 * em;
  const places = Array.from({ length: n }, (_, i) => ({ x: width - (NEAR / 2 + 0.4) * em, y: step * (i + 0.5) + 4.4 * em }));
  return { height: Math.round(step * n + 5 * em), hub: { x: 6.8 * em, y: 2.2 * em }, places, narrow: true };
}

const short = (text, most) => (text.length > most ? `${text.slice(0, most - 1)}…` : text);

function box({ x, y }, em, wide, title, more, attributes, name) {
  const [width, height] = [wide * em, 3.4 * em];
  return s("g", { ...attributes, transform: `translate(${x.toFixed(1)} ${y.toFixed(1)})` },
    s("title", null, name),
    s("rect", { x: -width / 2, y: -height / 2, width, height, rx: 0.5 * em }),
    s("text", { class: "name", y: -0.2 * em }, short(title, Math.round(1.5 * wide))),
    s("text", { class: "address", y: 1.1 * em }, short(more, Math.round(1.7 * wide))));
}

const hub = (local, at, em) => box(at, em, WIDE, "this gateway", local, { class: "hub" }, `This gateway, ${local}`);

function site(afbr, plan, at, chosen, em) {
  const down = afbr.softwires.filter((w) => w.state !== "up").length;
  const kind = down === 0 ? "up" : down === afbr.softwires.length ? "down" : "partly";
  const name = `${afbr.name}: ${afbr.softwires.length - down} of ${afbr.softwires.length} softwires up`;
  const more = afbr.name === afbr.remote ? plural(afbr.softwires.length, "softwire") : afbr.remote;
  return box(at, em, plan.narrow ? NEAR : WIDE, afbr.name, more, {
    class: `site ${kind}${chosen === afbr.remote ? " chosen" : ""}`, tabindex: "0", role: "button",
    "aria-pressed": String(chosen === afbr.remote), "aria-label": name, "data-remote": afbr.remote,
  }, name);
}

// Softwires to one AFBR are bent apart; each has its rates beside it, on the outer side.
function links(afbr, plan, to, chosen, em) {
  const from = plan.hub;
  const n = afbr.softwires.length;
  const [dx, dy] = [to.x - from.x, to.y - from.y];
  const length = Math.hypot(dx, dy) || 1;
  const [nx, ny] = [-dy / length, dx / length];
  return afbr.softwires.map((wire, i) => {
    const side = i - (n - 1) / 2;
    const bend = side * 3 * em;
    const off = bend + Math.sign(side) * (Math.abs(nx) * 3.5 + Math.abs(ny) * 1.6) * em;
    // Further out there is more room, unless the line is a short one between two boxes.
    const far = 0.5 + (0.12 * Math.abs(dy)) / length;
    const trunk = 1.5 * em;
    const path = plan.narrow
      ? `M ${trunk} ${from.y} V ${to.y + 0.85 * bend} H ${to.x}`
      : `M ${from.x} ${from.y} Q ${from.x + dx / 2 + 2 * bend * nx} ${from.y + dy / 2 + 2 * bend * ny} ${to.x} ${to.y}`;
    const at = plan.narrow
      ? { x: (trunk + to.x - (NEAR / 2) * em) / 2 + 0.3 * em, y: to.y + 0.85 * bend - 0.8 * em }
      : { x: from.x + far * dx + off * nx, y: from.y + far * dy + off * ny };
    const rate = passing(wire);
    const state = `${wire.state === "up" ? "up" : "down"}${wire.peer ? "" : " clear"}${chosen && chosen !== afbr.remote ? " faint" : ""}`;
    return s("g", { class: `wire ${state}` },
      s("path", { d: path, "stroke-width": (1.5 + Math.max(0, Math.log10(rate + 1) - 3) * (plan.narrow ? 0.3 : 0.7)).toFixed(2) }),
      rate > 0 && s("path", { class: "flow", d: path }),
      (n <= 2 || i === 0) && rates(wire, plan.narrow, at, em));
  });
}

function rates(wire, narrow, { x, y }, em) {
  const both = [`↓ ${bits(wire.rate.in)}`, `↑ ${bits(wire.rate.out)}`];
  const lines = wire.state !== "up" ? [wire.state] : narrow ? [both.join("  ")] : both;
  return s("text", { class: "rate", y: (y - ((lines.length - 1) / 2) * 1.15 * em + 0.3 * em).toFixed(1) },
    lines.map((line, i) => s("tspan", { x: x.toFixed(1), dy: i === 0 ? 0 : 1.15 * em }, line)));
}

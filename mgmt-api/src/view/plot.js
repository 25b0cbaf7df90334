// Plots of samples over time: lines, or areas on top of each other, on a canvas that fits its box.
//
// A pointer, or the arrow keys, choose a moment; the legend then shows its values instead of the latest ones.

import { h, put } from "./dom.js";
import { clock } from "./format.js";

/** Room around the plot for its scales, in the size of their type. */
const frame = (type) => ({ left: 6.4 * type, right: type, top: 0.9 * type, bottom: 2.1 * type });
/** Samples further apart than this are not joined, milliseconds. */
const GAP = 10_000;

/**
 * A plot; `format` writes a value, `stacked` puts series on top of each other. `draw(samples, series, seconds)` shows the
 * last `seconds` of them; a series is { name, color: "--in", value: (sample) => number }.
 */
export function plot({ title, format, stacked = false, signal }) {
  const canvas = h("canvas", { tabindex: "0", role: "img", "aria-label": title });
  const legend = h("div", { class: "legend" });
  const node = h("figure", { class: "plot" }, legend, h("div", { class: "canvas" }, canvas));
  let shown = { samples: [], series: [], seconds: 120 };
  let chosen = null;
  let pad = frame(12);

  const draw = () => {
    const box = canvas.parentElement.getBoundingClientRect();
    if (box.width < 1) return;
    const ratio = window.devicePixelRatio || 1;
    canvas.width = Math.round(box.width * ratio);
    canvas.height = Math.round(box.height * ratio);
    const pen = canvas.getContext("2d");
    pen.scale(ratio, ratio);
    const style = getComputedStyle(canvas);
    pad = frame(parseFloat(style.fontSize));
    paint(pen, box, pad, shown, chosen, { format, stacked, style });
    label(legend, canvas, shown, chosen, { title, format, stacked });
  };

  // The pointer's moment is kept as a time, so that it stays with its sample while time passes.
  const choose = (at) => {
    const nearest = (best, one) => (Math.abs(one.at - at) < Math.abs(best.at - at) ? one : best);
    chosen = at === null || shown.samples.length === 0 ? null : shown.samples.reduce(nearest).at;
    draw();
  };
  canvas.addEventListener("pointermove", (event) => {
    const box = canvas.getBoundingClientRect();
    const share = (event.clientX - box.left - pad.left) / (box.width - pad.left - pad.right);
    choose(end(shown) - (1 - share) * shown.seconds * 1000);
  });
  canvas.addEventListener("pointerleave", () => choose(null));
  canvas.addEventListener("blur", () => choose(null));
  canvas.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!step || shown.samples.length === 0) return;
    const at = shown.samples.findIndex((sample) => sample.at === chosen);
    const next = at < 0 ? shown.samples.length - 1 : at + step;
    choose(shown.samples[Math.min(Math.max(next, 0), shown.samples.length - 1)].at);
    event.preventDefault();
  });
  const size = new ResizeObserver(draw);
  size.observe(node);
  signal.addEventListener("abort", () => size.disconnect());
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw, { signal });

  return {
    node,
    draw(samples, series, seconds) {
      const from = (samples.at(-1)?.at ?? Date.now()) - seconds * 1000;
      shown = { samples: samples.filter((sample) => sample.at >= from), series, seconds };
      draw();
    },
  };
}

const end = ({ samples }) => samples.at(-1)?.at ?? Date.now();

// The first 1, 2 or 5 times a power of ten that is enough.
function ceiling(value) {
  const power = 10 ** Math.floor(Math.log10(Math.max(value, 1)));
  return [1, 2, 5, 10].map((n) => n * power).find((n) => n >= value) ?? 10 * power;
}

function paint(pen, box, pad, { samples, series, seconds }, chosen, { format, stacked, style }) {
  const color = (name) => style.getPropertyValue(name).trim();
  const [width, height] = [box.width - pad.left - pad.right, box.height - pad.top - pad.bottom];
  const last = end({ samples });
  const totals = samples.map((sample) => series.map((one) => one.value(sample)));
  const highest = Math.max(1, ...totals.map((row) => (stacked ? row.reduce((a, b) => a + b, 0) : Math.max(0, ...row))));
  const top = ceiling(highest);
  const x = (at) => pad.left + width * (1 - (last - at) / (seconds * 1000));
  const y = (value) => pad.top + height * (1 - value / top);

  pen.font = `${Math.round(parseFloat(style.fontSize))}px ${style.fontFamily}`;
  pen.lineWidth = 1;
  pen.textBaseline = "middle";
  for (let i = 0; i <= 4; i += 1) {
    const at = Math.round(y((top * i) / 4)) + 0.5;
    pen.strokeStyle = color("--line");
    pen.beginPath();
    pen.moveTo(pad.left, at);
    pen.lineTo(pad.left + width, at);
    pen.stroke();
    pen.fillStyle = color("--muted");
    pen.textAlign = "right";
    if (i % 2 === 0) pen.fillText(format((top * i) / 4), pad.left - 8, at);
  }
  const steps = width > 420 ? 4 : 2;
  for (let i = 0; i <= steps; i += 1) {
    const at = last - seconds * 1000 * (1 - i / steps);
    pen.textAlign = i === 0 ? "left" : i === steps ? "right" : "center";
    pen.fillText(clock(at).slice(-8), x(at), pad.top + height + 0.6 * pad.bottom);
  }
  if (samples.length === 0) return;

  const base = samples.map(() => 0);
  series.forEach((one, n) => {
    const value = (i) => totals[i][n] + (stacked ? base[i] : 0);
    for (const [from, to] of stretches(samples)) {
      pen.beginPath();
      for (let i = from; i <= to; i += 1) pen.lineTo(x(samples[i].at), y(value(i)));
      pen.strokeStyle = color(one.color);
      pen.lineWidth = 2;
      pen.lineJoin = "round";
      pen.stroke();
      for (let i = to; i >= from; i -= 1) pen.lineTo(x(samples[i].at), y(base[i]));
      pen.globalAlpha = stacked ? 0.55 : 0.12;
      pen.fillStyle = color(one.color);
      pen.fill();
      pen.globalAlpha = 1;
    }
    if (stacked) base.forEach((_, i) => { base[i] += totals[i][n]; });
  });

  const at = samples.find((sample) => sample.at === chosen);
  if (!at) return;
  pen.strokeStyle = color("--muted");
  pen.lineWidth = 1;
  pen.beginPath();
  pen.moveTo(Math.round(x(at.at)) + 0.5, pad.top);
  pen.lineTo(Math.round(x(at.at)) + 0.5, pad.top + height);
  pen.stroke();
}

// Runs of samples without a gap, as pairs of indices.
function stretches(samples) {
  const runs = [];
  let from = 0;
  samples.forEach((sample, i) => {
    if (i + 1 === samples.length || samples[i + 1].at - sample.at > GAP) {
      runs.push([from, i]);
      from = i + 1;
    }
  });
  return runs;
}

function label(legend, canvas, { samples, series }, chosen, { title, format, stacked }) {
  const sample = samples.find((one) => one.at === chosen) ?? samples.at(-1);
  const value = (one) => (sample ? format(one.value(sample)) : "–");
  const order = stacked ? [...series].reverse() : series;
  put(legend,
    order.map((one) => h("span", { class: "key" },
      h("i", { class: "swatch", "data-color": one.color.slice(2) }), `${one.name} `, h("b", null, value(one)))),
    h("span", { class: "when" }, sample && chosen !== null ? clock(sample.at) : ""));
  canvas.setAttribute("aria-label", `${title}: ${series.map((one) => `${one.name} ${value(one)}`).join(", ") || "none"}`);
}

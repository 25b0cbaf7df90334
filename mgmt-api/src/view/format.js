// Numbers, rates and times as people read them.

const whole = new Intl.NumberFormat("en");
const PREFIXES = ["", "k", "M", "G", "T", "P"];

/** 1234567 -> "1,234,567" */
export const count = (n) => (n === null || n === undefined ? "–" : whole.format(n));

/** Three digits and a prefix: 12345678, "bit/s" -> "12.3 Mbit/s". */
export function si(n, unit) {
  let step = 0;
  while (Math.abs(n) >= 999.5 && step < PREFIXES.length - 1) {
    n /= 1000;
    step += 1;
  }
  const digits = step === 0 && Number.isInteger(n) ? 0 : n >= 99.95 ? 0 : n >= 9.995 ? 1 : 2;
  return `${n.toFixed(digits)} ${PREFIXES[step]}${unit}`;
}

export const bits = (perSecond) => si(perSecond, "bit/s");
export const packets = (perSecond) => si(perSecond, "pps");
export const octets = (n) => si(n, "B");
export const percent = (share) => `${(share * 100).toFixed(share > 0 && share < 0.1 ? 1 : 0)} %`;

/** Seconds as "3d 04h", "4h 05m", "5m 06s" or "7s". */
export function duration(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  const two = (n) => String(Math.floor(n)).padStart(2, "0");
  if (seconds >= 86400) return `${whole.format(Math.floor(seconds / 86400))}d ${two((seconds % 86400) / 3600)}h`;
  if (seconds >= 3600) return `${Math.floor(seconds / 3600)}h ${two((seconds % 3600) / 60)}m`;
  if (seconds >= 60) return `${Math.floor(seconds / 60)}m ${two(seconds % 60)}s`;
  return `${Math.floor(seconds)}s`;
}

/** A time of day, with the date if it is not today; RFC 3339 or milliseconds in. */
export function clock(at) {
  const date = new Date(at);
  if (Number.isNaN(date.getTime())) return String(at);
  const two = (n) => String(n).padStart(2, "0");
  const day = `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
  const time = `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
  return date.toDateString() === new Date().toDateString() ? time : `${day} ${time}`;
}

/** "sa_missing" -> "sa missing" */
export const words = (name) => name.replaceAll("_", " ");

/** Whether the text is an address, whole and alone. */
export const isAddress = (text) => (text.includes(":") ? URL.canParse(`ws://[${text}]/`) : /^(\d{1,3}\.){3}\d{1,3}$/.test(text));

/** A number and what it counts. */
export const plural = (n, one, many = `${one}s`) => `${count(n)} ${n === 1 ? one : many}`;

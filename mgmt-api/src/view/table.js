// Tables of rows that change while they are looked at, and lists that come in pages.
//
// A row keeps its element as long as its key is there, so that focus and selection survive a refresh. j and k or the
// arrow keys go from row to row, Enter opens one.

import { get } from "./api.js";
import { failure, h, note, put, repeat } from "./dom.js";
import { count } from "./format.js";

/**
 * A table. A column is { title, cell: (row) => text or node, class }; `key` names a row; `open`, if given, is called with a
 * row that is chosen; `empty` stands in place of rows. `show(rows)` fills it.
 */
export function table({ label, columns, key, open, empty }) {
  const body = h("tbody");
  const head = h("tr", null, columns.map((c) => h("th", { scope: "col", class: c.class }, c.title)));
  const box = h("div", { class: "scroll" }, h("table", { "aria-label": label }, h("thead", null, head), body));
  const nothing = h("div", null);
  const node = h("div", { class: "rows" }, box, nothing);
  const known = new Map();
  let selected = null;

  const move = (event) => {
    const row = event.target.closest("tr");
    if (!row || event.target !== row) return;
    const next = { j: row.nextElementSibling, ArrowDown: row.nextElementSibling, k: row.previousElementSibling, ArrowUp: row.previousElementSibling }[event.key];
    if (event.key === "Enter") row.click();
    else if (next) next.focus();
    else return;
    event.preventDefault();
  };
  if (open) body.addEventListener("keydown", move);

  const element = (name) => {
    const row = h("tr", open && { tabindex: "0", class: "opens", onclick: () => open(row.data) });
    known.set(name, row);
    return row;
  };
  const mark = () => known.forEach((row, name) => {
    if (name === selected) row.setAttribute("aria-current", "true");
    else row.removeAttribute("aria-current");
  });

  return {
    node,
    first: () => body.querySelector("tr")?.focus(),
    /** Marks the row of that key. */
    select(name) {
      selected = name;
      mark();
    },
    show(rows) {
      const names = rows.map((row) => String(key(row)));
      for (const [name, row] of known) {
        if (names.includes(name)) continue;
        row.remove();
        known.delete(name);
      }
      rows.forEach((data, i) => {
        const row = known.get(names[i]) ?? element(names[i]);
        row.data = data;
        put(row, columns.map((c) => h("td", { class: c.class, "data-title": c.title }, c.cell(data))));
        if (body.children[i] !== row) body.insertBefore(row, body.children[i] ?? null);
      });
      mark();
      box.hidden = rows.length === 0;
      put(nothing, rows.length === 0 && note(empty));
    },
    fail(problem) {
      box.hidden = true;
      put(nothing, failure(problem));
    },
  };
}

/** Questions for one page before the search goes on only when asked to: the gateway looks at 20,000 rows for each. */
const LOOKS = 100;

/**
 * A list that comes in pages: { items, next, total }, or { routes, next } of BGP. `filters()` gives the parameters of the
 * question; `changed()` is called when they differ, `again()` to look again. Refreshes every `ms`, if given.
 *
 * With a filter, an answer may have few rows or none though there are more: then it is asked on. What takes more than one
 * question is not refreshed as often.
 */
export function pages({ signal, path, filters, view, ms, limit = 50 }) {
  let cursors = [null];
  let asked = 0;
  let looks = 0;
  let idle = 0;
  const where = h("span", { class: "where", "aria-live": "polite" });
  const back = h("button", { type: "button", onclick: () => turn(() => cursors.pop()) }, "‹ Previous");
  const on = h("button", { type: "button", onclick: () => turn(() => cursors.push(on.cursor)) }, "Next ›");
  const bar = h("div", { class: "pager" }, where, h("span", { class: "grow" }), back, on);

  const load = async () => {
    asked += 1;
    const mine = asked;
    const wanted = Object.fromEntries(Object.entries(filters()).filter(([, value]) => value));
    const rows = [];
    let page = { next: cursors.at(-1) };
    looks = 0;
    do {
      page = await get(path(), { ...wanted, limit: limit - rows.length, after: page.next }, signal);
      if (mine !== asked) return;
      rows.push(...(page.items ?? page.routes));
      looks += 1;
      if (page.next && rows.length < limit) put(where, "searching …");
    } while (page.next && rows.length < limit && looks < LOOKS);
    view.show(rows);
    const first = (cursors.length - 1) * limit;
    const range = rows.length === 0 ? "none" : `${count(first + 1)} – ${count(first + rows.length)}`;
    const all = page.total === undefined ? "" : `${Object.keys(wanted).length > 0 ? " found among" : " of"} ${count(page.total)}`;
    put(where, range + all);
    on.cursor = page.next;
    on.disabled = !page.next;
    back.disabled = cursors.length === 1;
    bar.hidden = page.total === 0;
  };
  const failed = (problem) => {
    if (signal.aborted) return;
    view.fail(problem);
    bar.hidden = true;
  };
  const again = () => load().catch(failed);
  const turn = (step) => {
    step();
    again().then(() => view.node.scrollIntoView({ block: "nearest" }));
  };
  const refresh = () => {
    idle += 1;
    if (looks > 1 && idle < 12) return null;
    idle = 0;
    return load();
  };
  if (ms) repeat(signal, ms, refresh, failed);
  else again();

  return {
    bar,
    again,
    changed() {
      cursors = [null];
      again();
    },
  };
}

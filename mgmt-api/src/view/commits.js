// The last commits of the configuration: who changed what, when, and from what to what.

import { get } from "./api.js";
import { badge, failure, fill, h, note, put, repeat } from "./dom.js";
import { clock, count, plural } from "./format.js";

export const view = { title: "Commits", show };

const MOOD = { confirmed: "ok", pending: "warn", reverted: "bad" };
const PAGE = 20;
/** Changes of a commit that are shown. */
const MOST = 200;

function show(root, route, signal) {
  const list = h("div", { class: "commits" });
  const more = h("button", { type: "button", hidden: true }, "Older commits");
  let next = null;
  more.onclick = async () => {
    try {
      const page = await get("/config/commits", { limit: PAGE, after: next }, signal);
      next = page.next;
      more.hidden = !next;
      list.append(...page.commits.map((commit) => shown(commit, false)));
    } catch (problem) {
      list.append(failure(problem));
    }
  };
  fill(root, list, more);

  // Looked at again for what is new, without closing what was opened.
  let newest = "";
  repeat(signal, 5000, async () => {
    const page = await get("/config/commits", { limit: PAGE }, signal);
    const mark = JSON.stringify(page.commits.map((commit) => [commit.id, commit.state]));
    if (mark === newest) return;
    newest = mark;
    next = page.next;
    more.hidden = !next;
    fill(list, page.commits.map((commit, i) => shown(commit, i === 0)),
      page.commits.length === 0 && note("The configuration has not been changed through the API."));
  }, (problem) => {
    newest = "";
    put(list, failure(problem));
  });
}

function shown(commit, open) {
  return h("details", { class: "commit", open },
    h("summary", null,
      h("b", null, `#${commit.id}`), badge(MOOD[commit.state] ?? "idle", commit.state),
      h("span", { class: "comment" }, commit.comment || h("span", { class: "muted" }, "no comment")),
      commit.confirm_by && h("span", { class: "muted" }, `taken back at ${clock(commit.confirm_by)} unless confirmed`),
      h("span", { class: "muted" }, `${commit.author}, ${clock(commit.at)}`),
      h("span", { class: "muted num" }, plural(commit.changes.length, "change"))),
    h("div", { class: "diff" }, commit.changes.slice(0, MOST).map(change),
      commit.changes.length > MOST && note(`${count(commit.changes.length - MOST)} more changes`)));
}

function change({ path, op, from, to }) {
  const line = (kind, sign, value) => h("pre", { class: kind }, h("span", { class: "sign" }, sign), written(value));
  return h("div", { class: "change" }, h("code", { class: "path" }, path || "/"),
    op !== "add" && line("minus", "−", from), op !== "remove" && line("plus", "+", to));
}

const written = (value) => (typeof value === "object" && value !== null ? JSON.stringify(value, null, 2) : value === undefined ? "" : String(value));

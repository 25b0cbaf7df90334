// Elements. Text becomes text nodes, never markup: user names, identities and descriptions are other people's words.

const SVG = "http://www.w3.org/2000/svg";

const some = (children) => children.flat(Infinity).filter((c) => c !== undefined && c !== null && c !== false);

function build(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...some(children));
  return element;
}

/** h("td", { class: "num", onclick: f }, "text", node, ...) */
export const h = (name, attributes, ...children) => build(document.createElement(name), attributes, children);

/** The same of SVG. */
export const s = (name, attributes, ...children) => build(document.createElementNS(SVG, name), attributes, children);

/** Puts `children` into `parent` in place of what was there. */
export const fill = (parent, ...children) => parent.replaceChildren(...some(children));

/**
 * The same for what is shown again and again, leaving alone what looks the same: focus, selection and scrolling stay, and so
 * do listeners. Not for elements that somebody holds on to.
 */
export function put(parent, ...children) {
  const wanted = some(children);
  wanted.forEach((child, i) => {
    const node = typeof child === "object" ? child : document.createTextNode(child);
    const old = parent.childNodes[i];
    if (!old) parent.append(node);
    else if (old !== node && !old.isEqualNode(node)) parent.replaceChild(node, old);
  });
  while (parent.childNodes.length > wanted.length) parent.lastChild.remove();
}

/** A box with a heading, and what stands beside that. */
export function panel(title, tools, ...children) {
  return h("section", { class: "panel", "aria-label": title }, h("div", { class: "title" }, h("h2", null, title), tools), ...children);
}

/** A state in a word and a color: "ok", "warn", "bad" or "idle". */
export const badge = (kind, text, title) => h("span", { class: `badge ${kind}`, title }, text);

/** Names and values, one below the other; those without a value are left out. */
export function facts(rows) {
  const shown = rows.filter(([, value]) => ![null, undefined, false, ""].includes(value) && value.length !== 0);
  return h("dl", { class: "facts" }, shown.map(([name, value]) => [h("dt", null, name), h("dd", null, value)]));
}

/** Words in place of rows or a picture. */
export const note = (text, ...more) => h("p", { class: "note" }, text, ...more);

/** What went wrong, in place of what was asked for. */
export function failure(problem) {
  const what = { 403: "Your role does not show this.", 404: "This gateway does not offer this." }[problem.status];
  return h("div", { class: "note failed", role: "alert" }, h("strong", null, what ?? problem.title), " ", problem.detail);
}

/** A word that goes away by itself. */
export function toast(text, kind = "ok") {
  const box = h("div", { class: `toast ${kind}` }, text);
  document.getElementById("toasts").append(box);
  setTimeout(() => box.remove(), 6000);
}

/** Asks before something is done; resolves to whether it is to be. Without a verb it only tells. */
export function confirmed(question, explanation, verb) {
  return new Promise((resolve) => {
    const dialog = h("dialog", { "aria-label": question },
      h("h2", null, question), h("div", null, explanation),
      h("div", { class: "buttons" },
        h("button", { type: "button", onclick: () => dialog.close("no") }, verb ? "Cancel" : "Close"),
        verb && h("button", { type: "button", class: "danger", onclick: () => dialog.close("yes") }, verb)));
    dialog.addEventListener("close", () => {
      resolve(dialog.returnValue === "yes");
      dialog.remove();
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}

/** Runs `work` now and every `ms` until the signal is aborted, never twice at once; `failed` is told of problems. */
export function repeat(signal, ms, work, failed) {
  let timer;
  const turn = async () => {
    clearTimeout(timer);
    try {
      await work();
    } catch (problem) {
      if (signal.aborted) return;
      failed(problem);
    }
    if (!signal.aborted) timer = setTimeout(turn, ms);
  };
  signal.addEventListener("abort", () => clearTimeout(timer));
  turn();
}

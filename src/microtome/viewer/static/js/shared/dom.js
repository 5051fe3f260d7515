// Making elements. Text is always set as text, never parsed as markup.

import { page } from "./page.js";

const SVG = "http://www.w3.org/2000/svg";

/** An HTML element. `attributes`: class, text, on (event -> listener), or plain attributes; null and false leave out. */
export function make(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/** The same for an SVG element. */
export function makeSvg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "text") element.textContent = value;
    else if (name === "on") for (const [event, listener] of Object.entries(value)) element.addEventListener(event, listener);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** A picture of the icon set; decorative, so it needs a name beside it. */
export function icon(name) {
  return makeSvg(
    "svg",
    { class: "icon", "aria-hidden": "true" },
    makeSvg("use", { href: `${page.base}/static/icons.svg#${name}` }),
  );
}

/** A full-width message: what is the case, why, what can be done. */
export function state({ symbol, title, text, wrong = false, extra = [], actions = [] }) {
  return make(
    "div",
    { class: wrong ? "state wrong" : "state", role: wrong ? "alert" : null },
    icon(symbol),
    make("h2", { text: title }),
    text ? make("p", { text }) : null,
    ...extra,
    actions.length ? make("div", { class: "actions" }, ...actions) : null,
  );
}

let toasts = null;

/** A short message that goes away by itself; read out by screen readers. */
export function toast(text, symbol = "check") {
  if (toasts === null) {
    toasts = make("div", { class: "toasts", role: "status", "aria-live": "polite" });
    document.body.append(toasts);
  }
  const message = make("div", { class: "toast" }, icon(symbol), make("span", { text }));
  toasts.replaceChildren(message);
  setTimeout(() => message.remove(), 3500);
}

export const calm = matchMedia("(prefers-reduced-motion: reduce)");

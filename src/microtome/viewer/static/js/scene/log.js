// The last requests to the server in a drawer below the views: the newest first, asked for while it is open.

import { icon, make } from "../shared/dom.js";
import { bytes } from "../shared/format.js";
import * as server from "./server.js";

const PERIOD = 2000;
const MOST = 500;
const HEADS = [["Time"], ["Caller"], ["Method"], ["Path"], ["Status", "number"], ["Size", "number"], ["ms", "number"]];

export class Log {
  #open = false;
  #paused = false;
  #timer = 0;
  #cleared = 0;
  #newest = 0;
  #rows = new Map();
  #words = [];

  constructor(element) {
    this.element = element;
    this.body = make("tbody");
    this.count = make("span", { class: "hint", "data-log": "count" });
    this.note = make("p", { class: "log-note", role: "status", hidden: true });
    this.pause = tool("pause", "Pause", () => this.#hold(!this.#paused));
    const filter = make("input", { type: "search", placeholder: "Filter", "aria-label": "Filter requests", autocomplete: "off", spellcheck: "false", on: { input: () => this.#filter(filter.value) } });
    element.append(
      make("header", { class: "log-bar" },
        make("h2", { text: "Requests" }),
        make("label", { class: "field" }, icon("search"), filter),
        this.count,
        this.pause,
        tool("trash", "Clear", () => this.#clear())),
      this.note,
      make("div", { class: "log-rows", tabindex: "0", role: "region", "aria-label": "Requests, the newest first" },
        make("table", {},
          make("caption", { class: "visually-hidden", text: "Requests, the newest first" }),
          make("thead", {}, make("tr", {}, ...HEADS.map(([text, kind]) => make("th", { scope: "col", class: kind, text })))),
          this.body)),
    );
    document.addEventListener("visibilitychange", () => this.#again(0));
  }

  show(open) {
    this.#open = open;
    this.element.hidden = !open;
    this.#again(0);
  }

  /** Ask once more, unless nobody looks. */
  #again(wait) {
    clearTimeout(this.#timer);
    if (this.#open && !this.#paused && !document.hidden) this.#timer = setTimeout(() => void this.#ask(), wait);
  }

  async #ask() {
    try {
      const { requests } = await server.get("/log", { limit: MOST });
      if (this.#paused) return;
      this.#take(requests);
      this.#tell("");
      this.#again(PERIOD);
    } catch (error) {
      this.#tell(error.message);
      if (error.kind === "unreachable") this.#again(PERIOD);
    }
  }

  /** New rows come on top of those that are there: who has scrolled down stays where they are. */
  #take(requests) {
    const keys = new Set();
    const fresh = [];
    for (const each of requests) {
      if (each.time <= this.#cleared) continue;
      const key = `${each.time} ${each.address} ${each.target}`;
      keys.add(key);
      this.#newest = Math.max(this.#newest, each.time);
      if (!this.#rows.has(key)) {
        const row = rowOf(each);
        row.hidden = !this.#wanted(row);
        this.#rows.set(key, row);
        fresh.push(row);
      }
    }
    this.body.prepend(...fresh);
    for (const [key, row] of this.#rows) {
      if (keys.has(key)) continue;
      row.remove();
      this.#rows.delete(key);
    }
    this.#number();
  }

  #wanted = (row) => this.#words.every((word) => row.dataset.text.includes(word));

  #filter(text) {
    this.#words = text.toLowerCase().split(/\s+/).filter(Boolean);
    for (const row of this.#rows.values()) row.hidden = !this.#wanted(row);
    this.#number();
  }

  #number() {
    const all = this.#rows.size;
    const shown = [...this.#rows.values()].filter((row) => !row.hidden).length;
    this.count.textContent = shown === all ? `${all}` : `${shown} of ${all}`;
    if (!all) this.#tell("No requests yet.");
  }

  #hold(paused) {
    this.#paused = paused;
    this.pause.setAttribute("aria-pressed", String(paused));
    this.pause.replaceChildren(icon(paused ? "play" : "pause"), make("span", { text: paused ? "Go on" : "Pause" }));
    this.#again(0);
  }

  /** Of this page: the server keeps what it has. */
  #clear() {
    this.#cleared = this.#newest;
    this.#rows.clear();
    this.body.replaceChildren();
    this.#number();
  }

  #tell(text) {
    this.note.textContent = text;
    this.note.hidden = !text;
  }
}

function rowOf({ time, address, method, target, status, bytes: size, ms }) {
  const when = new Date(time * 1000);
  return make(
    "tr",
    { "data-text": `${address} ${method} ${target} ${status}`.toLowerCase() },
    make("td", { text: when.toLocaleTimeString([], { hour12: false }), title: when.toISOString() }),
    make("td", { text: address }),
    make("td", { text: method }),
    make("td", { class: "path", text: target, title: target }),
    make("td", { class: "number" }, make("span", { class: "status", "data-kind": String(status)[0], text: status })),
    make("td", { class: "number", text: bytes(size) }),
    make("td", { class: "number", text: ms < 100 ? ms.toFixed(1) : Math.round(ms) }),
  );
}

function tool(symbol, text, act) {
  return make("button", { class: "button small", type: "button", on: { click: act } }, icon(symbol), make("span", { text }));
}

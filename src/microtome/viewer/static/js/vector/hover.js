// What lies under the pointer: its outline and its properties. A click keeps them, Escape lets them go.

import { icon, make, makeSvg } from "../shared/dom.js";
import { pool } from "./pool.js";

const REACH = 5; // CSS px beside a line that still count
const SHOWN = 8; // properties before "more"
const POINT = 1;
const LINE = 2;

/** Names of properties are long and have no spaces. */
const breakable = (text) => text.replace(/([._/])(?=.)/g, "$1\u200b");

export class Hover {
  #busy = false;
  #next = null;
  #found = null;

  constructor(overlay) {
    this.overlay = overlay;
    this.pane = overlay.pane;
    this.pinned = false;
    this.outline = makeSvg("path", { class: "shape-outline" });
    this.svg = makeSvg("svg", { class: "shape-mark", "aria-hidden": "true" }, this.outline);
    this.card = make("div", { class: "shape-card", role: "status", hidden: true });
    overlay.canvas.after(this.svg);
    this.pane.element.append(this.card);
    const listen = (event, act) => {
      this.pane.addEventListener(event, act);
      return () => this.pane.removeEventListener(event, act);
    };
    this.undo = [
      listen("pointer", ({ detail }) => !this.pinned && this.look(detail)),
      listen("move", () => this.#place()),
      listen("click", ({ detail }) => !this.#measuring && this.pin(detail)),
    ];
  }

  close() {
    for (const undo of this.undo) undo();
    this.svg.remove();
    this.card.remove();
  }

  clear() {
    this.pinned = false;
    this.#next = null;
    this.#show(null);
  }

  /** Look what is at a place of the slide; null for nowhere. Only the newest place is looked at. */
  look(place) {
    this.#next = this.overlay.visible && !this.#measuring ? place : null;
    if (!this.#next) {
      if (!this.pinned) this.#show(null);
      return;
    }
    if (!this.#busy) void this.#work();
  }

  /** Keep what is at a place. */
  async pin(place) {
    if (!this.overlay.visible) return;
    this.pinned = false;
    this.#next = null;
    const found = await this.#find(place);
    this.pinned = found !== null;
    this.#show(found);
  }

  get #measuring() {
    return this.pane.element.classList.contains("measuring");
  }

  async #work() {
    this.#busy = true;
    while (this.#next) {
      const place = this.#next;
      this.#next = null;
      const found = await this.#find(place);
      if (!this.pinned && this.overlay.visible) this.#show(found);
    }
    this.#busy = false;
  }

  async #find(place) {
    const { set, factor, drawn } = this.overlay;
    const { zoom: scale } = this.pane.view();
    const perPlane = scale * factor;
    const zoom = set.zoomAt(Math.max(set.lowest, Math.round(Math.log2((set.world * perPlane) / 512))));
    const side = set.world / 2 ** zoom;
    const [x, y] = [place.x / factor / side, place.y / factor / side];
    if (!(x >= 0 && y >= 0 && x < 2 ** zoom && y < 2 ** zoom)) return null;
    const [column, row] = [Math.floor(x), Math.floor(y)];
    const wish = { key: set.key(zoom, column, row), x: x - column, y: y - row, reach: REACH / (side * perPlane), px: side * perPlane, hidden: drawn.hidden };
    let found = null;
    try {
      found = await pool.ask("find", wish);
    } catch {
      return null; // What could not be drawn cannot be pointed at.
    }
    if (!found) return null;
    // Into px of the slide.
    for (const part of found.parts)
      for (let at = 0; at < part.length; at += 2) {
        part[at] = (part[at] + column) * side * factor;
        part[at + 1] = (part[at + 1] + row) * side * factor;
      }
    return { ...found, place };
  }

  #show(found) {
    this.#found = found;
    this.pane.element.classList.toggle("over-shape", found !== null);
    this.card.hidden = found === null;
    this.card.classList.toggle("pinned", this.pinned);
    if (found) this.#fill(found);
    this.#place();
  }

  #fill({ layer, id, properties, type }) {
    const kind = type === POINT ? "Point" : type === LINE ? "Line" : "Area";
    const shown = this.pinned ? properties : properties.slice(0, SHOWN);
    const rows = shown.flatMap(([key, value]) => [make("dt", { text: breakable(key) }), make("dd", { text: value === null ? "" : String(value) })]);
    const close = make("button", { type: "button", class: "tool", "aria-label": "Close", title: "Close (Esc)", on: { click: () => this.clear() } }, icon("close"));
    this.card.replaceChildren(
      make("div", { class: "shape-head" }, make("strong", { text: `${kind}${id === null ? "" : ` ${id}`}` }), make("span", { text: this.overlay.set.layerTitle(layer) }), this.pinned ? close : null),
      rows.length ? make("dl", {}, ...rows) : make("p", { text: "No properties." }),
      ...(properties.length > shown.length ? [make("p", { text: `and ${properties.length - shown.length} more; click to see all` })] : []),
    );
  }

  #place() {
    const found = this.#found;
    if (!found) {
      this.outline.removeAttribute("d");
      return;
    }
    const commands = [];
    for (const part of found.parts) {
      for (let at = 0; at < part.length; at += 2) {
        const { x, y } = this.pane.toScreen({ x: part[at], y: part[at + 1] });
        if (found.type === POINT) commands.push(`M${x - 9} ${y}a9 9 0 1 0 18 0a9 9 0 1 0 -18 0`);
        else commands.push(`${at ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`);
      }
      if (found.type !== POINT && found.type !== LINE) commands.push("Z");
    }
    this.outline.setAttribute("d", commands.join(""));
    const at = this.pane.toScreen(found.place);
    const { width, height } = this.pane.size;
    const [across, down] = [this.card.offsetWidth, this.card.offsetHeight];
    const x = at.x + 18 + across > width - 8 ? at.x - 18 - across : at.x + 18;
    const y = at.y + 18 + down > height - 8 ? at.y - 18 - down : at.y + 18;
    this.card.style.transform = `translate(${Math.max(8, Math.min(x, width - across - 8))}px, ${Math.max(8, Math.min(y, height - down - 8))}px)`;
  }
}

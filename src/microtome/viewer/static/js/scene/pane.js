// What every view shares: a canvas that shows live pictures at the size it has on the screen, and gestures on it.

import { icon, make } from "../shared/dom.js";
import { Live } from "./server.js";

const MOST = 1400;

export class Pane {
  constructor(name, label, color) {
    this.name = name;
    this.canvas = make("canvas", { tabindex: "0", "aria-label": `View ${label}` });
    this.corner = make("span", { class: "corner" });
    this.note = make("p", { class: "note", role: "status", hidden: true });
    this.tools = make("div", { class: "tools" });
    this.enlarge = make("button", { class: "tool small", type: "button", "aria-label": "Only this view", title: "Only this view" }, icon("fullscreen"));
    this.element = make(
      "section",
      { class: "pane", "data-view": name, "aria-label": label },
      make("header", { class: "pane-bar", style: null }, make("b", { text: label }), this.tools, this.enlarge),
      make("div", { class: "stage" }, this.canvas, this.corner, this.note),
    );
    this.element.querySelector("header").dataset.color = color;
    this.size = [512, 512];
    this.pictures = 0;
    this.tell("The scene is starting …");
    this.live = new Live(name, { shown: (bitmap, told) => this.#show(bitmap, told), failed: (text) => this.tell(text) });
    new ResizeObserver(() => this.#measure()).observe(this.element.querySelector(".stage"));
  }

  /** A sentence over the picture; empty takes it away. */
  tell(text) {
    this.note.textContent = text;
    this.note.hidden = !text;
  }

  /** Column and row of the picture under a pointer. */
  place(event) {
    const box = this.canvas.getBoundingClientRect();
    return [((event.clientX - box.left) / box.width) * this.size[0], ((event.clientY - box.top) / box.height) * this.size[1]];
  }

  #measure() {
    const box = this.element.querySelector(".stage").getBoundingClientRect();
    if (!box.width || !box.height) return;
    const scale = Math.min(devicePixelRatio, MOST / Math.max(box.width, box.height), 2);
    this.size = [Math.max(16, Math.round(box.width * scale)), Math.max(16, Math.round(box.height * scale))];
    this.live.looks = { ...this.live.looks, size: this.size };
    this.live.ask();
  }

  #show(bitmap, told) {
    if (this.canvas.width !== told.width || this.canvas.height !== told.height) {
      this.canvas.width = told.width;
      this.canvas.height = told.height;
    }
    this.canvas.getContext("2d").drawImage(bitmap, 0, 0);
    bitmap.close();
    this.tell("");
    this.pictures += 1;
    this.element.dataset.pictures = String(this.pictures);
    this.element.dataset.kind = told.kind;
    this.state = told.state;
    this.told?.(told);
  }
}

/** Call `moved(dx, dy, event)` while a button is held, in pixels of the picture; `begun(event)` decides whether at all. */
export function dragged(pane, begun, moved) {
  pane.canvas.addEventListener("pointerdown", (event) => {
    const kind = begun(event);
    if (!kind) return;
    event.preventDefault();
    pane.canvas.focus();
    pane.canvas.setPointerCapture(event.pointerId);
    let [x, y] = pane.place(event);
    const move = (next) => {
      const [left, top] = pane.place(next);
      moved(kind, left - x, top - y, next);
      [x, y] = [left, top];
    };
    const end = () => {
      pane.canvas.removeEventListener("pointermove", move);
      pane.canvas.removeEventListener("pointerup", end);
      pane.canvas.removeEventListener("pointercancel", end);
    };
    pane.canvas.addEventListener("pointermove", move);
    pane.canvas.addEventListener("pointerup", end);
    pane.canvas.addEventListener("pointercancel", end);
  });
  pane.canvas.addEventListener("contextmenu", (event) => event.preventDefault());
}

// A slice view: wheel scrolls, dragging windows, pans or zooms, a click places a point, shift moves the cross-hair.

import { make } from "../shared/dom.js";
import { millimetres, named, pitch, toRas } from "./geometry.js";
import { Pane, dragged } from "./pane.js";

const ORIENTATIONS = ["axial", "sagittal", "coronal"];
const OVERLAY = ["segments", "models", "markups", "intersections", "orientation", "scale"];

export class SliceView {
  /** `room`: mode(), window(dx, dy), placed(point), cross(point, view). */
  constructor(name, color, room) {
    this.room = room;
    this.pane = new Pane(name, name, color);
    this.pane.live.looks = { overlay: OVERLAY };
    this.slider = make("input", { type: "range", class: "offset", "aria-label": `Position of ${name}`, step: "any", on: { input: () => this.#slide() } });
    this.orientation = make(
      "select",
      { "aria-label": `Orientation of ${name}`, on: { change: () => this.pane.live.ask({ orientation: this.orientation.value }) } },
      ...ORIENTATIONS.map((each) => make("option", { value: each, text: each[0].toUpperCase() + each.slice(1) })),
      make("option", { value: "reformat", text: "Oblique", hidden: true }),
    );
    this.where = make("output", { class: "where" });
    this.pane.tools.append(this.slider, this.where, this.orientation);
    this.pane.told = ({ state }) => this.#told(state);
    this.#gestures();
  }

  redraw() {
    this.pane.live.ask();
  }

  #told(slice) {
    const [low, high] = slice.offsets ?? [-1, 1];
    this.slider.min = low;
    this.slider.max = high;
    this.slider.disabled = !slice.offsets;
    if (document.activeElement !== this.slider || Math.abs(this.slider.value - slice.offset) > slice.step) this.slider.value = slice.offset;
    this.where.textContent = millimetres(slice.offset);
    this.orientation.value = slice.orientation;
    this.slice = slice;
  }

  #slide() {
    this.pane.live.ask({ offset: Number(this.slider.value) });
  }

  step(count) {
    if (!this.slice) return;
    const [low, high] = this.slice.offsets ?? [-1e6, 1e6];
    // Steps follow each other faster than pictures: count from where the last one went.
    const from = this.heading !== undefined && performance.now() - this.headed < 400 ? this.heading : this.slice.offset;
    this.heading = Math.min(high, Math.max(low, from + count * this.slice.step));
    this.headed = performance.now();
    this.pane.live.ask({ offset: this.heading });
  }

  #zoom(factor) {
    if (!this.slice) return;
    const width = this.width !== undefined && performance.now() - this.zoomed < 400 ? this.width : this.slice.field_of_view[0];
    this.width = Math.min(2000, Math.max(2, width * factor));
    this.zoomed = performance.now();
    this.pane.live.ask({ field_of_view: this.width });
  }

  #pan(dx, dy) {
    const step = pitch(this.slice, this.pane.size);
    const m = this.slice.slice_to_ras;
    const from = this.middle !== undefined && performance.now() - this.panned < 400 ? this.middle : [m[3], m[7], m[11]];
    this.middle = [0, 1, 2].map((row) => from[row] - m[row * 4] * dx * step + m[row * 4 + 1] * dy * step);
    this.panned = performance.now();
    this.pane.live.ask({ center: this.middle });
  }

  #gestures() {
    const { canvas } = this.pane;
    let rest = 0;
    canvas.addEventListener(
      "wheel",
      (event) => {
        event.preventDefault();
        if (event.ctrlKey) {
          this.#zoom(Math.exp(event.deltaY / 400));
          return;
        }
        rest += event.deltaY / (event.deltaMode ? 1 : 50);
        const steps = Math.trunc(rest) || Math.sign(event.deltaY);
        rest -= Math.trunc(rest);
        this.step(-steps);
      },
      { passive: false },
    );
    const kind = (event) => {
      if (!this.slice || event.shiftKey) return null;
      if (event.button === 1) return "pan";
      if (event.button === 2) return "zoom";
      const mode = this.room.mode();
      return mode.startsWith("place") ? null : mode;
    };
    dragged(this.pane, kind, (mode, dx, dy) => {
      if (mode === "window") this.room.window(dx, dy);
      else if (mode === "pan") this.#pan(dx, dy);
      else this.#zoom(Math.exp(dy / 200));
    });
    canvas.addEventListener("click", (event) => {
      if (this.slice && this.room.mode().startsWith("place")) this.room.placed(toRas(this.slice, this.pane.size, ...this.pane.place(event)));
    });
    canvas.addEventListener("pointermove", (event) => {
      if (!this.slice) return;
      const point = toRas(this.slice, this.pane.size, ...this.pane.place(event));
      this.pane.corner.textContent = named(point);
      if (event.shiftKey) this.room.cross(point, this);
    });
    canvas.addEventListener("keydown", (event) => {
      const move = { ArrowUp: 1, ArrowRight: 1, ArrowDown: -1, ArrowLeft: -1, PageUp: 10, PageDown: -10 }[event.key];
      if (move) this.step(move);
      else if (event.key === "+" || event.key === "-") this.#zoom(event.key === "+" ? 0.8 : 1.25);
      else if (event.key === "r") this.pane.live.ask({ fit: true });
      else return;
      event.preventDefault();
    });
  }
}

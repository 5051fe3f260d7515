// The focus and the time slider on the stage: for slides with several focal planes or time points.

import { icon, make } from "../shared/dom.js";
import { count } from "../shared/format.js";

const FRAME = 140; // ms at least that a time point is shown
const WHEEL = 80; // px of a wheel's travel for each plane; a notch is 100 or more

export class Planes {
  #wheel = 0;
  #undo = () => {};

  /** `shown(pane)` resolves when what the pane's look asks for is on the screen. */
  constructor(element) {
    this.element = element;
    this.playing = false;
    this.focus = this.#slider({ name: "Focus", what: "focal plane", vertical: true, set: (value) => this.pane.look.set({ focus: value }) });
    this.time = this.#slider({ name: "Time", what: "time point", vertical: false, set: (value) => this.pane.look.set({ time: value }) });
    this.play = make("button", { type: "button", class: "tool", on: { click: () => this.toggle() } });
    this.time.element.prepend(this.play);
    this.element.replaceChildren(this.focus.element, this.time.element);
    this.#showPlay();
  }

  #slider({ name, what, vertical, set }) {
    const input = make("input", { type: "range", min: 0, step: 1, class: vertical ? "slider vertical" : "slider", "aria-label": name });
    const output = make("output", {});
    const step = (by, label, symbol) => make("button", { type: "button", class: "tool", "aria-label": label, title: label, on: { click: () => set(Number(input.value) + by) } }, icon(symbol));
    input.addEventListener("input", () => set(Number(input.value)));
    const parts = vertical
      ? [make("span", { class: "plane-name", text: name }), step(1, `Next ${what}`, "plus"), input, step(-1, `Previous ${what}`, "minus"), output]
      : [step(-1, `Previous ${what}`, "back"), input, step(1, `Next ${what}`, "chevron"), output];
    return { element: make("div", { class: vertical ? "planes focus" : "planes time", role: "group", "aria-label": name, hidden: true }, ...parts), input, output };
  }

  /** The sliders are those of this pane now. */
  use(pane) {
    if (pane === this.pane) return;
    this.#undo();
    this.pause();
    this.pane = pane;
    const { slide, look } = pane;
    this.focus.element.hidden = slide.focalPlanes < 2;
    this.time.element.hidden = slide.timePoints < 2;
    this.focus.input.max = String(slide.focalPlanes - 1);
    this.time.input.max = String(slide.timePoints - 1);
    const update = () => this.#update();
    look.addEventListener("change", update);
    const wheel = (event) => this.#turn(event);
    pane.stage.addEventListener("wheel", wheel, { capture: true, passive: false });
    this.#undo = () => {
      look.removeEventListener("change", update);
      pane.stage.removeEventListener("wheel", wheel, { capture: true });
    };
    update();
  }

  step(axis, by) {
    if (axis === "focus") this.pane.look.set({ focus: this.pane.look.focus + by });
    else this.pane.look.set({ time: this.pane.look.time + by });
  }

  toggle() {
    if (this.playing) this.pause();
    else void this.#run();
  }

  pause() {
    this.playing = false;
    if (this.play) this.#showPlay();
  }

  /** Time points one after the other, and from the first again; each waits until the one before is on the screen. */
  async #run() {
    const { pane } = this;
    if (pane.slide.timePoints < 2) return;
    this.playing = true;
    this.#showPlay();
    while (this.playing && pane === this.pane && pane.viewer) {
      pane.look.set({ time: (pane.look.time + 1) % pane.slide.timePoints });
      await Promise.all([pane.redrawn(), new Promise((resolve) => setTimeout(resolve, FRAME))]);
    }
  }

  /** Shift and the wheel: the fine drive of a microscope. */
  #turn(event) {
    if (!event.shiftKey || this.pane.slide.focalPlanes < 2) return;
    event.preventDefault();
    event.stopPropagation();
    // With Shift, some systems turn the wheel sideways.
    this.#wheel += Math.abs(event.deltaY) > Math.abs(event.deltaX) ? event.deltaY : event.deltaX;
    const planes = Math.trunc(this.#wheel / WHEEL);
    if (!planes) return;
    this.#wheel -= planes * WHEEL;
    this.step("focus", -Math.sign(planes));
  }

  #update() {
    const { look, slide } = this.pane;
    for (const [slider, value, number] of [
      [this.focus, look.focus, slide.focalPlanes],
      [this.time, look.time, slide.timePoints],
    ]) {
      slider.input.value = String(value);
      const text = `${count(value + 1)} / ${count(number)}`;
      slider.output.textContent = text;
      slider.input.setAttribute("aria-valuetext", text);
    }
  }

  #showPlay() {
    const label = this.playing ? "Pause (K)" : "Play (K)";
    this.play.replaceChildren(icon(this.playing ? "pause" : "play"));
    this.play.setAttribute("aria-label", label);
    this.play.title = label;
  }
}

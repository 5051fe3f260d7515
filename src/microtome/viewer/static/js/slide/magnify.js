// The magnification buttons, and the magnification of the moment.

import { icon, make } from "../shared/dom.js";
import { power } from "../shared/format.js";

const STEPS = [1.25, 2.5, 5, 10, 20, 40, 80];
const PERCENT = [6.25, 12.5, 25, 50, 100];

/** The stops of a slide between the fitting zoom and full resolution: [{text, zoom}], zoom in CSS px per level-0 px. */
export function stops(slide, fitZoom) {
  const full = slide.power ?? 100;
  const steps = slide.power ? STEPS : PERCENT;
  const text = (value) => (slide.power ? power(value) : `${value}%`);
  const all = steps.filter((step) => step < full * 0.9).map((step) => ({ text: text(step), zoom: step / full }));
  all.push({ text: text(Number(full.toPrecision(3))), zoom: 1 });
  return all.filter(({ zoom }) => zoom > fitZoom * 1.1 || zoom === 1);
}

export class Magnify {
  #stops = [];

  /** `pane()` gives the pane the buttons work on. */
  constructor(element, pane) {
    this.element = element;
    this.pane = pane;
    this.now = make("output", { class: "magnify-now", "aria-label": "Magnification" });
    this.list = make("div", { class: "magnify-stops" });
    const button = (label, symbol, act) =>
      make("button", { class: "tool", type: "button", "aria-label": label, title: label, on: { click: act } }, icon(symbol));
    this.element.replaceChildren(
      button("Zoom out", "minus", () => this.pane().zoomBy(1 / 1.6)),
      this.now,
      button("Zoom in", "plus", () => this.pane().zoomBy(1.6)),
      this.list,
    );
  }

  /** The buttons for the slide of the pane; to be called when the pane or its size changes. */
  rebuild() {
    const pane = this.pane();
    const fit = { text: "Fit", act: () => this.pane().fit(), name: "Fit the whole slide" };
    this.#stops = stops(pane.slide, pane.fitZoom);
    const items = [fit, ...this.#stops.map((stop) => ({ text: stop.text, name: `Magnification ${stop.text}`, act: () => this.go(stop.zoom) }))];
    this.list.replaceChildren(
      ...items.map(({ text, name, act }) =>
        make("button", { class: "tool", type: "button", text, "aria-label": name, "aria-pressed": "false", on: { click: act } }),
      ),
    );
    this.update();
  }

  go(zoom) {
    this.pane().show({ zoom });
  }

  /** By number: 0 fits, 1 is the smallest magnification. */
  goToStop(number) {
    if (number === 0) this.pane().fit();
    else if (this.#stops[number - 1]) this.go(this.#stops[number - 1].zoom);
  }

  update() {
    const pane = this.pane();
    const { zoom } = pane.view();
    const { slide } = pane;
    const text = slide.power ? power(zoom * slide.power) : `${Number((zoom * 100).toPrecision(3))}%`;
    if (this.now.textContent !== text) this.now.textContent = text;
    const near = (other) => Math.abs(Math.log(zoom / other)) < 0.01;
    [pane.fitZoom, ...this.#stops.map((stop) => stop.zoom)].forEach((stop, index) =>
      this.list.children[index]?.setAttribute("aria-pressed", String(near(stop))),
    );
  }
}

// The scale bar: a round length in µm or mm, as long as it is at the zoom of the moment.

import { make } from "../shared/dom.js";

const LONGEST = 168;

/** The longest bar of 1, 2 or 5 times a power of ten that fits: {width in CSS px, text}. `mpp` null gives pixels. */
export function scaleBar(zoom, mpp, longest = LONGEST) {
  const unit = mpp ? mpp.x : 1;
  const most = (longest / zoom) * unit;
  const decade = 10 ** Math.floor(Math.log10(most));
  const value = [5, 2, 1].map((step) => step * decade).find((step) => step <= most * (1 + 1e-9)) ?? decade;
  return { width: (value / unit) * zoom, text: mpp ? lengthText(value) : `${value.toLocaleString("en")} px` };
}

function lengthText(micrometres) {
  const plain = (value) => String(Number(value.toPrecision(3)));
  if (micrometres >= 1000) return `${plain(micrometres / 1000)} mm`;
  return micrometres >= 1 ? `${plain(micrometres)} µm` : `${plain(micrometres * 1000)} nm`;
}

export class ScaleBar {
  constructor(pane) {
    this.pane = pane;
    this.text = make("span", { class: "scale-text" });
    this.bar = make("span", { class: "scale-bar" });
    this.element = make("div", { class: "scale", role: "img", "aria-label": "Scale bar" }, this.text, this.bar);
    pane.addEventListener("move", () => this.#draw());
  }

  #draw() {
    const { zoom } = this.pane.view();
    if (!(zoom > 0)) return;
    const { width, text } = scaleBar(zoom, this.pane.slide.mpp);
    this.bar.style.width = `${width.toFixed(1)}px`;
    if (this.text.textContent === text) return;
    this.text.textContent = text;
    this.element.setAttribute("aria-label", `Scale bar: ${text}`);
  }
}

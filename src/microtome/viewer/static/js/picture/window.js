// A window over a histogram: two handles, the curve from black to the full colour, and the two numbers.

import { make, makeSvg } from "../shared/dom.js";

const [WIDTH, HEIGHT] = [256, 64];
const CURVE = 24;

export class WindowControl {
  /** `changed({low, high})` is called while a handle is moved. `facts`: {name, low, high, histogram}. */
  constructor(facts, { step, whole, changed }) {
    this.facts = facts;
    this.whole = whole;
    this.stepping = step;
    this.changed = changed;
    this.all = makeSvg("path", { class: "histogram-all", d: area(facts.histogram, 0, facts.histogram.length) });
    this.inside = makeSvg("path", { class: "histogram-inside" });
    this.curve = makeSvg("path", { class: "histogram-curve" });
    const svg = makeSvg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", "aria-hidden": "true" }, this.all, this.inside, this.curve);
    this.sliders = ["low", "high"].map((end) => this.#slider(end));
    this.numbers = ["low", "high"].map((end) => this.#number(end));
    this.element = make("div", { class: "window" }, make("div", { class: "histogram" }, svg, ...this.sliders));
  }

  #slider(end) {
    const label = `${this.facts.name}: ${end === "low" ? "black below" : "full colour from"}`;
    const slider = make("input", { type: "range", class: `window-${end}`, "aria-label": label, step: this.whole ? 1 : "any" });
    slider.addEventListener("input", () => this.#take(end, Number(slider.value)));
    // A native slider of floating point numbers has no steps for the keys.
    slider.addEventListener("keydown", (event) => {
      const way = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageDown: -10, PageUp: 10 }[event.key];
      if (!way) return;
      event.preventDefault();
      const wide = Math.max(this.stepping, (this.limits.high - this.limits.low) / 200);
      this.#take(end, this.now[end] + way * (event.shiftKey ? this.stepping : this.whole ? Math.ceil(wide) : wide));
    });
    return slider;
  }

  #number(end) {
    const field = make("input", { type: "number", class: "window-number", step: "any", "aria-label": `${this.facts.name}: ${end === "low" ? "minimum" : "maximum"}` });
    field.addEventListener("change", () => {
      const value = field.valueAsNumber;
      if (Number.isFinite(value)) this.#take(end, value, true);
      else this.show(this.now, this.gamma);
    });
    return field;
  }

  /** A handle stops at the other one; a number that is typed moves the other one on. */
  #take(end, wanted, typed = false) {
    const { stepping } = this;
    let value = this.whole ? Math.round(wanted) : Number(wanted.toPrecision(6));
    if (!typed) value = Math.min(Math.max(value, this.limits.low), this.limits.high);
    const next = { ...this.now, [end]: value };
    if (next.low >= next.high) {
      if (typed) next[end === "low" ? "high" : "low"] = end === "low" ? value + stepping : value - stepping;
      else next[end] = end === "low" ? this.now.high - stepping : this.now.low + stepping;
    }
    this.changed(next);
  }

  /** Show a window {low, high} and a gamma. */
  show({ low, high }, gamma) {
    this.now = { low, high };
    this.gamma = gamma;
    this.limits = { low: Math.min(this.facts.low, low), high: Math.max(this.facts.high, high) };
    const [first, last] = [this.limits.low, this.limits.high];
    [low, high].forEach((value, at) => {
      Object.assign(this.sliders[at], { min: first, max: last });
      this.sliders[at].value = value;
      if (document.activeElement !== this.numbers[at] || this.numbers[at].valueAsNumber !== value) this.numbers[at].value = String(Number(value.toPrecision(6)));
    });
    const place = (value) => ((value - first) / (last - first)) * WIDTH;
    // The histogram keeps its own range when the window reaches beyond it.
    const bins = this.facts.histogram.length;
    const bin = (value) => ((value - this.facts.low) / (this.facts.high - this.facts.low)) * bins;
    const shift = `translate(${place(this.facts.low)} 0) scale(${(place(this.facts.high) - place(this.facts.low)) / WIDTH} 1)`;
    for (const path of [this.all, this.inside]) path.setAttribute("transform", shift);
    this.inside.setAttribute("d", area(this.facts.histogram, Math.max(0, bin(low)), Math.min(bins, bin(high))));
    const points = Array.from({ length: CURVE + 1 }, (_, at) => {
      const part = at / CURVE;
      return `${(place(low) + part * (place(high) - place(low))).toFixed(1)} ${(HEIGHT * (1 - part ** gamma)).toFixed(1)}`;
    });
    this.curve.setAttribute("d", `M0 ${HEIGHT}L${points.join("L")}L${WIDTH} 0`);
    // Of two handles in one place the one that can still be moved lies on top.
    this.sliders[0].classList.toggle("on-top", low > (first + last) / 2);
  }
}

/** The bins from `first` to `end` (fractions cut a bin), as high as the logarithm of their counts. */
function area(histogram, first, end) {
  const most = Math.log1p(Math.max(1, ...histogram));
  const wide = WIDTH / histogram.length;
  if (!(end > first)) return "";
  const steps = [];
  for (let at = Math.floor(first); at < Math.ceil(end); at += 1) {
    const top = (HEIGHT - (Math.log1p(histogram[at]) / most) * (HEIGHT - 4)).toFixed(1);
    const [left, right] = [Math.max(first, at) * wide, Math.min(end, at + 1) * wide];
    steps.push(`L${left.toFixed(1)} ${top}L${right.toFixed(1)} ${top}`);
  }
  return `M${(first * wide).toFixed(1)} ${HEIGHT}${steps.join("")}L${(end * wide).toFixed(1)} ${HEIGHT}Z`;
}

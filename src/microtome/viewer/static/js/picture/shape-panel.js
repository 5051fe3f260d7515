// The shapes in the panel: which set, how it is drawn, what the colours mean.

import { icon, make } from "../shared/dom.js";
import { count } from "../shared/format.js";
import { removeShapes } from "./shapes.js";

const MOST_ROWS = 24;
const PLACEMENTS = [
  ["auto", "As the set says"],
  ["pixels", "Pixel for pixel"],
  ["fit", "Fitted to the slide"],
];

export class ShapePanel {
  #undo = [];

  /** `choose()` asks a person for a set. */
  constructor(element, choose) {
    this.element = element;
    this.choose = choose;
  }

  /** The shapes of a pane; to be called again when it has others. */
  show(pane) {
    for (const undo of this.#undo) undo();
    this.#undo = [];
    this.pane = pane;
    const { overlay } = pane;
    const head = make("div", { class: "section-head" }, make("h3", { text: "Shapes" }));
    if (!overlay) {
      const button = make("button", { class: "button wide", type: "button", on: { click: () => this.choose() } }, icon("shapes"), "Show shapes over the slide");
      this.element.replaceChildren(head, make("p", { class: "quiet", text: "GeoJSON and vector tiles, such as the nuclei of a segmentation." }), button);
      return;
    }
    this.overlay = overlay;
    const seen = make("input", { type: "checkbox", class: "switch", "aria-label": "Show the shapes", on: { change: () => overlay.show(seen.checked) } });
    const own = pane.slide.set !== null;
    this.notice = make("div", { class: "shape-notice", role: "status" });
    this.fields = { seen };
    this.legend = make("div", { class: "legend" });
    this.layers = make("div", { class: "layers" });
    this.element.replaceChildren(
      head,
      make(
        "div",
        { class: "set" },
        seen,
        make("span", { class: "set-name", title: overlay.set.id }, make("strong", { text: overlay.set.name }), overlay.set.features ? make("span", { text: `${count(overlay.set.features)} shapes` }) : null),
        own ? null : this.#tool("Choose other shapes", "folder", () => this.choose()),
        own ? null : this.#tool("Take the shapes off", "close", () => removeShapes(pane)),
      ),
      this.notice,
      this.#ink("Fill", "fill", "fillOpacity"),
      this.#ink("Line", "line", "lineOpacity"),
      this.#range("Width", "width", { min: 0, max: 6, step: 0.25, text: (value) => `${value} px` }),
      this.#by(),
      this.legend,
      this.layers,
      own || overlay.set.inPixels ? "" : this.#placement(),
      overlay.set.attribution ? make("p", { class: "quiet", text: plain(overlay.set.attribution) }) : "",
    );
    this.#listen(overlay, "legend", () => this.#showLegend());
    this.#listen(overlay, "style", () => this.#showStyle());
    this.#listen(overlay, "state", () => this.#showState());
    this.#showStyle();
    this.#showLegend();
    this.#showState();
  }

  #listen(target, event, act) {
    target.addEventListener(event, act);
    this.#undo.push(() => target.removeEventListener(event, act));
  }

  #tool(label, symbol, click) {
    return make("button", { type: "button", class: "tool", "aria-label": label, title: label, on: { click } }, icon(symbol));
  }

  #ink(title, color, opacity) {
    const { overlay } = this;
    const swatch = make("input", { type: "color", class: "swatch", "aria-label": `${title} colour`, on: { input: () => overlay.restyle({ [color]: swatch.value }) } });
    this.fields[color] = swatch;
    return this.#range(title, opacity, { min: 0, max: 1, step: 0.05, label: `${title} opacity`, text: (value) => `${Math.round(value * 100)}%`, before: swatch });
  }

  #range(title, name, { min, max, step, text, label = title, before = null }) {
    const output = make("output", {});
    const input = make("input", { type: "range", class: "slider", min, max, step, "aria-label": label, on: { input: () => this.overlay.restyle({ [name]: Number(input.value) }) } });
    this.fields[name] = input;
    input.shown = () => (output.textContent = text(Number(input.value)));
    return make("div", { class: "row" }, make("span", { class: "row-name", text: title }), before, input, output);
  }

  #by() {
    const select = make("select", { class: "select", id: "color-by", on: { change: () => this.overlay.restyle({ by: select.value || null }) } });
    this.fields.by = select;
    return make("div", { class: "row" }, make("label", { class: "row-name", for: "color-by", text: "Colour by" }), select);
  }

  #placement() {
    const select = make("select", { class: "select", id: "placement", on: { change: () => this.overlay.place(select.value) } }, ...PLACEMENTS.map(([value, text]) => make("option", { value, text })));
    this.fields.placement = select;
    return make("div", { class: "row" }, make("label", { class: "row-name", for: "placement", text: "Placement" }), select);
  }

  #showStyle() {
    const { overlay, fields } = this;
    fields.seen.checked = overlay.visible;
    for (const name of ["fill", "line"]) fields[name].value = overlay.style[name];
    for (const name of ["fillOpacity", "lineOpacity", "width"]) {
      fields[name].value = String(overlay.style[name]);
      fields[name].shown();
    }
    for (const name of ["fill", "line"]) fields[name].disabled = overlay.colorBy !== null;
    if (fields.placement) fields.placement.value = overlay.placement;
    this.#showLegend();
  }

  #showLegend() {
    const { overlay, fields } = this;
    const { legend } = overlay;
    const choices = legend.choices;
    if (overlay.colorBy && !choices.includes(overlay.colorBy)) choices.unshift(overlay.colorBy);
    const known = [...fields.by.options].map(({ value }) => value).join("\n");
    if (known !== ["", ...choices].join("\n")) fields.by.replaceChildren(make("option", { value: "", text: "One colour" }), ...choices.map((key) => make("option", { value: key, text: key })));
    fields.by.value = overlay.colorBy ?? "";
    fields.by.closest(".row").hidden = choices.length === 0;
    this.legend.replaceChildren(...(overlay.colorBy ? this.#rows(overlay.colorBy) : []));
    this.#showLayers();
  }

  #rows(key) {
    const { overlay } = this;
    const { classes, numbers } = overlay.legend.rows(key);
    const rows = classes.slice(0, MOST_ROWS).map(({ value, color }) => {
      const swatch = make("input", { type: "color", class: "swatch", value: color, "aria-label": `Colour of ${value}` });
      swatch.addEventListener("change", () => {
        overlay.legend.chosen.set(`${key}=${value}`, swatch.value);
        overlay.restyle();
      });
      return make("label", { class: "legend-row" }, swatch, make("span", { text: value }));
    });
    if (numbers) {
      const bar = make("div", { class: "ramp" }, ...numbers.ramp.map((color) => ramp(color)));
      rows.push(make("div", { class: "ramp-row" }, bar, make("div", { class: "ramp-ends" }, make("span", { text: short(numbers.low) }), make("span", { text: short(numbers.high) }))));
    }
    return rows;
  }

  #showLayers() {
    const { overlay } = this;
    const names = [...overlay.legend.layers.keys()].sort();
    this.layers.hidden = names.length < 2;
    if (this.layers.hidden) return;
    this.layers.replaceChildren(
      make("h4", { text: "Layers" }),
      ...names.map((name) => {
        const box = make("input", { type: "checkbox" });
        box.checked = !overlay.hidden.has(name);
        box.addEventListener("change", () => {
          if (box.checked) overlay.hidden.delete(name);
          else overlay.hidden.add(name);
          overlay.restyle();
        });
        return make("label", { class: "layer" }, box, make("span", { text: name }));
      }),
    );
  }

  #showState() {
    const { overlay } = this;
    const text = overlay.message || (overlay.tooMany ? "Zoom in: this set has no tiles for so small a scale." : "");
    this.notice.hidden = !text;
    this.notice.replaceChildren(
      icon(overlay.message ? "alert" : "search"),
      make("span", { text }),
      ...(overlay.message ? [make("button", { type: "button", class: "mini", text: "Try again", on: { click: () => overlay.retry() } })] : []),
    );
  }
}

function ramp(color) {
  const step = make("span", {});
  step.style.background = color;
  return step;
}

/** Map makers put links into their attribution; only its text is shown. */
const plain = (text) => new DOMParser().parseFromString(text, "text/html").body.textContent;

const short = (value) => String(Number(value.toPrecision(4)));

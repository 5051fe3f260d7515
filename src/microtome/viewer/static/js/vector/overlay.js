// A vector set drawn over the slide of a pane, or alone on a blank one.

import { make } from "../shared/dom.js";
import { CELL, Cells } from "./cells.js";
import { Hover } from "./hover.js";
import { Legend } from "./legend.js";
import { DEFAULT } from "./style.js";

const REST = 140; // ms without a change of scale
const MOST_CELLS = 160;
const DEEPEST = 6; // levels up that are looked through for something to show meanwhile

/** Events: "legend" when there is more to colour by, "state" when loading, failures or hints change, "style". */
export class VectorOverlay extends EventTarget {
  #zoomed = 0;
  #scale = 0;
  #frame = 0;
  #resting = 0;
  #version = 0;

  constructor(pane, set, { style = {}, placement = "auto", colors = {} } = {}) {
    super();
    this.pane = pane;
    this.set = set;
    this.placement = placement;
    this.visible = true;
    /** Colours of layers that have one of their own; how much of all is seen. */
    this.colors = colors;
    this.opacity = 1;
    const { by = null, hidden = [], ...plain } = style;
    this.hidden = new Set(hidden);
    this.usual = DEFAULT;
    this.style = { ...DEFAULT, ...plain };
    this.colorBy = by;
    this.message = "";
    this.tooMany = false;
    this.legend = new Legend();
    this.cells = new Cells(set);
    this.canvas = make("canvas", { class: "shapes", "aria-hidden": "true" });
    this.context = this.canvas.getContext("2d");
    this.buffer = null;
    pane.stage.after(this.canvas);
    this.cells.addEventListener("drawn", () => this.#soon());
    this.cells.addEventListener("summary", ({ detail }) => this.#learn(detail.layers));
    this.cells.addEventListener("failed", ({ detail }) => {
      this.message = detail;
      this.dispatchEvent(new Event("state"));
    });
    // In the frame in which the slide itself is drawn, so that the two never slide against each other.
    this.onUpdate = () => this.draw();
    pane.viewer.addHandler("update-viewport", this.onUpdate);
    pane.viewer.addHandler("resize", this.onUpdate);
    this.hover = new Hover(this);
    this.restyle();
  }

  close() {
    clearTimeout(this.#resting);
    cancelAnimationFrame(this.#frame);
    this.pane.viewer?.removeHandler("update-viewport", this.onUpdate);
    this.pane.viewer?.removeHandler("resize", this.onUpdate);
    this.hover.close();
    this.cells.close();
    this.canvas.remove();
  }

  /** Slide px for each px of the set. */
  get factor() {
    return this.set.scaleOn(this.pane.slide, this.placement);
  }

  show(visible) {
    this.visible = visible;
    if (!visible) this.hover.clear();
    this.draw();
    this.dispatchEvent(new Event("style"));
  }

  fade(opacity) {
    this.opacity = opacity;
    this.canvas.style.opacity = String(opacity);
    this.dispatchEvent(new Event("style"));
  }

  place(placement) {
    this.placement = placement;
    this.hover.clear();
    this.draw();
    this.dispatchEvent(new Event("style"));
  }

  /** Draw in the style that now is; `change` goes over it. */
  restyle(change = {}) {
    const { by, ...plain } = change;
    Object.assign(this.style, plain);
    if (by !== undefined) this.colorBy = by;
    const colors = this.colorBy ? this.legend.by(this.colorBy) : null;
    this.#version += 1;
    const hidden = [...this.hidden];
    // Paths are kept by what they are made of: colours of classes and hidden layers, not by fill and width.
    const layers = { ...this.colors };
    this.drawn = { ...this.style, hidden, layers, by: colors, version: this.#version, grouping: JSON.stringify([colors, hidden, layers]) };
    this.hover?.clear();
    this.draw();
    this.dispatchEvent(new Event("style"));
  }

  /** Try the tiles that failed again. */
  retry() {
    this.message = "";
    this.cells.retry();
    this.draw();
    this.dispatchEvent(new Event("state"));
  }

  /** Resolves when all of the view is drawn, or after `limit` ms. */
  async settled(limit = 5000) {
    const end = performance.now() + limit;
    while (performance.now() < end) {
      await new Promise((resolve) => setTimeout(resolve, REST + 20));
      if (!this.#resting && this.cells.settled) return;
    }
  }

  /** Draw what the view shows on the canvas over the slide, and ask for what is missing. */
  draw() {
    if (!this.pane.viewer?.viewport) return;
    const ratio = globalThis.devicePixelRatio || 1;
    const { width, height } = this.pane.size;
    const [across, down] = [Math.round(width * ratio), Math.round(height * ratio)];
    if (this.canvas.width !== across || this.canvas.height !== down) Object.assign(this.canvas, { width: across, height: down });
    this.context.setTransform(1, 0, 0, 1, 0, 0);
    this.context.clearRect(0, 0, across, down);
    if (!this.visible || !width) return;
    this.#paint(this.context, { width, height, ratio }, true);
    this.canvas.dataset.settled = String(this.#resting === 0 && this.cells.settled);
  }

  /** The same on another canvas, whose unit is a CSS px: for screenshots. */
  paint(context) {
    if (!this.visible) return;
    const { width, height } = this.pane.size;
    const ratio = globalThis.devicePixelRatio || 1;
    const own = new OffscreenCanvas(Math.round(width * ratio), Math.round(height * ratio));
    this.#paint(own.getContext("2d"), { width, height, ratio }, false);
    context.globalAlpha = this.opacity;
    context.drawImage(own, 0, 0, width, height);
    context.globalAlpha = 1;
  }

  #paint(context, screen, asking) {
    const view = this.pane.view();
    if (!(view.zoom > 0)) return;
    if (asking) this.#watch(view.zoom);
    const turned = view.rotation % 360 !== 0;
    const [width, height] = [screen.width, screen.height];
    // A turned view is put together upright and then turned as a whole: cells meet without seams that way.
    const side = Math.ceil(Math.hypot(width, height));
    const size = turned ? { width: side, height: side } : { width, height };
    const target = turned ? this.#upright(size, screen.ratio) : context;
    this.#cellsOnto(target, { view, size, ratio: screen.ratio, asking });
    if (!turned) return;
    context.save();
    context.translate((width / 2) * screen.ratio, (height / 2) * screen.ratio);
    context.rotate((view.rotation * Math.PI) / 180);
    context.drawImage(target.canvas, -target.canvas.width / 2, -target.canvas.height / 2);
    context.restore();
  }

  #upright({ width, height }, ratio) {
    const [across, down] = [Math.round(width * ratio), Math.round(height * ratio)];
    if (this.buffer?.canvas.width !== across || this.buffer?.canvas.height !== down) this.buffer = new OffscreenCanvas(across, down).getContext("2d");
    else this.buffer.clearRect(0, 0, across, down);
    return this.buffer;
  }

  #cellsOnto(context, { view, size, ratio, asking }) {
    const { factor, set } = this;
    const perPlane = view.zoom * factor; // CSS px for each px of the set
    const wanted = Math.round(Math.log2((set.world * perPlane) / CELL));
    const zoom = Math.max(set.lowest, wanted);
    const side = (set.world / 2 ** zoom) * perPlane;
    const left = size.width / 2 - view.x * view.zoom;
    const top = size.height / 2 - view.y * view.zoom;
    const edge = (from, index) => Math.round((from + index * side) * ratio);
    const range = (start, length, low, high) => [
      Math.max(Math.floor(-start / side), Math.floor((low * perPlane) / side)),
      Math.min(Math.floor((length - start) / side), Math.floor((high * perPlane) / side), 2 ** zoom - 1),
    ];
    const { bounds } = set;
    const [firstX, lastX] = range(left, size.width, bounds.x, bounds.x + bounds.width);
    const [firstY, lastY] = range(top, size.height, bounds.y, bounds.y + bounds.height);
    const number = Math.max(0, lastX - firstX + 1) * Math.max(0, lastY - firstY + 1);
    if (asking) this.#tell(number > MOST_CELLS);
    if (number > MOST_CELLS || number === 0) return;
    const cells = [];
    for (let y = firstY; y <= lastY; y += 1) for (let x = firstX; x <= lastX; x += 1) cells.push({ zoom, x, y });
    const box = ({ x, y }) => ({ x: edge(left, x), y: edge(top, y), width: edge(left, x + 1) - edge(left, x), height: edge(top, y + 1) - edge(top, y) });
    for (const cell of cells) this.#shapesOf(context, cell, box(cell));
    for (const cell of cells) this.#pointsOf(context, cell, box(cell));
    if (!asking) return;
    const middle = { x: (size.width / 2 - left) / side - 0.5, y: (size.height / 2 - top) / side - 0.5 };
    cells.sort((a, b) => Math.hypot(a.x - middle.x, a.y - middle.y) - Math.hypot(b.x - middle.x, b.y - middle.y));
    const still = this.#resting === 0;
    this.cells.want(still || this.#panning ? cells : [], { px: Math.max(1, Math.round(side * ratio)), ratio, style: this.drawn, redraw: still });
  }

  get #panning() {
    return performance.now() - this.#zoomed > REST;
  }

  #shapesOf(context, cell, box) {
    const own = this.cells.picture(cell.zoom, cell.x, cell.y);
    if (own) {
      if (own.shapes) context.drawImage(own.shapes, box.x, box.y, box.width, box.height);
      return;
    }
    if (this.cells.has(cell.zoom, cell.x, cell.y)) return;
    // Meanwhile: the four smaller ones if all are there, else a part of a larger one.
    const four = [0, 1, 2, 3].map((at) => ({ x: 2 * cell.x + (at & 1), y: 2 * cell.y + (at >> 1), at }));
    if (four.every(({ x, y }) => this.cells.has(cell.zoom + 1, x, y))) {
      for (const { x, y, at } of four) {
        const part = this.cells.picture(cell.zoom + 1, x, y);
        const [halfX, halfY] = [box.width / 2, box.height / 2];
        if (part?.shapes) context.drawImage(part.shapes, box.x + (at & 1) * halfX, box.y + (at >> 1) * halfY, halfX, halfY);
      }
      return;
    }
    for (let up = 1; up <= DEEPEST && cell.zoom - up >= 0; up += 1) {
      const times = 2 ** up;
      const [x, y] = [Math.floor(cell.x / times), Math.floor(cell.y / times)];
      const larger = this.cells.picture(cell.zoom - up, x, y);
      if (!larger) continue;
      if (larger.shapes) {
        const part = larger.shapes.width / times;
        context.drawImage(larger.shapes, (cell.x - x * times) * part, (cell.y - y * times) * part, part, part, box.x, box.y, box.width, box.height);
      }
      return;
    }
  }

  #pointsOf(context, cell, box) {
    const own = this.cells.picture(cell.zoom, cell.x, cell.y);
    if (!own?.points) return;
    const scale = box.width / own.px;
    const padding = own.padding * scale;
    context.drawImage(own.points, box.x - padding, box.y - padding, own.points.width * scale, own.points.height * scale);
  }

  /** Notes whether the scale changes, and draws once more when it has not for a while. */
  #watch(zoom) {
    if (this.#scale && Math.abs(this.#scale / zoom - 1) < 1e-6) return;
    const first = this.#scale === 0;
    this.#scale = zoom;
    if (first) return;
    this.#zoomed = performance.now();
    clearTimeout(this.#resting);
    this.#resting = setTimeout(() => {
      this.#resting = 0;
      this.draw();
    }, REST);
  }

  #tell(tooMany) {
    if (tooMany === this.tooMany) return;
    this.tooMany = tooMany;
    this.dispatchEvent(new Event("state"));
  }

  #learn(layers) {
    if (!this.legend.add(layers)) return;
    if (this.colorBy) this.restyle();
    this.dispatchEvent(new Event("legend"));
  }

  #soon() {
    this.#frame ||= requestAnimationFrame(() => {
      this.#frame = 0;
      this.draw();
    });
  }
}

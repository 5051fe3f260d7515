// Measuring: lines and areas drawn on a slide, in an SVG layer over the tiles. Kept for the session, per slide.

import { makeSvg } from "../shared/dom.js";
import { area, count, length } from "../shared/format.js";
import { middle, pathLength, polygonArea } from "./geometry.js";

const CLOSE = 12; // CSS px: a click this near to the first corner closes an area

/** What a measurement says: {title, value, detail}. */
export function describe(shape, mpp) {
  if (shape.kind === "line") {
    const value = pathLength(shape.points, mpp);
    return { title: "Length", value: mpp ? length(value) : `${count(value)} px`, detail: "" };
  }
  const around = pathLength([...shape.points, shape.points[0]], mpp);
  const inside = polygonArea(shape.points, mpp);
  return {
    title: "Area",
    value: mpp ? area(inside) : `${count(inside)} px²`,
    detail: `perimeter ${mpp ? length(around) : `${count(around)} px`}`,
  };
}

/** The drawing layer of a pane. Events: "change" when the measurements did, "tool" when the tool did. */
export class Measure extends EventTarget {
  #draft = null;
  #pointer = null;

  constructor(pane) {
    super();
    this.pane = pane;
    this.tool = null;
    this.shapes = remembered(pane.slide.id);
    this.svg = makeSvg("svg", { class: "drawing", "aria-hidden": "true" });
    pane.stage.after(this.svg);
    pane.addEventListener("move", () => this.draw());
    pane.addEventListener("click", (event) => this.add(event.detail));
    pane.addEventListener("doubleclick", () => this.finish());
    pane.addEventListener("pointer", (event) => {
      this.#pointer = event.detail;
      if (this.#draft) this.draw();
    });
  }

  /** "line", "area" or null for none. */
  use(tool) {
    this.tool = tool;
    this.#draft = null;
    this.pane.element.classList.toggle("measuring", tool !== null);
    this.pane.viewer.gestureSettingsMouse.dblClickToZoom = tool === null;
    this.pane.viewer.gestureSettingsTouch.dblClickToZoom = tool === null;
    this.draw();
    this.dispatchEvent(new Event("tool"));
  }

  /** One more point, level-0 px; null takes the middle of the view (the keyboard's pointer). */
  add(place) {
    if (!this.tool) return;
    const point = place ?? this.pane.view();
    const spot = { x: point.x, y: point.y };
    if (!this.#draft) {
      this.#draft = { kind: this.tool, points: [spot] };
    } else if (this.tool === "line") {
      this.#draft.points.push(spot);
      this.finish();
      return;
    } else if (this.#draft.points.length > 2 && this.#near(spot, this.#draft.points[0])) {
      this.finish();
      return;
    } else if (!this.#near(spot, this.#draft.points.at(-1), 2)) {
      this.#draft.points.push(spot);
    }
    this.draw();
  }

  /** Keep what is drawn, if it measures something; the tool stays for the next. */
  finish() {
    const draft = this.#draft;
    if (!draft || draft.points.length < (draft.kind === "line" ? 2 : 3)) return;
    this.#draft = null;
    this.shapes.push(draft);
    this.#changed();
  }

  /** Drop the drawing under way; true when there was one. */
  cancel() {
    const was = this.#draft !== null;
    this.#draft = null;
    this.draw();
    return was;
  }

  remove(shape) {
    this.shapes = this.shapes.filter((other) => other !== shape);
    this.#changed();
  }

  clear() {
    this.shapes = [];
    this.#changed();
  }

  show(shape) {
    const { x, y } = middle(shape.points);
    const xs = shape.points.map((point) => point.x);
    const ys = shape.points.map((point) => point.y);
    const { width, height } = this.pane.size;
    const span = Math.max((Math.max(...xs) - Math.min(...xs)) / width, (Math.max(...ys) - Math.min(...ys)) / height, 1e-6);
    this.pane.show({ x, y, zoom: Math.min(0.6 / span, 2) });
  }

  draw() {
    if (!this.pane.viewer?.viewport) return;
    const drawn = this.shapes.map((shape) => this.#shape(shape, shape.points, false));
    if (this.#draft) {
      const points = this.#pointer && this.tool ? [...this.#draft.points, this.#pointer] : this.#draft.points;
      drawn.push(this.#shape({ kind: this.#draft.kind }, points, true));
    }
    this.svg.replaceChildren(...drawn);
  }

  /** Draw the shapes on a canvas whose px are the pane's CSS px: for screenshots. */
  paint(context) {
    context.lineJoin = "round";
    context.font = "600 13px system-ui, sans-serif";
    context.textAlign = "center";
    for (const shape of this.shapes) {
      const path = new Path2D();
      shape.points.map((point) => this.pane.toScreen(point)).forEach((at, index) => path[index ? "lineTo" : "moveTo"](at.x, at.y));
      if (shape.kind === "area") path.closePath();
      for (const [color, width] of [["rgba(10,14,18,.75)", 5], ["#ffd83d", 2]]) {
        context.strokeStyle = color;
        context.lineWidth = width;
        context.stroke(path);
      }
      const at = this.pane.toScreen(middle(shape.points));
      const { value } = describe(shape, this.pane.slide.mpp);
      const wide = context.measureText(value).width + 18;
      context.fillStyle = "rgba(14,19,25,.92)";
      context.beginPath();
      context.roundRect(at.x - wide / 2, at.y - 34, wide, 24, 12);
      context.fill();
      context.fillStyle = "#fff";
      context.fillText(value, at.x, at.y - 17.5);
    }
  }

  #shape(shape, points, draft) {
    const screen = points.map((point) => this.pane.toScreen(point));
    const text = screen.map(({ x, y }) => `${x.toFixed(1)},${y.toFixed(1)}`).join(" ");
    const tag = shape.kind === "area" && screen.length > 2 ? "polygon" : "polyline";
    const group = makeSvg(
      "g",
      { class: draft ? "shape draft" : "shape" },
      makeSvg(tag, { class: "halo", points: text }),
      makeSvg(tag, { class: "line", points: text }),
      ...screen.map(({ x, y }) => makeSvg("circle", { class: "corner", cx: x.toFixed(1), cy: y.toFixed(1), r: 4 })),
    );
    const whole = points.length > (shape.kind === "line" ? 1 : 2);
    if (whole) group.append(label(this.pane.toScreen(middle(points)), describe({ ...shape, points }, this.pane.slide.mpp).value));
    return group;
  }

  #near(a, b, distance = CLOSE) {
    const [p, q] = [this.pane.toScreen(a), this.pane.toScreen(b)];
    return Math.hypot(p.x - q.x, p.y - q.y) < distance;
  }

  #changed() {
    try {
      sessionStorage.setItem(key(this.pane.slide.id), JSON.stringify(this.shapes));
    } catch {
      // Kept until the page is left, then.
    }
    this.draw();
    this.dispatchEvent(new Event("change"));
  }
}

function label({ x, y }, text) {
  const width = text.length * 7.4 + 20;
  return makeSvg(
    "g",
    { class: "label", transform: `translate(${x.toFixed(1)} ${(y - 22).toFixed(1)})` },
    makeSvg("rect", { x: -width / 2, y: -12, width, height: 24, rx: 12 }),
    makeSvg("text", { y: 4.5, "text-anchor": "middle", text }),
  );
}

const key = (id) => `microtome.measurements.${id}`;

function remembered(id) {
  try {
    const shapes = JSON.parse(sessionStorage.getItem(key(id)) ?? "[]");
    return shapes.filter(({ kind, points }) => (kind === "line" || kind === "area") && points.length > 1);
  } catch {
    return [];
  }
}

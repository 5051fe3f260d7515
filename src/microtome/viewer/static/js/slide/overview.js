// The whole slide in a corner, with a frame around what is on the screen. One thumbnail, no tiles.

import { make, makeSvg } from "../shared/dom.js";
import { sketch } from "../vector/sketch.js";

const THUMBNAIL = 384;
const SMALLEST_FRAME = 6;

export class Overview {
  constructor(pane) {
    const { slide } = pane;
    this.pane = pane;
    this.image = make("img", { alt: "", draggable: "false", decoding: "async" });
    this.shade = makeSvg("path", { class: "overview-shade" });
    this.frame = makeSvg("polygon", { class: "overview-frame" });
    this.dot = makeSvg("circle", { class: "overview-dot", r: 3.5 });
    this.svg = makeSvg("svg", { "aria-hidden": "true" }, this.shade, this.frame, this.dot);
    this.element = make("div", { class: "overview", title: "Overview: click or drag to go there" }, this.image, this.svg);
    const { width, height } = slide.extent;
    this.element.style.setProperty("--ratio", String(width / height));
    this.element.style.aspectRatio = `${width} / ${height}`;
    this.image.addEventListener("error", () => this.image.remove());
    this.refresh();
    pane.addEventListener("move", () => this.draw());
    this.element.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      this.element.setPointerCapture(event.pointerId);
      this.pane.dispatchEvent(new CustomEvent("lead"));
      this.#go(event, false);
    });
    this.element.addEventListener("pointermove", (event) => {
      if (this.element.hasPointerCapture(event.pointerId)) this.#go(event, true);
    });
    this.element.addEventListener(
      "wheel",
      (event) => {
        event.preventDefault();
        this.pane.zoomBy(event.deltaY < 0 ? 1.25 : 0.8);
      },
      { passive: false },
    );
  }

  /** Draw the slide as the pane's look has it now. */
  refresh() {
    const { slide, look } = this.pane;
    if (slide.set)
      void sketch(slide.facts, THUMBNAIL).then(
        (picture) => this.image.replaceWith(picture),
        () => this.image.remove(),
      );
    else this.image.src = slide.overviewAddress(THUMBNAIL, look.params);
  }

  #go(event, immediately) {
    const box = this.element.getBoundingClientRect();
    const { extent } = this.pane.slide;
    const x = extent.x + ((event.clientX - box.left) / box.width) * extent.width;
    const y = extent.y + ((event.clientY - box.top) / box.height) * extent.height;
    this.pane.show({ x, y }, { immediately });
  }

  draw() {
    const width = this.element.clientWidth;
    if (!width || !this.pane.viewer) return;
    const { extent } = this.pane.slide;
    const factor = width / extent.width;
    const screen = this.pane.size;
    const inside = ({ x, y }) => ({ x: x - extent.x, y: y - extent.y });
    const corners = [
      [0, 0],
      [screen.width, 0],
      [screen.width, screen.height],
      [0, screen.height],
    ].map(([x, y]) => inside(this.pane.toSlide({ x, y })));
    const points = corners.map(({ x, y }) => `${(x * factor).toFixed(1)},${(y * factor).toFixed(1)}`).join(" ");
    this.frame.setAttribute("points", points);
    this.shade.setAttribute("d", `M0 0H${width}V${this.element.clientHeight}H0ZM${points}Z`);
    const span = Math.hypot(corners[1].x - corners[0].x, corners[1].y - corners[0].y) * factor;
    const { x, y } = inside(this.pane.view());
    this.dot.setAttribute("cx", (x * factor).toFixed(1));
    this.dot.setAttribute("cy", (y * factor).toFixed(1));
    this.dot.classList.toggle("shown", span < SMALLEST_FRAME * 2);
  }
}

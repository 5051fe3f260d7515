// A pane: one slide on the screen, with its scale bar, overview and drawing layer. Places are level-0 px of the slide;
// zoom is CSS px per level-0 px; rotation is clockwise in degrees.

import { Look } from "../picture/look.js";
import { calm, icon, make } from "../shared/dom.js";
import { Overview } from "./overview.js";
import { Restyle } from "./restyle.js";
import { ScaleBar } from "./scale.js";
import { createSource } from "./source.js";

const MOST_MAGNIFIED = 4;
/** Shapes have no pixels that could be too large. */
const MOST_MAGNIFIED_SHAPES = 64;
/** Ms a slider must rest before the slide is drawn anew. */
const DEBOUNCE = 90;

/** Events: "move" on every change of the view, "resized", "lead" when a person touches it, "click" and "doubleclick"
 *  {x, y}, "pointer" {x, y} or null, "looked" when the look of the slide has changed. */
export class Pane extends EventTarget {
  #failures = new Map();
  #atHome = true;

  /** `start` says how the slide is drawn at first: see picture/look.js. */
  constructor(slide, start = {}) {
    super();
    this.slide = slide;
    this.look = new Look(slide, start);
    /** Vector shapes over the slide; those that are being opened; whether a person took them off: see picture/shapes.js. */
    this.overlay = null;
    this.comingShapes = null;
    this.withoutShapes = false;
    /** Annotations and segmentations over the slide: see marks/marks.js. */
    this.marks = [];
    this.stage = make("div", { class: "pane-stage" });
    this.title = make("header", { class: "pane-title" }, make("span", { class: "pane-name", text: slide.name, title: slide.id }));
    this.notice = make("div", { class: "pane-notice", role: "status", hidden: true });
    this.element = make(
      "section",
      { class: slide.set ? "pane blank" : "pane", "aria-label": `Slide ${slide.name}` },
      this.stage,
      this.title,
      this.notice,
    );
    this.scale = new ScaleBar(this);
    this.overview = new Overview(this);
    this.element.append(this.scale.element, this.overview.element);
  }

  /** To be called when the element is in the page. Resolves when the slide can be moved. */
  open() {
    const quick = calm.matches ? 0 : 0.35;
    const touch = { clickToZoom: false, dblClickToZoom: true, flickEnabled: true, flickMomentum: 0.35, pinchRotate: false };
    const mouse = { clickToZoom: false, dblClickToZoom: true, flickEnabled: false };
    this.viewer = globalThis.OpenSeadragon({
      element: this.stage,
      tileSources: [createSource(this.slide, this.look.params)],
      showNavigationControl: false,
      showSequenceControl: false,
      keyboardNavEnabled: false,
      animationTime: quick,
      springStiffness: 9,
      blendTime: calm.matches ? 0 : 0.08,
      alwaysBlend: false,
      zoomPerScroll: 1.25,
      zoomPerClick: 2,
      gestureSettingsMouse: mouse,
      gestureSettingsPen: mouse,
      gestureSettingsTouch: touch,
      gestureSettingsUnknown: touch,
      minZoomImageRatio: 0.5,
      maxZoomPixelRatio: this.slide.set ? MOST_MAGNIFIED_SHAPES : MOST_MAGNIFIED,
      visibilityRatio: 0.25,
      preserveImageSizeOnResize: true,
      imageLoaderLimit: 8,
      timeout: 120_000, // a server that is busy answers, late or with an error of its own
      maxTilesPerFrame: 8,
      maxImageCacheCount: 500,
      tileRetryMax: 1,
      tileRetryDelay: 1200,
      silenceMultiImageWarnings: true,
    });
    this.viewer.canvas.setAttribute("role", "application");
    this.viewer.canvas.setAttribute("aria-roledescription", "zoomable slide");
    this.viewer.canvas.setAttribute("aria-label", `${this.slide.name}: arrow keys move, plus and minus zoom, question mark lists all keys`);
    const moved = () => this.#emit("move");
    for (const event of ["update-viewport", "animation", "resize", "rotate"]) this.viewer.addHandler(event, moved);
    for (const event of ["canvas-drag", "canvas-scroll", "canvas-pinch", "canvas-double-click"])
      this.viewer.addHandler(event, () => (this.#atHome = false));
    // A slide that fitted the screen fits it after a change of size, too. The event comes before OpenSeadragon has put
    // its own idea of the new view in place.
    this.viewer.addHandler("after-resize", () =>
      queueMicrotask(() => {
        if (!this.viewer?.viewport) return;
        if (this.#atHome) this.#goHome(true);
        this.#emit("resized");
      }),
    );
    this.viewer.addHandler("canvas-click", (event) => {
      if (event.quick) this.#emit("click", this.toSlide(event.position));
    });
    this.viewer.addHandler("canvas-double-click", (event) => this.#emit("doubleclick", this.toSlide(event.position)));
    for (const event of ["canvas-press", "canvas-scroll", "canvas-pinch", "canvas-focus"]) this.viewer.addHandler(event, () => this.#emit("lead"));
    this.stage.addEventListener("pointermove", (event) => {
      const box = this.stage.getBoundingClientRect();
      this.#emit("pointer", this.toSlide({ x: event.clientX - box.left, y: event.clientY - box.top }));
    });
    this.stage.addEventListener("pointerleave", () => this.#emit("pointer", null));
    this.viewer.addHandler("tile-load-failed", (event) => this.#tileFailed(event));
    this.restyle = new Restyle(this);
    this.look.addEventListener("change", () => {
      this.restyle.soon(DEBOUNCE);
      this.#emit("looked");
    });
    return new Promise((resolve, reject) => {
      this.viewer.addOnceHandler("open", () => {
        if (this.slide.set) this.#goHome(true);
        this.#emit("move");
        resolve(this);
      });
      this.viewer.addOnceHandler("open-failed", (event) => reject(new Error(event.message)));
    });
  }

  close() {
    this.overlay?.close();
    for (const each of this.marks) each.close();
    this.viewer?.destroy();
    this.viewer = null;
    this.element.remove();
  }

  get size() {
    return { width: this.stage.clientWidth, height: this.stage.clientHeight };
  }

  /** The view as it is drawn now; with `target`, as it will be when the animation has ended. */
  view({ target = false } = {}) {
    const { viewport } = this.viewer;
    const center = viewport.getCenter(!target);
    return {
      x: center.x * this.slide.width,
      y: center.y * this.slide.width,
      zoom: (viewport.getZoom(!target) * this.size.width) / this.slide.width,
      rotation: viewport.getRotation(!target),
    };
  }

  /** Go to a view; what is left out stays. */
  show({ x, y, zoom, rotation }, { immediately = false } = {}) {
    this.#atHome = false;
    const { viewport } = this.viewer;
    const { Point } = globalThis.OpenSeadragon;
    if (rotation !== undefined) viewport.setRotation(rotation, immediately);
    if (zoom !== undefined) viewport.zoomTo((zoom * this.slide.width) / this.size.width, null, immediately);
    if (x !== undefined) viewport.panTo(new Point(x / this.slide.width, y / this.slide.width), immediately);
    viewport.applyConstraints(immediately);
  }

  zoomBy(factor) {
    this.#atHome = false;
    this.viewer.viewport.zoomBy(factor);
    this.viewer.viewport.applyConstraints();
  }

  /** Move by parts of the screen. */
  panBy(right, down) {
    this.#atHome = false;
    const { viewport } = this.viewer;
    const { width, height } = this.size;
    viewport.panBy(viewport.deltaPointsFromPixels(new globalThis.OpenSeadragon.Point(right * width, down * height)));
    viewport.applyConstraints();
  }

  rotateBy(degrees) {
    const { viewport } = this.viewer;
    viewport.setRotation(Math.round((viewport.getRotation() + degrees) / 15) * 15);
  }

  fit() {
    this.#atHome = true;
    this.#goHome(false);
  }

  #goHome(immediately) {
    const { viewport } = this.viewer;
    if (!this.slide.set) {
      viewport.goHome(immediately);
      return;
    }
    const { x, y, width, height } = this.slide.extent;
    const whole = this.slide.width;
    viewport.fitBounds(new globalThis.OpenSeadragon.Rect(x / whole, y / whole, width / whole, height / whole), immediately);
  }

  /** The zoom at which the whole slide is on the screen. */
  get fitZoom() {
    const { width, height } = this.slide.extent;
    return Math.min(this.size.width / width, this.size.height / height);
  }

  /** Level-0 px of a point of the pane, in CSS px from its top left corner. */
  toSlide(point) {
    const { Point } = globalThis.OpenSeadragon;
    const place = this.viewer.viewport.pointFromPixel(new Point(point.x, point.y), true);
    return { x: place.x * this.slide.width, y: place.y * this.slide.width };
  }

  /** CSS px in the pane of a place on the slide. */
  toScreen(place) {
    const { Point } = globalThis.OpenSeadragon;
    return this.viewer.viewport.pixelFromPoint(new Point(place.x / this.slide.width, place.y / this.slide.width), true);
  }

  /** Resolves when the look as it is now is on the screen. */
  redrawn() {
    return this.restyle.done();
  }

  /** Resolves when every tile of the view is there, or after `limit` ms. */
  async settled(limit = 5000) {
    const late = new Promise((resolve) => setTimeout(resolve, limit));
    const drawn = async () => {
      await this.restyle.done();
      if (!this.slide.set) await new Promise((resolve) => this.#top.whenFullyLoaded(resolve));
    };
    await Promise.race([late, Promise.all([drawn(), this.overlay?.settled(limit), ...this.marks.map((each) => each.settled(limit))])]);
  }

  /** The newest picture of the slide; while it is loading, one of another look lies below it. */
  get #top() {
    const { world } = this.viewer;
    return world.getItemAt(world.getItemCount() - 1);
  }

  clearFailures() {
    this.#failures.clear();
    this.notice.hidden = true;
  }

  #tileFailed({ tile, tiledImage, message }) {
    const { source } = tiledImage;
    if (source.hasOverview && tile.level === 0) {
      source.dropOverview();
      tiledImage.reset();
      return;
    }
    this.#failures.set(tile.cacheKey, message);
    const number = this.#failures.size;
    const retry = make("button", { class: "button", type: "button", text: "Try again", on: { click: () => this.#retry() } });
    this.notice.replaceChildren(
      icon("alert"),
      make("span", {}, make("strong", { text: number === 1 ? "One tile is missing. " : `${number} tiles are missing. ` }), String(message ?? "")),
      retry,
    );
    this.notice.hidden = false;
  }

  #retry() {
    this.clearFailures();
    this.#top?.reset();
  }

  #emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

// A segmentation over the slide of a pane: label tiles on the grid of the slide, transparent where no segment is.

import { address, errorOf, slidePath } from "../shared/api.js";
import { make } from "../shared/dom.js";

const MOST_TILES = 200; // in one view; beyond it, a coarser level will do
const MOST_KEPT = 600;
const MOST_LOADING = 6;

/** Events: "style" when it is shown otherwise, "state" when a tile failed. */
export class LabelOverlay extends EventTarget {
  #tiles = new Map(); // key -> {state: "loading" | "ready" | "failed", picture, level, x, y, abort}
  #queue = [];
  #loading = 0;
  #frame = 0;
  #segments = new Map(); // colour -> segment

  /** `told` is the overlay of /slides/{id}/overlays. */
  constructor(pane, told) {
    super();
    this.pane = pane;
    this.told = told;
    this.visible = true;
    this.opacity = 0.5;
    this.hidden = new Set(); // numbers of segments
    this.message = "";
    for (const segment of told.segments) this.#segments.set(Number.parseInt(segment.color.slice(1), 16), segment);
    this.canvas = make("canvas", { class: "shapes labels", "aria-hidden": "true" });
    this.context = this.canvas.getContext("2d");
    this.card = make("div", { class: "shape-card", role: "status", hidden: true });
    pane.stage.after(this.canvas);
    pane.element.append(this.card);
    this.onUpdate = () => this.draw();
    this.onPointer = ({ detail }) => this.#tell(detail);
    pane.viewer.addHandler("update-viewport", this.onUpdate);
    pane.viewer.addHandler("resize", this.onUpdate);
    for (const event of ["pointer", "click"]) pane.addEventListener(event, this.onPointer);
    this.draw();
  }

  close() {
    cancelAnimationFrame(this.#frame);
    this.pane.viewer?.removeHandler("update-viewport", this.onUpdate);
    this.pane.viewer?.removeHandler("resize", this.onUpdate);
    for (const event of ["pointer", "click"]) this.pane.removeEventListener(event, this.onPointer);
    this.#forget();
    this.canvas.remove();
    this.card.remove();
  }

  show(visible) {
    this.visible = visible;
    this.#changed();
  }

  fade(opacity) {
    this.opacity = opacity;
    this.#changed();
  }

  /** Show or hide one segment. */
  choose(number, shown) {
    if (shown) this.hidden.delete(number);
    else this.hidden.add(number);
    this.#forget();
    this.#changed();
  }

  retry() {
    this.message = "";
    for (const [key, tile] of this.#tiles) if (tile.state === "failed") this.#tiles.delete(key);
    this.dispatchEvent(new Event("state"));
    this.draw();
  }

  async settled(limit = 5000) {
    const end = performance.now() + limit;
    while (performance.now() < end && (this.#loading || this.#queue.length)) await new Promise((resolve) => setTimeout(resolve, 40));
  }

  draw() {
    if (!this.pane.viewer?.viewport) return;
    const ratio = globalThis.devicePixelRatio || 1;
    const { width, height } = this.pane.size;
    const [across, down] = [Math.round(width * ratio), Math.round(height * ratio)];
    if (this.canvas.width !== across || this.canvas.height !== down) Object.assign(this.canvas, { width: across, height: down });
    this.canvas.style.opacity = String(this.opacity);
    this.#paint(this.context, ratio, true);
    this.canvas.dataset.settled = String(this.#loading === 0 && this.#queue.length === 0);
  }

  /** The same on another canvas, whose unit is a CSS px: for screenshots. */
  paint(context) {
    if (!this.visible) return;
    const { width, height } = this.pane.size;
    const ratio = globalThis.devicePixelRatio || 1;
    const own = new OffscreenCanvas(Math.round(width * ratio), Math.round(height * ratio));
    this.#paint(own.getContext("2d"), ratio, false);
    context.globalAlpha = this.opacity;
    context.drawImage(own, 0, 0, width, height);
    context.globalAlpha = 1;
  }

  get #anything() {
    return this.visible && this.told.segments.some(({ number }) => !this.hidden.has(number));
  }

  #paint(context, ratio, asking) {
    const { canvas } = context;
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, canvas.width, canvas.height);
    const view = this.pane.view();
    if (!(view.zoom > 0) || !this.#anything) {
      this.#queue = [];
      return;
    }
    const scale = view.zoom * ratio;
    context.translate(canvas.width / 2, canvas.height / 2);
    context.rotate((view.rotation * Math.PI) / 180);
    context.scale(scale, scale);
    context.translate(-view.x, -view.y);
    context.imageSmoothingEnabled = false; // labels do not mix
    const { level, tiles } = this.#wanted(view, ratio);
    const keys = new Set(tiles.map(({ key }) => key));
    // What is there of coarser levels stands in; a finer tile takes the place of what lies below it.
    const ready = [...this.#tiles.values()].filter((tile) => tile.picture && tile.level.level >= level.level);
    ready.sort((a, b) => b.level.level - a.level.level);
    for (const tile of ready) {
      const box = boxOf(tile.level, tile.x, tile.y, this.pane.slide);
      context.clearRect(box.x, box.y, box.width, box.height);
      context.drawImage(tile.picture, 0, 0, box.across, box.down, box.x, box.y, box.width, box.height);
    }
    if (asking) this.#want(tiles, keys);
  }

  /** The level that is fine enough, and its tiles in the view, those in the middle first. */
  #wanted(view, ratio) {
    const { slide, size } = this.pane;
    const half = { x: size.width / 2 / view.zoom, y: size.height / 2 / view.zoom };
    if (view.rotation % 360) half.x = half.y = Math.hypot(half.x, half.y);
    const enough = 1.25 / (view.zoom * ratio);
    let first = slide.levels.findLastIndex((level) => level.width * enough >= slide.width);
    first = Math.max(0, first);
    for (let at = first; ; at += 1) {
      const level = slide.levels[at];
      const [stepX, stepY] = [(level.tile_width * slide.width) / level.width, (level.tile_height * slide.height) / level.height];
      const range = (middle, reach, step, count) => [Math.max(0, Math.floor((middle - reach) / step)), Math.min(count - 1, Math.floor((middle + reach) / step))];
      const [left, right] = range(view.x, half.x, stepX, level.tiles_x);
      const [top, bottom] = range(view.y, half.y, stepY, level.tiles_y);
      const number = Math.max(0, right - left + 1) * Math.max(0, bottom - top + 1);
      if (number > MOST_TILES && at + 1 < slide.levels.length) continue;
      const tiles = [];
      if (number <= MOST_TILES) for (let y = top; y <= bottom; y += 1) for (let x = left; x <= right; x += 1) tiles.push({ level, x, y, key: `${at}/${x}/${y}` });
      const far = ({ x, y }) => Math.hypot((x + 0.5) * stepX - view.x, (y + 0.5) * stepY - view.y);
      return { level, tiles: tiles.sort((a, b) => far(a) - far(b)) };
    }
  }

  #want(tiles, keys) {
    for (const [key, tile] of this.#tiles) {
      if (tile.state !== "loading" || keys.has(key)) continue;
      tile.abort.abort();
      this.#tiles.delete(key);
    }
    this.#queue = tiles.filter(({ key }) => !this.#tiles.has(key));
    for (const [key, tile] of this.#tiles) {
      if (this.#tiles.size <= MOST_KEPT) break;
      if (keys.has(key)) continue;
      tile.picture?.close();
      this.#tiles.delete(key);
    }
    this.#load();
  }

  #load() {
    while (this.#loading < MOST_LOADING && this.#queue.length) void this.#fetch(this.#queue.shift());
  }

  async #fetch({ key, level, x, y }) {
    const tile = { state: "loading", picture: null, level, x, y, abort: new AbortController() };
    this.#tiles.set(key, tile);
    this.#loading += 1;
    const shown = this.told.segments.filter(({ number }) => !this.hidden.has(number)).map(({ number }) => number);
    const segments = this.hidden.size ? shown.join(",") : null;
    try {
      const path = `${slidePath(this.pane.slide.id)}/overlays/${this.told.id}/${level.level}/${x}/${y}.png`;
      const response = await fetch(address(path, { segments }), { signal: tile.abort.signal });
      if (!response.ok) throw await errorOf(response);
      const picture = await createImageBitmap(await response.blob(), { colorSpaceConversion: "none" });
      if (this.#tiles.get(key) === tile) Object.assign(tile, { picture, state: "ready" });
      else picture.close();
    } catch (error) {
      if (error.name !== "AbortError") {
        tile.state = "failed";
        this.message = error.message;
        this.dispatchEvent(new Event("state"));
      }
    } finally {
      this.#loading -= 1;
    }
    this.#load();
    this.#frame ||= requestAnimationFrame(() => {
      this.#frame = 0;
      this.draw();
    });
  }

  #forget() {
    for (const tile of this.#tiles.values()) {
      tile.abort.abort();
      tile.picture?.close();
    }
    this.#tiles.clear();
    this.#queue = [];
  }

  #changed() {
    if (!this.#anything) this.#tell(null);
    this.draw();
    this.dispatchEvent(new Event("style"));
  }

  /** Which segment lies under a place of the slide. */
  #tell(place) {
    const busy = this.pane.element.classList.contains("measuring");
    const segment = place && this.#anything && !busy ? this.#at(place) : null;
    this.card.hidden = !segment;
    if (!segment) return;
    const facts = [["Type", segment.property], ["Category", segment.category], ["About", segment.description]].filter(([, text]) => text);
    this.card.replaceChildren(
      make("div", { class: "shape-head" }, chip(segment.color), make("strong", { text: segment.label || `Segment ${segment.number}` }), make("span", { text: this.told.label })),
      make("dl", {}, ...facts.flatMap(([name, text]) => [make("dt", { text: name }), make("dd", { text })])),
    );
    // Above the pointer: what is told of shapes stands below it.
    const at = this.pane.toScreen(place);
    const { width } = this.pane.size;
    const x = Math.max(8, Math.min(at.x + 18, width - this.card.offsetWidth - 8));
    this.card.style.transform = `translate(${x}px, ${Math.max(8, at.y - this.card.offsetHeight - 14)}px)`;
  }

  #at(place) {
    const { level } = this.#wanted(this.pane.view(), globalThis.devicePixelRatio || 1);
    const { slide } = this.pane;
    const [x, y] = [(place.x * level.width) / slide.width, (place.y * level.height) / slide.height];
    const [column, row] = [Math.floor(x / level.tile_width), Math.floor(y / level.tile_height)];
    const { picture } = this.#tiles.get(`${slide.levels.indexOf(level)}/${column}/${row}`) ?? {};
    if (!picture) return null;
    const context = new OffscreenCanvas(1, 1).getContext("2d");
    context.drawImage(picture, Math.floor(x - column * level.tile_width), Math.floor(y - row * level.tile_height), 1, 1, 0, 0, 1, 1);
    const [red, green, blue, alpha] = context.getImageData(0, 0, 1, 1).data;
    if (!alpha) return null;
    return this.#segments.get((red << 16) | (green << 8) | blue) ?? this.#nearest(red, green, blue);
  }

  /** What shines through has lost some digits of its colour. */
  #nearest(red, green, blue) {
    const off = (color) => Math.abs((color >> 16) - red) + Math.abs(((color >> 8) & 255) - green) + Math.abs((color & 255) - blue);
    return [...this.#segments].reduce((best, each) => (off(each[0]) < off(best[0]) ? each : best))[1];
  }
}

/** A small square of a colour. */
export function chip(color) {
  const made = make("i", { class: "chip", "aria-hidden": "true" });
  made.style.background = color;
  return made;
}

/** Where a tile lies in level-0 px, and how much of its picture is slide. */
function boxOf(level, x, y, slide) {
  const [left, top] = [x * level.tile_width, y * level.tile_height];
  const across = Math.min(level.tile_width, level.width - left);
  const down = Math.min(level.tile_height, level.height - top);
  const [scaleX, scaleY] = [slide.width / level.width, slide.height / level.height];
  return { x: left * scaleX, y: top * scaleY, width: across * scaleX, height: down * scaleY, across, down };
}

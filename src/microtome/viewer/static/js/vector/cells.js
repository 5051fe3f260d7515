// The shapes of a set as pictures of square cells. While the view moves, pictures are only put in their places; a cell
// is drawn anew, in a worker, when the view rests at another scale or the style has changed.

import { pool } from "./pool.js";

/** CSS px a cell is wide on the screen, give or take the root of two. */
export const CELL = 512;
const MOST_PX = 48e6; // in pictures
const MOST_BYTES = 192e6; // in decoded tiles
const MOST_LOADING = 6;
const MOST_TILES = 300;
/** A picture this near to the wanted scale is good enough. */
const NEAR = 0.015;

/** Events: "drawn" when there is something new to see, "summary" {layers} of a tile read for the first time, "failed"
 *  with a message. */
export class Cells extends EventTarget {
  #pictures = new Map(); // cell -> {px, version, shapes, points, padding}
  #asked = new Map(); // cell -> what it is being drawn as
  #tiles = new Map(); // key -> {state: "loading" | "ready" | "empty" | "failed", bytes}
  #queue = [];
  #loading = 0;
  #closed = false;

  constructor(set) {
    super();
    this.set = set;
  }

  close() {
    this.#closed = true;
    for (const key of this.#tiles.keys()) pool.forget(key);
    for (const picture of this.#pictures.values()) free(picture);
    this.#tiles.clear();
    this.#pictures.clear();
  }

  /** Nothing is on its way. */
  get settled() {
    return this.#loading === 0 && this.#queue.length === 0 && this.#asked.size === 0;
  }

  get failed() {
    return [...this.#tiles.values()].filter(({ state }) => state === "failed").length;
  }

  /** Ask for the failed tiles again. */
  retry() {
    for (const [key, tile] of this.#tiles) if (tile.state === "failed") this.#tiles.delete(key);
  }

  /** The cell's picture: {shapes, points, padding} or null. */
  picture(zoom, x, y) {
    const found = this.#pictures.get(name(zoom, x, y));
    return found?.shapes || found?.points ? found : null;
  }

  /** Whether what is known of a cell is drawn, though there may be nothing in it. */
  has(zoom, x, y) {
    return this.#pictures.has(name(zoom, x, y)) || this.#tiles.get(this.#tileOf(zoom, x, y).key)?.state === "empty";
  }

  /** Want these cells [{zoom, x, y}], the most important first, `px` wide. With `redraw` those that are there at
   *  another scale or in an older style are drawn anew, too. */
  want(cells, { px, ratio, style, redraw }) {
    const needed = new Map(cells.map((cell) => [name(cell.zoom, cell.x, cell.y), cell]));
    const tiles = new Set(cells.map((cell) => this.#tileOf(cell.zoom, cell.x, cell.y).key));
    this.#queue = this.#queue.filter(({ key }) => tiles.has(key));
    for (const [cellName, cell] of needed) {
      const tile = this.#tileOf(cell.zoom, cell.x, cell.y);
      const { state } = this.#tiles.get(tile.key) ?? {};
      if (state === undefined) this.#enqueue(tile);
      else if (state === "ready") this.#draw(cellName, tile, { px, ratio, style, redraw });
    }
    this.#load();
    if (cells.length) this.#evict(needed, tiles);
  }

  /** The tile that holds a cell, and the part of it {x, y, side} from 0 to 1. */
  #tileOf(zoom, x, y) {
    const at = this.set.zoomAt(zoom);
    const times = 2 ** Math.max(0, zoom - at);
    const column = Math.floor(x / times);
    const row = Math.floor(y / times);
    return { key: this.set.key(at, column, row), zoom: at, column, row, part: { x: x / times - column, y: y / times - row, side: 1 / times } };
  }

  #enqueue(tile) {
    if (!this.#queue.some(({ key }) => key === tile.key)) this.#queue.push(tile);
  }

  #load() {
    while (this.#loading < MOST_LOADING && this.#queue.length) {
      const tile = this.#queue.shift();
      if (!this.#tiles.has(tile.key)) void this.#fetch(tile);
    }
  }

  async #fetch({ key, zoom, column, row }) {
    const entry = { state: "loading", bytes: 0 };
    this.#tiles.set(key, entry);
    this.#loading += 1;
    try {
      const { empty, layers, bytes } = await pool.ask("load", { key, url: this.set.tileAddress(zoom, column, row) });
      if (this.#closed) return pool.forget(key);
      entry.state = empty ? "empty" : "ready";
      entry.bytes = bytes ?? 0;
      if (layers) this.dispatchEvent(new CustomEvent("summary", { detail: { layers } }));
    } catch (error) {
      if (this.#closed) return;
      if (error.name === "AbortError") this.#tiles.delete(key);
      else {
        entry.state = "failed";
        this.dispatchEvent(new CustomEvent("failed", { detail: error.message }));
      }
    } finally {
      this.#loading -= 1;
    }
    this.#load();
    this.dispatchEvent(new Event("drawn"));
  }

  #draw(cell, tile, { px, ratio, style, redraw }) {
    const known = this.#pictures.get(cell);
    const good = known && known.version === style.version && Math.abs(known.px / px - 1) < NEAR;
    if (good || (known && !redraw) || this.#asked.has(cell) || !pool.free(tile.key)) return;
    const wish = { px, version: style.version };
    this.#asked.set(cell, wish);
    pool
      .ask("draw", { key: tile.key, part: tile.part, px, ratio, style })
      .then((made) => {
        const picture = { ...wish, ...made, padding: made.points ? (made.points.width - px) / 2 : 0 };
        if (this.#closed) return free(picture);
        const before = this.#pictures.get(cell);
        if (before) free(before);
        this.#pictures.delete(cell);
        this.#pictures.set(cell, picture);
      })
      .catch((error) => !this.#closed && this.dispatchEvent(new CustomEvent("failed", { detail: error.message })))
      .finally(() => {
        this.#asked.delete(cell);
        if (!this.#closed) this.dispatchEvent(new Event("drawn"));
      });
  }

  /** What has not been needed for longest goes first. */
  #evict(cells, tiles) {
    for (const cell of cells.keys()) touch(this.#pictures, cell);
    for (const tile of tiles) touch(this.#tiles, tile);
    let px = sum(this.#pictures, (picture) => (picture.shapes || picture.points ? picture.px ** 2 : 0));
    for (const [cell, picture] of this.#pictures) {
      if (px <= MOST_PX || cells.has(cell)) break;
      px -= picture.px ** 2;
      free(picture);
      this.#pictures.delete(cell);
    }
    let bytes = sum(this.#tiles, (tile) => tile.bytes);
    for (const [key, tile] of this.#tiles) {
      if ((bytes <= MOST_BYTES && this.#tiles.size <= MOST_TILES) || tiles.has(key)) break;
      bytes -= tile.bytes;
      pool.forget(key);
      this.#tiles.delete(key);
    }
  }
}

const name = (zoom, x, y) => `${zoom}/${x}/${y}`;

const sum = (map, weight) => [...map.values()].reduce((total, value) => total + weight(value), 0);

function touch(map, key) {
  const value = map.get(key);
  if (value === undefined) return;
  map.delete(key);
  map.set(key, value);
}

function free({ shapes, points }) {
  shapes?.close();
  points?.close();
}

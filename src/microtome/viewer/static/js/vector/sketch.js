// A small picture of a whole vector set: for cards, lists and the overview, where slides have a thumbnail.

import { make } from "../shared/dom.js";
import { pool } from "./pool.js";
import { VectorSet } from "./set.js";
import { DEFAULT } from "./style.js";

/** Tiles each way at most, so that a card costs a few requests. */
const MOST_TILES = 2;
/** Two sketches of a set at the same time each hold tiles of their own. */
let made = 0;
const STYLE = { ...DEFAULT, width: 1, hidden: [], by: null, version: 0, grouping: "sketch" };

/** A canvas of the set's extent, `size` px at its longer side. Rejects when none of its tiles can be read. */
export async function sketch(facts, size) {
  const set = new VectorSet(facts);
  const { extent } = set;
  const scale = size / Math.max(extent.width, extent.height);
  const canvas = make("canvas", { width: Math.max(1, Math.round(extent.width * scale)), height: Math.max(1, Math.round(extent.height * scale)), class: "sketch" });
  const context = canvas.getContext("2d");
  const { zoom, tiles } = cover(set);
  const side = set.world / 2 ** zoom;
  const px = Math.max(1, Math.round(side * scale));
  const owner = `sketch ${made++}`;
  const results = await Promise.allSettled(
    tiles.map(async ({ x, y }) => {
      const key = `${owner}|${set.key(zoom, x, y)}`;
      try {
        const { empty } = await pool.ask("load", { key, url: set.tileAddress(zoom, x, y) });
        return empty ? null : { x, y, ...(await pool.ask("draw", { key, part: { x: 0, y: 0, side: 1 }, px: Math.min(px, 2048), ratio: 1, style: STYLE })) };
      } finally {
        pool.forget(key);
      }
    }),
  );
  if (results.length && results.every(({ status }) => status === "rejected")) throw results[0].reason;
  const drawn = results.map(({ value }) => value).filter(Boolean);
  // Whole px, so that tiles meet without a seam.
  const edge = (index, start) => Math.round((index * side - start) * scale);
  const box = ({ x, y }) => [edge(x, extent.x), edge(y, extent.y), edge(x + 1, extent.x) - edge(x, extent.x), edge(y + 1, extent.y) - edge(y, extent.y)];
  for (const tile of drawn) if (tile.shapes) context.drawImage(tile.shapes, ...box(tile));
  for (const tile of drawn) {
    if (!tile.points) continue;
    const padding = (tile.points.width - Math.min(px, 2048)) / 2;
    const [x, y] = box(tile);
    context.drawImage(tile.points, x - padding, y - padding, px + 2 * padding, px + 2 * padding);
  }
  for (const tile of drawn) for (const picture of [tile.shapes, tile.points]) picture?.close();
  return canvas;
}

/** The highest zoom of which few tiles cover the bounds, and these tiles. */
function cover(set) {
  const span = (zoom) => {
    const side = set.world / 2 ** zoom;
    const last = 2 ** zoom - 1;
    const { x, y, width, height } = set.bounds;
    const at = (value) => Math.min(last, Math.max(0, Math.floor(value / side)));
    return { left: at(x), top: at(y), right: at(x + width), bottom: at(y + height) };
  };
  const fits = ({ left, top, right, bottom }) => right - left < MOST_TILES && bottom - top < MOST_TILES;
  const zoom = set.zooms.findLast((each) => fits(span(each))) ?? set.lowest;
  const { left, top, right, bottom } = span(zoom);
  const tiles = [];
  for (let y = top; y <= Math.min(bottom, top + 3); y += 1) for (let x = left; x <= Math.min(right, left + 3); x += 1) tiles.push({ x, y });
  return { zoom, tiles };
}

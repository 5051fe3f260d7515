// A worker that fetches, decodes, draws and searches vector tiles. It answers every message with its `id`, either
// {id, result} or {id, error}.

import { radiusOf } from "../vector/style.js";
import { drawPart } from "./draw.js";
import { propertiesOf, summarise, valueOf } from "./fields.js";
import { findShape } from "./find.js";
import { decodeTile } from "./mvt.js";

const tiles = new Map();
const loading = new Map();

const jobs = {
  /** Fetch and decode a tile: {empty} or {layers, bytes}. */
  async load({ key, url }) {
    const controller = new AbortController();
    loading.set(key, controller);
    try {
      const response = await fetch(url, { signal: controller.signal });
      if (response.status === 404 || response.status === 204) return { empty: true };
      if (!response.ok) throw new Error(await reason(response));
      const type = response.headers.get("content-type") ?? "";
      if (/json/.test(type)) throw new Error("Tiles written as JSON are not drawn; vector tiles (MVT) are.");
      const layers = decodeTile(new Uint8Array(await response.arrayBuffer()));
      if (!layers.length) return { empty: true };
      tiles.set(key, { layers, paths: null });
      return { layers: summarise(layers), bytes: sizeOf(layers) };
    } finally {
      loading.delete(key);
    }
  },

  /** Pictures of a part of a loaded tile: {shapes, points}, ImageBitmaps or null. */
  draw({ key, ...wish }) {
    const tile = tiles.get(key);
    return tile ? drawPart(tile, wish) : { shapes: null, points: null };
  },

  /** The shape at a place (0 to 1 across the tile) or null: {layer, id, properties, type, parts}; the parts are points
   *  x, y, x, y, … from 0 to 1. `px` is the width of the tile on the screen. */
  find({ key, x, y, reach, px, hidden }) {
    const tile = tiles.get(key);
    if (!tile?.layers.length) return null;
    const extent = tile.layers[0].extent;
    const radius = (layer, index) => ((radiusOf(valueOf(layer, index, "point_count")) + 2) / px) * extent;
    const found = findShape(tile.layers, x * extent, y * extent, reach * extent, { hidden, radius });
    if (!found) return null;
    const { layer, index } = found;
    const parts = [];
    for (let part = layer.featureParts[index]; part < layer.featureParts[index + 1]; part += 1)
      parts.push(Float64Array.from(layer.points.subarray(2 * layer.partStarts[part], 2 * layer.partStarts[part + 1]), (value) => value / extent));
    return { layer: layer.name, id: layer.ids[index], properties: propertiesOf(layer, index), type: layer.types[index], parts };
  },
};

onmessage = async ({ data: { id, job, ...wish } }) => {
  if (job === "forget") {
    loading.get(wish.key)?.abort();
    tiles.delete(wish.key);
    return;
  }
  try {
    const result = await jobs[job](wish);
    const moved = result ? [result.shapes, result.points].filter((value) => value instanceof ImageBitmap) : [];
    postMessage({ id, result }, moved);
  } catch (error) {
    postMessage({ id, error: error.name === "AbortError" ? "AbortError" : error.message });
  }
};

async function reason(response) {
  try {
    return String((await response.json()).message);
  } catch {
    return `The server answered with status ${response.status}.`;
  }
}

const sizeOf = (layers) =>
  layers.reduce((sum, layer) => sum + layer.points.byteLength + layer.tags.byteLength + layer.partStarts.byteLength + 40 * layer.types.length, 0);

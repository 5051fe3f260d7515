// A part of a vector tile as a picture. Shapes become paths once for each octave of scale: what is smaller than a px of
// the screen is left out of an outline, and a shape that is hardly a px large becomes a dot.

import { colorOf, radiusOf } from "../vector/style.js";
import { valueOf } from "./fields.js";
import { LINE, POINT } from "./mvt.js";

/** Shapes in one path. Canvases get slow with paths of very many edges, and with very many paths. */
const CHUNK = 256;
/** A shape whose longer side is below this many px is a dot. */
const DOT = 2;
/** A line takes no more than this part of the size of its shapes: crowds of small ones stay a pattern. */
const LINE_SHARE = 0.18;
/** Sets of paths kept for each tile. */
const KEPT = 2;
/** Radius in CSS px that points keep in a crowd; so many of a tile are looked at to tell one, and fewer are none. */
const SMALLEST_POINT = 1.5;
const MOST_PROBED = 400;
const FEW = 40;
/** Px around a picture of points, which reach over the edge of their tile. */
export const PADDING = 28;

/** Both pictures of a part {x, y, side} of the tile, in its units, `px` px wide; null where there is nothing.
 *  `points` is a picture of points with PADDING·ratio px more at each side. `ratio` is px for each CSS px. */
export function drawPart(tile, { part, px, ratio, style }) {
  const extent = tile.layers[0]?.extent ?? 4096;
  const scale = px / (part.side * extent);
  const chunks = pathsOf(tile, scale, style);
  return { shapes: drawShapes(chunks, part, extent, px, ratio, style), points: drawPoints(tile, part, extent, px, ratio, style) };
}

function drawShapes(chunks, part, extent, px, ratio, style) {
  const scale = px / (part.side * extent);
  const [left, top] = [part.x * extent, part.y * extent];
  const margin = (2 + style.width * ratio) / scale;
  const near = chunks.filter(({ box }) => box[0] <= left + part.side * extent + margin && box[2] >= left - margin && box[1] <= top + part.side * extent + margin && box[3] >= top - margin);
  if (!near.length) return null;
  const canvas = new OffscreenCanvas(px, px);
  const context = canvas.getContext("2d");
  context.setTransform(scale, 0, 0, scale, -left * scale, -top * scale);
  context.lineJoin = "round";
  for (const { kind, color, path, size, count } of near) {
    const width = (style.width * ratio) / scale;
    context.lineWidth = kind === "lines" ? width : Math.min(width, (LINE_SHARE * size) / count);
    context.fillStyle = color ?? style.fill;
    if (kind === "dots") {
      context.globalAlpha = style.width > 0 ? (style.fillOpacity + style.lineOpacity) / 2 : style.fillOpacity;
      context.fill(path);
      continue;
    }
    if (kind !== "lines" && style.fillOpacity > 0) {
      context.globalAlpha = style.fillOpacity;
      context.fill(path, kind === "loose" ? "evenodd" : "nonzero");
    }
    if (style.width > 0 && style.lineOpacity > 0) {
      context.globalAlpha = style.lineOpacity;
      context.strokeStyle = color ?? style.line;
      context.stroke(path);
    }
  }
  return canvas.transferToImageBitmap();
}

/** Chunks {kind, color or null for the style's own, path, box}. */
function pathsOf(tile, scale, style) {
  const octave = Math.floor(Math.log2(scale));
  const key = `${octave}/${style.grouping}`;
  tile.paths ??= new Map();
  let chunks = tile.paths.get(key);
  if (!chunks) {
    chunks = tile.layers.flatMap((layer) => (style.hidden.includes(layer.name) ? [] : layerPaths(layer, 2 ** (octave + 1), style)));
    tile.paths.set(key, chunks);
    if (tile.paths.size > KEPT) tile.paths.delete(tile.paths.keys().next().value);
  }
  return chunks;
}

function layerPaths(layer, scale, style) {
  const done = [];
  const open = new Map();
  const { types, boxes } = layer;
  for (let index = 0; index < types.length; index += 1) {
    if (types[index] === POINT) continue;
    const [left, top, right, bottom] = [boxes[4 * index], boxes[4 * index + 1], boxes[4 * index + 2], boxes[4 * index + 3]];
    if (right < left) continue;
    const small = Math.max(right - left, bottom - top) * scale < DOT;
    const kind = small ? "dots" : types[index] === LINE ? "lines" : layer.version < 2 ? "loose" : "areas";
    const color = colorIn(layer, index, style);
    const group = `${kind} ${color}`;
    let chunk = open.get(group);
    if (!chunk) open.set(group, (chunk = { kind, color, path: new Path2D(), box: [left, top, right, bottom], count: 0, size: 0 }));
    if (small) chunk.path.rect(left, top, Math.max(right - left, 1 / scale), Math.max(bottom - top, 1 / scale));
    else outline(chunk.path, layer, index, 0.7 / scale);
    grow(chunk.box, left, top, right, bottom);
    chunk.count += 1;
    chunk.size += Math.max(right - left, bottom - top);
    // Rings of another winding in the same path would cut holes into each other.
    if (chunk.count === (kind === "loose" ? 1 : kind === "dots" ? 4 * CHUNK : CHUNK)) {
      done.push(chunk);
      open.delete(group);
    }
  }
  return [...done, ...open.values()];
}

/** The colour of a shape: by its property, else that of its layer; null for the style's own. */
const colorIn = (layer, index, style) => (style.by ? colorOf(style.by, valueOf(layer, index, style.by.key)) : (style.layers?.[layer.name] ?? null));

function outline(path, layer, index, step) {
  const { types, featureParts, partStarts, points } = layer;
  const closed = types[index] !== LINE;
  for (let part = featureParts[index]; part < featureParts[index + 1]; part += 1) {
    const end = 2 * partStarts[part + 1];
    let at = 2 * partStarts[part];
    let [x, y] = [points[at], points[at + 1]];
    path.moveTo(x, y);
    for (at += 2; at < end; at += 2) {
      const [nextX, nextY] = [points[at], points[at + 1]];
      if (at < end - 2 && Math.abs(nextX - x) < step && Math.abs(nextY - y) < step) continue;
      [x, y] = [nextX, nextY];
      path.lineTo(x, y);
    }
    if (closed) path.closePath();
  }
}

function grow(box, left, top, right, bottom) {
  if (left < box[0]) box[0] = left;
  if (top < box[1]) box[1] = top;
  if (right > box[2]) box[2] = right;
  if (bottom > box[3]) box[3] = bottom;
}

/** Points of the part itself; each is drawn by one part only, so none is drawn twice. */
function drawPoints(tile, part, extent, px, ratio, style) {
  const scale = px / (part.side * extent);
  const [left, top, side] = [part.x * extent, part.y * extent, part.side * extent];
  const padding = PADDING * ratio;
  const most = (spacing(tile) * scale) / ratio; // CSS px
  let context = null;
  for (const layer of tile.layers) {
    if (style.hidden.includes(layer.name)) continue;
    const { types, boxes, featureParts, partStarts, points } = layer;
    for (let index = 0; index < types.length; index += 1) {
      if (types[index] !== POINT || boxes[4 * index] > left + side || boxes[4 * index + 2] < left) continue;
      const [first, end] = [partStarts[featureParts[index]], partStarts[featureParts[index + 1]]];
      for (let at = first; at < end; at += 1) {
        const [x, y] = [points[2 * at] - left, points[2 * at + 1] - top];
        if (x < 0 || y < 0 || x >= side || y >= side) continue;
        context ??= pointContext(px + 2 * padding);
        drawPoint(context, padding + x * scale, padding + y * scale, { layer, index, ratio, style, most });
      }
    }
  }
  return context ? context.canvas.transferToImageBitmap() : null;
}

function pointContext(side) {
  const context = new OffscreenCanvas(Math.ceil(side), Math.ceil(side)).getContext("2d");
  context.textAlign = "center";
  context.textBaseline = "middle";
  return context;
}

/** How far points of a tile stand apart, in its units: the lower quartile of the distances to the next one. */
function spacing(tile) {
  if (tile.spacing !== undefined) return tile.spacing;
  const places = [];
  for (const { types, boxes } of tile.layers) for (let index = 0; index < types.length; index += 1) if (types[index] === POINT) places.push([boxes[4 * index], boxes[4 * index + 1]]);
  places.sort((a, b) => a[0] - b[0]);
  const step = Math.ceil(places.length / MOST_PROBED);
  const nearest = [];
  for (let at = 0; at < places.length; at += step) {
    let best = Infinity;
    for (const way of [-1, 1])
      for (let next = at + way; places[next] && Math.abs(places[next][0] - places[at][0]) < best; next += way)
        best = Math.min(best, Math.hypot(places[next][0] - places[at][0], places[next][1] - places[at][1]));
    nearest.push(best);
  }
  nearest.sort((a, b) => a - b);
  tile.spacing = nearest.length > FEW ? nearest[Math.floor(nearest.length / 4)] : Infinity;
  return tile.spacing;
}

function drawPoint(context, x, y, { layer, index, ratio, style, most }) {
  const count = valueOf(layer, index, "point_count");
  // Points in a crowd become a pattern that is denser where there are more, instead of a heap of rings.
  const wanted = radiusOf(count);
  const radius = Math.min(wanted, Math.max(SMALLEST_POINT, most * 0.5)) * ratio;
  const crowded = radius < wanted * ratio;
  const color = colorIn(layer, index, style);
  context.beginPath();
  context.arc(x, y, radius, 0, 2 * Math.PI);
  context.globalAlpha = crowded ? Math.min(0.95, 0.3 + 0.22 * Math.log10(Math.max(1, count ?? 1))) : Math.max(style.fillOpacity, 0.35);
  context.fillStyle = color ?? style.fill;
  context.fill();
  if (crowded) return;
  context.globalAlpha = style.lineOpacity;
  context.lineWidth = Math.max(style.width, 1) * ratio;
  context.strokeStyle = color ?? style.line;
  context.stroke();
  if (!(count > 1) || radius < 9 * ratio) return;
  context.globalAlpha = 1;
  context.font = `600 ${10.5 * ratio}px system-ui, sans-serif`;
  context.lineWidth = 3 * ratio;
  context.strokeStyle = "rgba(10,14,18,.75)";
  context.lineJoin = "round";
  const text = count >= 10_000 ? `${Math.round(count / 1000)}k` : String(count);
  context.strokeText(text, x, y);
  context.fillStyle = "#fff";
  context.fillText(text, x, y);
}

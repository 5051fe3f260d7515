// Which shape lies under a point. Coordinates are in units of the tile.

import { LINE, POINT } from "./mvt.js";

/** {layer, index} of the topmost shape at (x, y) or within `reach` of it, null for none. `radius(layer, index)` is the
 *  radius of a point as it is drawn. Of shapes over each other the smaller one is meant: the other has more room. */
export function findShape(layers, x, y, reach, { hidden, radius }) {
  let best = null;
  for (const layer of layers) {
    if (hidden.includes(layer.name)) continue;
    const { boxes, types } = layer;
    for (let index = 0; index < types.length; index += 1) {
      const far = types[index] === POINT ? radius(layer, index) : reach;
      if (x < boxes[4 * index] - far || x > boxes[4 * index + 2] + far) continue;
      if (y < boxes[4 * index + 1] - far || y > boxes[4 * index + 3] + far) continue;
      if (!meets(layer, index, x, y, far)) continue;
      const size = (boxes[4 * index + 2] - boxes[4 * index]) * (boxes[4 * index + 3] - boxes[4 * index + 1]);
      if (best === null || size <= best.size) best = { layer, index, size };
    }
  }
  return best;
}

function meets(layer, index, x, y, reach) {
  const { types, featureParts, partStarts, points } = layer;
  let inside = false;
  for (let part = featureParts[index]; part < featureParts[index + 1]; part += 1) {
    const [first, end] = [partStarts[part], partStarts[part + 1]];
    if (types[index] === POINT) {
      for (let at = first; at < end; at += 1) if (Math.hypot(points[2 * at] - x, points[2 * at + 1] - y) <= reach) return true;
    } else if (types[index] === LINE) {
      for (let at = first + 1; at < end; at += 1) if (distance(points, at - 1, at, x, y) <= reach) return true;
    } else if (crossings(points, first, end, x, y) % 2) inside = !inside;
  }
  return inside;
}

/** How often a ray to the right crosses a ring. */
function crossings(points, first, end, x, y) {
  let count = 0;
  for (let at = first, before = end - 1; at < end; before = at, at += 1) {
    const [x1, y1, x2, y2] = [points[2 * before], points[2 * before + 1], points[2 * at], points[2 * at + 1]];
    if (y1 > y !== y2 > y && x < ((x2 - x1) * (y - y1)) / (y2 - y1) + x1) count += 1;
  }
  return count;
}

function distance(points, a, b, x, y) {
  const [x1, y1, x2, y2] = [points[2 * a], points[2 * a + 1], points[2 * b], points[2 * b + 1]];
  const square = (x2 - x1) ** 2 + (y2 - y1) ** 2;
  const along = square ? Math.min(1, Math.max(0, ((x - x1) * (x2 - x1) + (y - y1) * (y2 - y1)) / square)) : 0;
  return Math.hypot(x - x1 - along * (x2 - x1), y - y1 - along * (y2 - y1));
}

// What is asked of a slide, and what must come back.

import { count, pixels } from "../shared/format.js";
import { Refused } from "./server.js";

const SIDE = 256;

/** Facts that cannot be: a sentence, or null. */
export function wrongFacts(info) {
  const positive = (value) => Number.isInteger(value) && value > 0;
  if (!info?.extent || !info.tile_extent || !Array.isArray(info.levels)) return "Extent, tile extent or levels are missing.";
  if (info.num_levels !== info.levels.length || !info.levels.length)
    return `num_levels is ${info.num_levels}, and there are ${info.levels.length} levels.`;
  for (const [number, { extent }] of info.levels.entries())
    if (![extent?.x, extent?.y, extent?.z].every(positive)) return `The extent of level ${number} is not positive.`;
  if (![info.tile_extent.x, info.tile_extent.y].every(positive)) return "The extent of tiles is not positive.";
  return null;
}

/** Vector sets have tiles, and no pictures of the whole. */
export const isVector = (info) => /mvt/.test(info.format ?? "");

/** Groups of checks: {title, about, checks: [{name, path, params, sizes?, most?, optional?}]}. Sizes are in px. */
export function plan(info, limits) {
  const levels = info.levels.map((level, number) => levelChecks(info, level.extent, number, limits));
  if (isVector(info)) return levels;
  const thumbnail = Math.min(SIDE, limits.thumbnail);
  const whole = (name, side, optional) => ({
    name,
    path: `/v3/slides/${name.toLowerCase()}/max_size/${side}/${side}`,
    most: side,
    optional,
  });
  return [
    { title: "Slide", about: "", checks: [whole("Thumbnail", thumbnail, false), whole("Label", SIDE, true), whole("Macro", SIDE, true)] },
    ...levels,
  ];
}

function levelChecks(info, extent, level, limits) {
  const tile = info.tile_extent;
  const columns = Math.ceil(extent.x / tile.x);
  const rows = Math.ceil(extent.y / tile.y);
  const places = new Map([[0, 0], [columns >> 1, rows >> 1], [columns - 1, rows - 1]].map((place) => [String(place), place]));
  const tileAt = ([column, row], z = 0) => ({
    name: z ? `Tile ${column}, ${row} at z ${z}` : `Tile ${column}, ${row}`,
    path: `/v3/slides/tile/level/${level}/tile/${column}/${row}`,
    params: z ? { z } : {},
    // Cut to the slide or completed with padding, as the server is set.
    sizes: isVector(info) ? null : [
      [Math.min(tile.x, extent.x - column * tile.x), Math.min(tile.y, extent.y - row * tile.y)],
      [tile.x, tile.y],
    ],
    optional: isVector(info),
  });
  const checks = [...places.values()].map((place) => tileAt(place));
  if (level === 0 && info.extent.z > 1) checks.push(tileAt([columns >> 1, rows >> 1], info.extent.z - 1));
  if (!isVector(info)) {
    const side = Math.min(SIDE, Math.floor(Math.sqrt(limits.region)));
    const [x, y] = [extent.x, extent.y].map((length) => Math.max(0, Math.floor((length - side) / 2)));
    checks.unshift({
      name: "Region",
      path: `/v3/slides/region/level/${level}/start/${x}/${y}/size/${side}/${side}`,
      sizes: [[side, side]],
    });
  }
  return { title: `Level ${level}`, about: pixels(extent.x, extent.y), checks };
}

/** {outcome: passed, failed or absent, reason, status, ms, bytes, size, body}. Throws only the AbortError of `signal`. */
export async function carryOut(server, slideId, check, signal) {
  let answer;
  try {
    answer = await server.get(check.path, { slide_id: slideId, ...check.params }, signal);
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    const absent = check.optional && error.status === 404;
    return { outcome: absent ? "absent" : "failed", reason: error.message, status: error.status, ms: error.ms, bytes: 0 };
  }
  const { body, type, status, ms } = answer;
  const found = { outcome: "passed", reason: "", status, ms, bytes: body.size, body, size: "" };
  const wrong = check.sizes || check.most ? await wrongPicture(body, type, check, found) : body.size ? null : "The answer is empty.";
  return wrong ? { ...found, outcome: "failed", reason: wrong } : found;
}

async function wrongPicture(body, type, check, found) {
  if (!type.startsWith("image/")) return `A picture was asked for, ${type || "something without a type"} came.`;
  let picture;
  try {
    picture = await createImageBitmap(body);
  } catch {
    return `The picture (${type}, ${count(body.size)} bytes) cannot be decoded.`;
  }
  const { width, height } = picture;
  picture.close();
  found.size = pixels(width, height);
  if (check.most && Math.max(width, height) > check.most) return `At most ${pixels(check.most, check.most)} px were asked for, ${found.size} came.`;
  if (check.sizes && !check.sizes.some(([x, y]) => x === width && y === height))
    return `${pixels(...check.sizes[0])} px were asked for, ${found.size} came.`;
  return null;
}

// The tiles of a slide for OpenSeadragon: the stored levels as they are, so that stored tiles pass untouched.
//
// OpenSeadragon counts levels from the coarsest; each of ours keeps its own size, tile size and scale. Every level is
// laid over the same rectangle, so the rounding of a level's size never shows as a shift or a seam at the right and
// bottom edge. Edge tiles come padded to the full tile size; the padding is cut off when a tile is decoded, because a
// smooth zoom would blend the last px of the slide with it otherwise.

import { errorOf } from "../shared/api.js";

const OVERVIEW_SIZE = 1024;
/** A coarsest level above this many px is too much for a first picture: the server's thumbnail stands in below it. */
const LARGE_COARSEST = 1600;
/** Larger than any tile: the whole picture is the source. */
const WHOLE = 1 << 20;

/** The tiles of a slide drawn by the parameters of a look. The class is made when it is needed, because OpenSeadragon is
 *  a classic script that may have failed to load. */
export function createSource(slide, params) {
  const levels = pyramid(slide);
  const { Point, Rect, TileSource } = globalThis.OpenSeadragon;
  const ratio = slide.height / slide.width;

  class SlideSource extends TileSource {
    getTileWidth(level) {
      return levels[level].tile_width;
    }

    getTileHeight(level) {
      return levels[level].tile_height;
    }

    getLevelScale(level) {
      return levels[level].width / slide.width;
    }

    getNumTiles(level) {
      return new Point(levels[level].tiles_x, levels[level].tiles_y);
    }

    getTileAtPoint(level, point) {
      const { width, height, tile_width, tile_height, tiles_x, tiles_y } = levels[level];
      const column = Math.floor((point.x * width) / tile_width);
      const row = Math.floor(((point.y / ratio) * height) / tile_height);
      return new Point(clamp(column, tiles_x), clamp(row, tiles_y));
    }

    /** Where a tile lies, the slide being 1 wide; with `isSource` the px of the tile that are slide and not padding. */
    getTileBounds(level, x, y, isSource) {
      const { width, height, tile_width, tile_height, overview } = levels[level];
      const left = x * tile_width;
      const top = y * tile_height;
      const across = Math.min(tile_width, width - left);
      const down = Math.min(tile_height, height - top);
      if (isSource) return overview ? new Rect(0, 0, WHOLE, WHOLE) : new Rect(0, 0, across, down);
      return new Rect(left / width, (top / height) * ratio, across / width, (down / height) * ratio);
    }

    getTileUrl(level, x, y) {
      const { overview, level: number } = levels[level];
      return overview ? slide.overviewAddress(OVERVIEW_SIZE, params) : slide.tileAddress(number, x, y, params);
    }

    /** A vector set has no pixels: shapes are drawn over its empty ground. */
    tileExists(level, x, y) {
      return !slide.set && super.tileExists(level, x, y);
    }

    hasTransparency() {
      return false;
    }

    /** Fetched and decoded off the main thread; a tile that is no longer wanted is not waited for. */
    downloadTileStart(job) {
      const controller = new AbortController();
      job.userData.controller = controller;
      const { level, x, y } = job.tile;
      const part = levels[level].overview ? null : this.getTileBounds(level, x, y, true);
      load(job.src, part, controller.signal).then(
        (picture) => job.finish(picture, null, "imageBitmap"),
        (error) => {
          if (!controller.signal.aborted) job.fail(error.message, null);
        },
      );
    }

    downloadTileAbort(job) {
      job.userData.controller?.abort();
    }

    get hasOverview() {
      return Boolean(levels[0].overview);
    }

    /** The server has no thumbnail: do without, the coarsest stored level comes first then. */
    dropOverview() {
      this.minLevel = 1;
    }
  }

  return new SlideSource({
    width: slide.width,
    height: slide.height,
    tileWidth: levels[levels.length - 1].tile_width,
    tileHeight: levels[levels.length - 1].tile_height,
    tileOverlap: 0,
    minLevel: 0,
    maxLevel: levels.length - 1,
  });
}

/** Levels from the coarsest to full resolution. */
function pyramid(slide) {
  const levels = [...slide.levels].reverse();
  const side = Math.max(levels[0].width, levels[0].height);
  if (side > LARGE_COARSEST && !slide.set) {
    const width = Math.max(1, Math.round((slide.width * OVERVIEW_SIZE) / Math.max(slide.width, slide.height)));
    const height = Math.max(1, Math.round((slide.height * OVERVIEW_SIZE) / Math.max(slide.width, slide.height)));
    levels.unshift({ overview: true, width, height, tile_width: width, tile_height: height, tiles_x: 1, tiles_y: 1 });
  }
  return levels;
}

/** The decoded picture; with `part` only these px of it, where it is larger. */
async function load(url, part, signal) {
  const response = await fetch(url, { signal });
  if (!response.ok) throw await errorOf(response);
  const picture = await createImageBitmap(await response.blob());
  if (!part || (picture.width <= part.width && picture.height <= part.height)) return picture;
  const cut = await createImageBitmap(picture, 0, 0, Math.min(part.width, picture.width), Math.min(part.height, picture.height));
  picture.close();
  return cut;
}

const clamp = (index, count) => Math.min(Math.max(index, 0), count - 1);

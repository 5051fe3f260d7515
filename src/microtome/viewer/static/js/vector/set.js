// A set of vector tiles: its zooms, its bounds, and where it lies on a slide. Places in it are px of its highest zoom
// ("plane px"), the origin at the top left.

import { address, slidePath } from "../shared/api.js";

const MARGIN = 0.06;
const SMALLEST = 16;

/** Names of files that hold vector tiles or shapes. */
export const VECTOR_NAME = /\.(geojson|mvt|pbf|pmtiles|mbtiles)(\.gz)?$/i;
export const VECTOR_OR_TEXT = /\.(geojson|json|mvt|pbf|pmtiles|mbtiles)(\.gz)?$/i;

export class VectorSet {
  /** `facts` are those of /slides/{id}. */
  constructor(facts) {
    const told = facts.properties ?? {};
    this.id = facts.slide_id;
    this.name = this.id.slice(this.id.lastIndexOf("/") + 1) || this.id;
    this.zooms = (told.zooms ?? "0").split(",").map(Number).sort((a, b) => a - b);
    this.highest = this.zooms.at(-1);
    this.lowest = this.zooms[0];
    this.tile = facts.levels[0].tile_width;
    /** Width and height of the plane. */
    this.world = this.tile * 2 ** this.highest;
    this.attribution = told.attribution ?? "";
    this.features = Number(told.features) || null;
    this.inPixels = told.coordinates === "pixels";
    this.bounds = this.#inside(boundsOf(told, this.world) ?? this.#grids(facts.levels));
  }

  /** There are no tiles beyond the plane, though shapes may reach there. */
  #inside({ x, y, width, height }) {
    const within = (value) => Math.min(this.world, Math.max(0, value));
    const [left, top] = [within(x), within(y)];
    return { x: left, y: top, width: within(x + width) - left, height: within(y + height) - top };
  }

  /** What the grids of all zooms cover together: some have tiles where the highest has none. */
  #grids(levels) {
    const most = (sizes) => Math.min(this.world, Math.max(...sizes));
    return { x: 0, y: 0, width: most(levels.map((level) => level.width * level.downsample)), height: most(levels.map((level) => level.height * level.downsample)) };
  }

  /** The bounds and some room around them: what is shown of the set when all of it is shown. */
  get extent() {
    const { x, y, width, height } = this.bounds;
    const margin = Math.max(MARGIN * Math.max(width, height), SMALLEST / 8);
    const across = Math.max(width + 2 * margin, SMALLEST);
    const down = Math.max(height + 2 * margin, SMALLEST);
    return { x: x + (width - across) / 2, y: y + (height - down) / 2, width: across, height: down };
  }

  /** Address of a tile, whole: a worker has another base than the page. */
  tileAddress(zoom, x, y) {
    return new URL(address(`${slidePath(this.id)}/vector/${zoom}/${x}/${y}.mvt`), location.href).href;
  }

  /** What a layer of the tiles is called by people. */
  layerTitle(layer) {
    return layer;
  }

  key(zoom, x, y) {
    return `${this.id}|${zoom}/${x}/${y}`;
  }

  /** The largest zoom of the set that is not above `zoom`; the lowest of all where there is none. */
  zoomAt(zoom) {
    return this.zooms.findLast((each) => each <= zoom) ?? this.lowest;
  }

  /** Level-0 px of a slide for each plane px. Shapes drawn on the slide are in its px; a set of other coordinates is a
   *  pyramid over the slide if one of just its size would be the one for it, else it is laid over the slide's width. */
  scaleOn(slide, placement = "auto") {
    if (slide.id === this.id || placement === "pixels") return 1;
    const side = Math.max(slide.width, slide.height);
    if (placement === "auto" && (this.inPixels || (this.world >= side && this.world < 2 * side))) return 1;
    return side / this.world;
  }
}

function boundsOf(told, world) {
  const px = numbers(told.bounds_px);
  if (px) return { x: px[0], y: px[1], width: px[2] - px[0], height: px[3] - px[1] };
  const degrees = numbers(told.bounds);
  if (!degrees) return null;
  const across = (longitude) => (longitude / 360 + 0.5) * world;
  const down = (latitude) => {
    const radians = (Math.min(85.0511, Math.max(-85.0511, latitude)) * Math.PI) / 180;
    return (0.5 - Math.asinh(Math.tan(radians)) / (2 * Math.PI)) * world;
  };
  const [west, south, east, north] = degrees;
  return { x: across(west), y: down(north), width: across(east) - across(west), height: down(south) - down(north) };
}

function numbers(text) {
  const parts = String(text ?? "").split(",").map(Number);
  return parts.length === 4 && parts.every(Number.isFinite) && parts[2] >= parts[0] ? parts : null;
}

// Annotations over a slide: a set of vector tiles in px of the slide, with a pair of layers for each group.

import { address, slidePath } from "../shared/api.js";
import { VectorOverlay } from "../vector/overlay.js";
import { VectorSet } from "../vector/set.js";

const TILE = 512;
const KINDS = { POINT: "point", POLYLINE: "line", POLYGON: "polygon", ELLIPSE: "ellipse", RECTANGLE: "rectangle" };

export class AnnotationSet extends VectorSet {
  /** `told` is the overlay of /slides/{id}/overlays. */
  constructor(slide, told) {
    const zooms = Array.from({ length: told.zoom + 1 }, (_, zoom) => zoom);
    const features = told.groups.reduce((sum, { count }) => sum + count, 0);
    super({
      slide_id: `${slide.id}|${told.id}`,
      properties: { zooms: zooms.join(","), features, coordinates: "pixels", bounds_px: `0,0,${slide.width},${slide.height}` },
      levels: [{ tile_width: TILE, width: slide.width, height: slide.height, downsample: 1 }],
    });
    this.name = told.label || "Annotations";
    this.slideId = slide.id;
    this.told = told;
  }

  tileAddress(zoom, x, y) {
    return new URL(address(`${slidePath(this.slideId)}/overlays/${this.told.id}/${zoom}/${x}/${y}.mvt`), location.href).href;
  }

  /** What a layer of the tiles is called by people. */
  layerTitle(layer) {
    const group = this.told.groups.find(({ layers }) => layers.includes(layer));
    return group ? groupTitle(group) : layer;
  }
}

export class AnnotationOverlay extends VectorOverlay {
  constructor(pane, told) {
    const colors = Object.fromEntries(told.groups.flatMap(({ layers, color }) => layers.map((layer) => [layer, color])));
    super(pane, new AnnotationSet(pane.slide, told), { colors });
    this.told = told;
    this.canvas.classList.add("annotations");
  }

  /** Show or hide one group. */
  choose(number, shown) {
    for (const layer of this.#layers(number)) {
      if (shown) this.hidden.delete(layer);
      else this.hidden.add(layer);
    }
    this.restyle();
  }

  isChosen(number) {
    return !this.hidden.has(this.#layers(number)[0]);
  }

  recolor(number, color) {
    for (const layer of this.#layers(number)) this.colors[layer] = color;
    this.restyle();
  }

  #layers(number) {
    return this.told.groups.find((group) => group.number === number).layers;
  }
}

export const groupTitle = (group) => group.label || group.property || `Group ${group.number}`;
export const groupKind = (group) => KINDS[group.type] ?? "shape";

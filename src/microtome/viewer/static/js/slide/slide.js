// One slide, as the server describes it in /slides/{id} and in the page of the viewer.

import { address, slidePath } from "../shared/api.js";
import { VectorSet } from "../vector/set.js";

export class Slide {
  constructor(facts) {
    this.id = facts.slide_id;
    this.name = this.id.slice(this.id.lastIndexOf("/") + 1) || this.id;
    this.format = facts.format;
    this.width = facts.width;
    this.height = facts.height;
    this.levels = facts.levels;
    this.vendor = facts.vendor ?? null;
    this.icc = Boolean(facts.icc);
    this.associated = facts.associated ?? [];
    this.properties = facts.properties ?? {};
    /** µm per level-0 px, {x, y}, or null where the file does not say. */
    this.mpp = facts.mpp_x > 0 ? { x: facts.mpp_x, y: facts.mpp_y > 0 ? facts.mpp_y : facts.mpp_x } : null;
    /** Objective power at level 0; where the file gives only the spacing, what that spacing stands for (10 µm/px = 1×). */
    this.power = facts.magnification > 0 ? facts.magnification : this.mpp ? 10 / this.mpp.x : null;
    this.powerIsKnown = facts.magnification > 0;
    this.focalPlanes = Math.max(1, facts.focal_planes ?? 1);
    this.timePoints = Math.max(1, facts.time_points ?? 1);
    this.channels = facts.channels ?? [];
    this.dtype = facts.dtype ?? "";
    /** A set of vector tiles is a slide without pixels: shapes on a blank ground. */
    this.set = facts.kind === "vector" ? new VectorSet(facts) : null;
    /** Channels a person can choose: those of colour slides are red, green and blue and nothing else. */
    this.hasChannels = !this.set && this.channels.length > 0 && this.channels.map(({ name }) => name).join() !== "R,G,B";
    this.facts = facts;
  }

  /** The part of the plane that is shown when all of the slide is shown. */
  get extent() {
    return this.set?.extent ?? { x: 0, y: 0, width: this.width, height: this.height };
  }

  /** Address of a tile, drawn by the parameters of a look. */
  tileAddress(level, x, y, params) {
    return address(`/tiles/${encodeURIComponent(this.id)}/${level}/${x}/${y}.jpg`, params);
  }

  /** Address of the whole slide in one picture, `size` px at its longer side. */
  overviewAddress(size, params) {
    return address(`${slidePath(this.id)}/thumbnail`, { max_size: size, ...params });
  }
}

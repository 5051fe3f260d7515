// The frames of a series in order, their headers, and their pictures: fetched once, some ahead, kept within bounds.

import { ApiError } from "../shared/api.js";
import { Queue } from "../shared/queue.js";
import { first, number } from "../dicom/elements.js";
import { askBlob, askBytes, askJson, dicomPath } from "../dicom/server.js";
import { factsOf, samplesOf } from "./image.js";

const LIST = 1000;
const MOST_INSTANCES = 20_000;
const BUDGET = 256 << 20;
const HEADERS = 500;
const RAW = "application/octet-stream; transfer-syntax=1.2.840.10008.1.2.1";
const LARGEST_SIDE = 4096;

/** All instances of a series, page after page. */
export async function listInstances(study, series, signal) {
  const found = [];
  while (found.length < MOST_INSTANCES) {
    const page = await askJson(`${dicomPath(study, series)}/instances`, { limit: LIST, offset: found.length, includefield: "00280008" }, signal);
    found.push(...page);
    if (page.length < LIST) break;
  }
  return found;
}

export class Frames {
  /** Images of the series in order: {sop, frame} from 1. */
  count = 0;
  #study;
  #series;
  #signal;
  #starts = [];
  #sops = [];
  #headers = new Map();
  #kept = new Map();
  #ahead = new Queue(3);

  constructor(study, series, instances, signal) {
    this.#study = study;
    this.#series = series;
    this.#signal = signal;
    for (const instance of instances) {
      this.#starts.push(this.count);
      this.#sops.push(first(instance, "00080018"));
      this.count += Math.max(1, number(instance, "00280008", 1));
    }
  }

  /** {sop, frame} of an image, from 1. */
  at(image) {
    let low = 0;
    let high = this.#starts.length - 1;
    while (low < high) {
      const middle = Math.ceil((low + high) / 2);
      if (this.#starts[middle] <= image - 1) low = middle;
      else high = middle - 1;
    }
    return { sop: this.#sops[low], frame: image - this.#starts[low] };
  }

  pathOf(sop) {
    return dicomPath(this.#study, this.#series, sop);
  }

  header(sop) {
    let found = this.#headers.get(sop);
    if (!found) {
      found = askJson(`${this.pathOf(sop)}/metadata`, {}, this.#signal).then(([header]) => header);
      found.catch(() => this.#headers.delete(sop));
      this.#headers.set(sop, found);
      if (this.#headers.size > HEADERS) this.#headers.delete(this.#headers.keys().next().value);
    }
    return found;
  }

  /** {header, facts, samples?, bitmap?} of an image; neither of the latter two where there is no picture. */
  get(image) {
    let found = this.#kept.get(image);
    if (found) this.#kept.delete(image); // it is the youngest now
    else {
      found = this.#load(image);
      found.catch(() => this.#kept.delete(image));
    }
    this.#kept.set(image, found);
    return found;
  }

  /** Fetch images that are likely to be asked for next. */
  prepare(image, step) {
    this.#ahead.clear();
    for (const distance of [1, 2, 3, 4, -1]) {
      const next = image + distance * step;
      if (next < 1 || next > this.count || this.#kept.has(next)) continue;
      this.#ahead.add(next, () => this.get(next).catch(() => null));
    }
  }

  async #load(image) {
    const { sop, frame } = this.at(image);
    const header = await this.header(sop);
    const facts = factsOf(header, frame);
    const found = { header, facts, sop, frame };
    if (!facts.picture) return found;
    const path = `${this.pathOf(sop)}/frames/${frame}`;
    try {
      if (facts.raw) found.samples = samplesOf(facts, await askBytes(path, RAW, this.#signal));
      else {
        const large = Math.max(facts.rows, facts.columns) > LARGEST_SIDE;
        const blob = await askBlob(`${path}/rendered`, large ? { viewport: `${LARGEST_SIDE},${LARGEST_SIDE}` } : { quality: 92 }, "image/jpeg", this.#signal);
        found.bitmap = await createImageBitmap(blob);
      }
    } catch (error) {
      if (error instanceof RangeError || (error instanceof DOMException && error.name !== "AbortError")) throw new ApiError("damaged", "The image is damaged: its pixels cannot be read.");
      if (error.status === 404 || error.status === 406) facts.picture = false;
      else throw error;
    }
    this.#trim(facts);
    return found;
  }

  /** Of images as large as this one, as many are kept as the budget allows. */
  #trim(facts) {
    const most = Math.max(8, Math.floor(BUDGET / (facts.rows * facts.columns * 4)));
    while (this.#kept.size > most) this.#kept.delete(this.#kept.keys().next().value);
  }
}

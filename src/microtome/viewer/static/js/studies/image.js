// A frame as numbers: what its header says of its samples, and how they become what is seen (PS3.3 §C.7.6.3, §C.11.2).

import { first, items, number, numbers, text, values } from "../dicom/elements.js";

const MOST_RAW = 64 << 20;

/** The functional group of a frame (PS3.3 §C.7.6.16), of the frame itself or shared; null when there is none. */
function group(header, frame, tag) {
  const own = items(header, "52009230")[frame - 1];
  const shared = first(header, "52009229");
  return first(own, tag) ?? first(shared, tag) ?? null;
}

/** What is needed to show a frame (from 1). `raw`: its samples can be windowed here. */
export function factsOf(header, frame) {
  const rows = number(header, "00280010", 0);
  const columns = number(header, "00280011", 0);
  const allocated = number(header, "00280100", 0);
  const stored = Math.min(number(header, "00280101", allocated) || allocated, allocated);
  const photometric = text(header, "00280004");
  const rescale = group(header, frame, "00289145") ?? header;
  const voi = group(header, frame, "00289132") ?? header;
  const measures = group(header, frame, "00289110") ?? header;
  const grey = photometric === "MONOCHROME1" || photometric === "MONOCHROME2";
  const windows = windowsOf(voi);
  const lookups = header["00283000"] !== undefined || (header["00283010"] !== undefined && !windows.length);
  return {
    rows,
    columns,
    allocated,
    stored,
    grey,
    high: number(header, "00280102", stored - 1),
    signed: number(header, "00280103", 0) === 1,
    inverted: photometric === "MONOCHROME1",
    raw: grey && (allocated === 8 || allocated === 16) && !lookups && (rows * columns * allocated) / 8 <= MOST_RAW,
    slope: number(rescale, "00281053", 1) || 1,
    intercept: number(rescale, "00281052", 0),
    unit: unitOf(header, rescale),
    padding: number(header, "00280120"),
    windows,
    ratio: ratioOf(header, measures),
    orientation: numbers(group(header, frame, "00209116") ?? header, "00200037"),
    picture: rows > 0 && columns > 0,
  };
}

function windowsOf(voi) {
  const centers = numbers(voi, "00281050");
  const widths = numbers(voi, "00281051");
  const names = values(voi, "00281055");
  const shape = text(voi, "00281056") || "LINEAR";
  return centers
    .map((center, index) => ({ center, width: widths[index], shape, name: String(names[index] ?? "") || (index ? `Window ${index + 1}` : "As stored") }))
    .filter(({ center, width }) => Number.isFinite(center) && width > 0);
}

function unitOf(header, rescale) {
  const type = text(rescale, "00281054");
  if (type && type !== "US") return type;
  return text(header, "00080060") === "CT" && !type ? "HU" : "";
}

/** Height of a pixel over its width. */
function ratioOf(header, measures) {
  const [down, across] = numbers(measures, "00280030").length ? numbers(measures, "00280030") : numbers(header, "00181164").length ? numbers(header, "00181164") : numbers(header, "00280034");
  const ratio = down / across;
  return Number.isFinite(ratio) && ratio > 0.05 && ratio < 20 ? ratio : 1;
}

/** The samples of a frame as they are stored, masked to their bits, with where a sign would be. */
export function samplesOf(facts, buffer) {
  const wanted = facts.rows * facts.columns;
  if (buffer.byteLength < (wanted * facts.allocated) / 8) throw new RangeError("The frame is shorter than its rows and columns say");
  return facts.allocated === 8 ? new Uint8Array(buffer, 0, wanted) : new Uint16Array(buffer, 0, wanted);
}

/** Stored bits -> value in the unit of the image. */
export function reader(facts) {
  const shift = Math.max(0, facts.high + 1 - facts.stored);
  const mask = 2 ** facts.stored - 1;
  const sign = facts.signed ? 2 ** (facts.stored - 1) : Number.POSITIVE_INFINITY;
  return (bits) => {
    const value = (bits >> shift) & mask;
    return (value >= sign ? value - 2 * sign : value) * facts.slope + facts.intercept;
  };
}

/** The window that shows all values of a frame but those of its padding. */
export function wholeRange(facts, samples) {
  const read = reader(facts);
  const padding = facts.padding === null ? null : facts.padding * facts.slope + facts.intercept;
  let low = Number.POSITIVE_INFINITY;
  let high = Number.NEGATIVE_INFINITY;
  for (const sample of samples) {
    const value = read(sample);
    if (value === padding) continue;
    if (value < low) low = value;
    if (value > high) high = value;
  }
  if (low > high) [low, high] = [0, 1];
  const width = Math.max(high - low, facts.slope || 1);
  return { center: low + width / 2, width, shape: "LINEAR_EXACT", name: "Full range" };
}

/** What a value becomes, 0 to 255 (PS3.3 §C.11.2.1.2, §C.11.2.1.3). */
export function brightness({ center, width, shape }) {
  if (shape === "SIGMOID") return (value) => 255 / (1 + Math.exp((-4 * (value - center)) / width));
  if (shape === "LINEAR_EXACT") return (value) => ((value - center) / width + 0.5) * 255;
  if (width <= 1) return (value) => (value <= center - 0.5 ? 0 : 255);
  return (value) => ((value - (center - 0.5)) / (width - 1) + 0.5) * 255;
}

/** Pixels of a frame, ready to be put on a canvas. */
export function shaded(facts, samples, window, inverted) {
  const read = reader(facts);
  const bright = brightness(window);
  const flip = facts.inverted !== inverted;
  const table = new Uint32Array(2 ** facts.allocated);
  for (let bits = 0; bits < table.length; bits += 1) {
    const level = Math.min(255, Math.max(0, Math.round(bright(read(bits)))));
    table[bits] = 0xff000000 | ((flip ? 255 - level : level) * 0x010101);
  }
  const out = new Uint32Array(samples.length);
  for (let index = 0; index < samples.length; index += 1) out[index] = table[samples[index]];
  return new ImageData(new Uint8ClampedArray(out.buffer), facts.columns, facts.rows);
}

/** Letters of the edges an image shows: {left, right, top, bottom}; null where its orientation is not known. */
export function edges([a, b, c, d, e, f]) {
  if (![a, b, c, d, e, f].every(Number.isFinite)) return null;
  const right = letters([a, b, c]);
  const bottom = letters([d, e, f]);
  return { right, bottom, left: opposite(right), top: opposite(bottom) };
}

function letters(vector) {
  const names = [["R", "L"], ["A", "P"], ["F", "H"]];
  return vector
    .map((part, axis) => [Math.abs(part), names[axis][part > 0 ? 1 : 0]])
    .filter(([size]) => size > 0.3)
    .sort((one, other) => other[0] - one[0])
    .map(([, letter]) => letter)
    .join("");
}

const OTHER = { R: "L", L: "R", A: "P", P: "A", F: "H", H: "F" };
const opposite = (text) => [...text].map((letter) => OTHER[letter]).join("");

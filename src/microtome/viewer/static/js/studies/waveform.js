// Waveforms as curves, one below the other (PS3.3 §C.10.9).

import { ApiError } from "../shared/api.js";
import { make, makeSvg, state } from "../shared/dom.js";
import { first, items, number, text } from "../dicom/elements.js";
import { askBytes, bulkPath } from "../dicom/server.js";

const TYPES = { SB: [8, true], UB: [8, false], SS: [16, true], US: [16, false] };
const WIDTH = 1200;
const HEIGHT = 76;
const MOST_CHANNELS = 64;
const MOST_SAMPLES = 1 << 24;

export async function waveforms(header, signal) {
  const groups = [];
  for (const group of items(header, "54000100").slice(0, 8)) {
    const drawn = await groupOf(group, signal);
    if (drawn) groups.push(drawn);
  }
  if (!groups.length) return state({ symbol: "info", title: "A waveform", text: "Its samples are of a kind that is not drawn here." });
  return make("article", { class: "waveforms" }, ...groups);
}

async function groupOf(group, signal) {
  const channels = number(group, "003A0005", 0);
  const samples = number(group, "003A0010", 0);
  const [bits, signed] = TYPES[text(group, "54001006")] ?? [];
  if (!bits || !channels || channels > MOST_CHANNELS || !samples || channels * samples > MOST_SAMPLES) return null;
  const data = await bytesOf(group["54001010"], signal);
  if (!data || data.byteLength * 8 < channels * samples * bits) throw new ApiError("damaged", "The waveform is shorter than its header says.");
  const view = new DataView(data);
  const read = bits === 8 ? (signed ? (at) => view.getInt8(at) : (at) => view.getUint8(at)) : signed ? (at) => view.getInt16(at * 2, true) : (at) => view.getUint16(at * 2, true);
  const rate = number(group, "003A001A", 0);
  const seconds = rate ? samples / rate : 0;
  const rows = items(group, "003A0200").slice(0, channels).map((channel, index) => curve(channel, index, channels, samples, read));
  const title = [text(group, "003A0020") || "Waveform", seconds ? `${Number(seconds.toPrecision(3))} s` : "", rate ? `${rate} Hz` : ""].filter(Boolean).join(" · ");
  return make("section", {}, make("h2", { text: title }), ...rows);
}

async function bytesOf(element, signal) {
  if (element?.InlineBinary) return Uint8Array.from(atob(element.InlineBinary), (letter) => letter.charCodeAt(0)).buffer;
  const path = element?.BulkDataURI && bulkPath(element.BulkDataURI);
  return path ? askBytes(path, "application/octet-stream", signal) : null;
}

/** A channel; of samples that fall on one px their extremes are drawn. */
function curve(channel, index, channels, samples, read) {
  const name = text(first(channel, "003A0208"), "00080104") || text(channel, "003A0203") || `Channel ${index + 1}`;
  const sensitivity = number(channel, "003A0210", 1) * number(channel, "003A0212", 1);
  const unit = text(first(channel, "003A0211"), "00080100");
  let low = Number.POSITIVE_INFINITY;
  let high = Number.NEGATIVE_INFINITY;
  const steps = Math.min(samples, WIDTH);
  const extremes = [];
  for (let step = 0; step < steps; step += 1) {
    let least = Number.POSITIVE_INFINITY;
    let most = Number.NEGATIVE_INFINITY;
    const end = Math.max(Math.floor(((step + 1) * samples) / steps), Math.floor((step * samples) / steps) + 1);
    for (let at = Math.floor((step * samples) / steps); at < end; at += 1) {
      const value = read(at * channels + index);
      least = Math.min(least, value);
      most = Math.max(most, value);
    }
    extremes.push([least, most]);
    low = Math.min(low, least);
    high = Math.max(high, most);
  }
  const tall = Math.max(high - low, 1);
  const y = (value) => (4 + ((high - value) / tall) * (HEIGHT - 8)).toFixed(1);
  const points = extremes.map(([least, most], step) => {
    const x = ((step / Math.max(steps - 1, 1)) * WIDTH).toFixed(1);
    return least === most ? `${x},${y(least)}` : `${x},${y(most)} ${x},${y(least)}`;
  });
  const range = `${Number((low * sensitivity).toPrecision(3))} to ${Number((high * sensitivity).toPrecision(3))} ${unit}`;
  return make(
    "figure",
    { class: "channel" },
    make("figcaption", {}, make("span", { text: name }), make("small", { text: range })),
    makeSvg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img", "aria-label": `${name}, ${range}` }, makeSvg("polyline", { points: points.join(" ") })),
  );
}

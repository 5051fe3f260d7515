// What is special about a slide, in a word each: for the badges of its card.

import { count } from "../shared/format.js";

/** [{text, symbol, more}] of the facts of /slides/{id}; none for a plain slide. */
export function kindsOf(slide) {
  if (slide.kind === "vector") return [{ text: "Vector", symbol: "shapes" }];
  const channels = slide.channels ?? [];
  const color = channels.map(({ name }) => name).join() === "R,G,B";
  const kinds = [];
  if (!color && (channels.length > 1 || /^(?!f{6})/.test(channels[0]?.color ?? "f".repeat(6)))) kinds.push({ text: "Fluorescence", symbol: "sliders", more: channels.map(({ name }) => name).join(", ") });
  if (slide.focal_planes > 1) kinds.push({ text: `${count(slide.focal_planes)} planes`, symbol: "layers" });
  if (slide.time_points > 1) kinds.push({ text: `${count(slide.time_points)} time points`, symbol: "clock" });
  return kinds;
}

// How shapes are drawn: what the page chooses and the worker draws by. Plain data, so that it can be sent.

export const DEFAULT = Object.freeze({ fill: "#2f9bff", fillOpacity: 0.25, line: "#1f86f0", lineOpacity: 1, width: 1.25 });

/** Easy to tell apart on tissue and on black, for readers with any kind of colour vision as far as that goes. */
export const PALETTE = ["#2f9bff", "#ff9f1c", "#19c37d", "#e4448f", "#9b6bff", "#f4d03f", "#17becf", "#ff5a3c", "#8fd14f", "#b98a5e", "#c3a6ff", "#5f7fa8"];
export const OTHER = "#9aa5b1";
/** Low to high numbers. */
export const RAMP = ["#3b0f70", "#57157e", "#8c2981", "#b5367a", "#de4968", "#f66e5c", "#fe9f6d", "#fecf92", "#fcfdbf"];

const MOST_COUNT = 6;

/** The colour of a property's value. `by`: {key, colors: {value: color}, low, high}. */
export function colorOf(by, value) {
  if (typeof value === "number") {
    if (!(by.high >= by.low)) return OTHER;
    const place = by.high > by.low ? (value - by.low) / (by.high - by.low) : 0.5;
    return RAMP[Math.min(RAMP.length - 1, Math.max(0, Math.floor(place * RAMP.length)))];
  }
  return value === undefined || value === null ? OTHER : (by.colors[String(value)] ?? OTHER);
}

/** The radius of a point in CSS px; one that stands for many is larger. */
export const radiusOf = (count) => (count > 1 ? 7 + 2.6 * Math.min(Math.log10(count), MOST_COUNT) : 4);

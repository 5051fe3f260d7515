// How a slide is drawn, in the address after the #, beside its place: focus=3&time=1&icc=perceptual&channels=…, and the
// shapes over it: shapes=<id>&style=…. A second slide has the same with "2." in front.

import { parse } from "./channels.js";

const NUMBER_OF_STYLE = { fillOpacity: [0, 1], lineOpacity: [0, 1], width: [0, 20] };
const PLACEMENTS = ["pixels", "fit"];

/** Parts of an address: ["focus=3", …]. `overlay` is null, "none" for switched off by hand, or {id, style, …}. */
export function writePicture(look, overlay, prefix = "") {
  const parts = [];
  const put = (name, value) => parts.push(`${prefix}${name}=${encodeURIComponent(value).replaceAll("%3A", ":").replaceAll("%2C", ",")}`);
  if (look.focus) put("focus", look.focus);
  if (look.time) put("time", look.time);
  if (look.intent !== "none") put("icc", look.intent);
  if (look.channelsText) put("channels", look.channelsText);
  if (overlay === "none") put("shapes", "none");
  else if (overlay) {
    if (overlay.id) put("shapes", overlay.id);
    const style = writeStyle(overlay);
    if (style) put("style", style);
  }
  return parts;
}

/** The reverse: {focus, time, intent, channels, overlay: null | "none" | {id, style, placement}}. */
export function readPicture(text, prefix = "") {
  const query = new URLSearchParams(text.replace(/^#/, ""));
  const channels = query.get(`${prefix}channels`) ?? "";
  const id = query.get(`${prefix}shapes`);
  const style = readStyle(query.get(`${prefix}style`) ?? "");
  return {
    focus: Number(query.get(`${prefix}focus`) ?? 0),
    time: Number(query.get(`${prefix}time`) ?? 0),
    intent: query.get(`${prefix}icc`) ?? "none",
    channels: channels && parse(channels) ? channels : "",
    overlay: id === "none" ? "none" : id || query.has(`${prefix}style`) ? { id, ...style } : null,
  };
}

/** "fill:2f9bff,fillOpacity:0.3,by:class": only what is not as usual. */
function writeStyle({ style, usual, colorBy, hidden, placement, visible }) {
  const parts = [];
  for (const name of ["fill", "line"]) if (style[name] !== usual[name]) parts.push(`${name}:${style[name].slice(1)}`);
  for (const name of Object.keys(NUMBER_OF_STYLE)) if (style[name] !== usual[name]) parts.push(`${name}:${Number(style[name].toFixed(3))}`);
  if (colorBy) parts.push(`by:${escaped(colorBy)}`);
  for (const layer of hidden) parts.push(`hide:${escaped(layer)}`);
  if (PLACEMENTS.includes(placement)) parts.push(`place:${placement}`);
  if (!visible) parts.push("off:1");
  return parts.join(",");
}

function readStyle(text) {
  const style = { hidden: [] };
  let placement = "auto";
  let visible = true;
  for (const part of text.split(",").filter(Boolean)) {
    const cut = part.indexOf(":");
    const [name, value] = [part.slice(0, cut), part.slice(cut + 1)];
    const limits = NUMBER_OF_STYLE[name];
    if ((name === "fill" || name === "line") && /^[0-9a-f]{6}$/i.test(value)) style[name] = `#${value.toLowerCase()}`;
    else if (limits && value !== "" && Number(value) >= limits[0] && Number(value) <= limits[1]) style[name] = Number(value);
    else if (name === "by" && value) style.by = unescaped(value);
    else if (name === "hide" && value) style.hidden.push(unescaped(value));
    else if (name === "place" && PLACEMENTS.includes(value)) placement = value;
    else if (name === "off") visible = false;
  }
  return { style, placement, visible };
}

const escaped = (text) => text.replace(/[%,]/g, (sign) => encodeURIComponent(sign));

function unescaped(text) {
  try {
    return decodeURIComponent(text.replace(/%(?!25|2C)/gi, "%25"));
  } catch {
    return text;
  }
}

// Reading the DICOM JSON model (PS3.18 §F.2): elements by tag, values as text.

export const values = (set, tag) => set?.[tag]?.Value ?? [];
export const first = (set, tag) => values(set, tag)[0];
export const items = values;

/** The first number of an element, or `otherwise`. Numbers may be written as text. */
export function number(set, tag, otherwise = null) {
  const found = Number(first(set, tag) ?? Number.NaN);
  return Number.isFinite(found) ? found : otherwise;
}

export const numbers = (set, tag) => values(set, tag).map(Number);

/** All values as one text. */
export function text(set, tag) {
  return values(set, tag).map(plain).filter(Boolean).join(", ");
}

/** One value as text: a name in the order people write it, anything else as it is. */
export function plain(value) {
  if (value === null || value === undefined) return "";
  if (typeof value === "object") return personName(value);
  return String(value);
}

/** "Doe, Jane" for Doe^Jane; the other writings of a name follow in brackets. */
export function personName(name) {
  const [alphabetic, ...others] = ["Alphabetic", "Ideographic", "Phonetic"].map((group) => written(name[group]));
  const beside = others.filter(Boolean).join(", ");
  return alphabetic && beside ? `${alphabetic} (${beside})` : alphabetic || beside;
}

function written(group) {
  if (!group) return "";
  const [family = "", given = "", middle = "", prefix = "", suffix = ""] = group.split("^").map((part) => part.trim());
  return [family, [prefix, given, middle].filter(Boolean).join(" "), suffix].filter(Boolean).join(", ");
}

/** "2020-09-13" for 20200913; anything else as it is. */
export function date(value) {
  const found = /^(\d{4})\.?(\d{2})\.?(\d{2})$/.exec(value ?? "");
  return found ? found.slice(1).join("-") : (value ?? "");
}

/** "16:19" for 161930.123. */
export function time(value) {
  const found = /^(\d{2}):?(\d{2})/.exec(value ?? "");
  return found ? `${found[1]}:${found[2]}` : "";
}

// Numbers for people.

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });

/** Three significant digits, but never fewer than the whole number: 0.252, 12.4, 1,234. */
function digits(value) {
  if (value >= 100) return whole.format(value);
  const places = value >= 10 ? 1 : value >= 1 ? 2 : 3;
  return new Intl.NumberFormat("en", { minimumFractionDigits: places, maximumFractionDigits: places }).format(value);
}

export const count = (value) => whole.format(value);

const UNITS = ["bytes", "kB", "MB", "GB", "TB"];

/** "38 bytes", "3.24 kB". */
export function bytes(value) {
  let unit = 0;
  while (value >= 1000 && unit < UNITS.length - 1) [value, unit] = [value / 1000, unit + 1];
  return `${unit ? Number(value.toPrecision(3)) : value} ${UNITS[unit]}`;
}

export const pixels = (width, height) => `${whole.format(width)} × ${whole.format(height)}`;

/** A length in µm: "0.252 µm", "84.3 µm", "1.27 mm". */
export function length(micrometres) {
  return micrometres < 1000 ? `${digits(micrometres)} µm` : `${digits(micrometres / 1000)} mm`;
}

/** An area in µm²: "812 µm²", "0.412 mm²". */
export function area(squareMicrometres) {
  return squareMicrometres < 100_000 ? `${digits(squareMicrometres)} µm²` : `${digits(squareMicrometres / 1e6)} mm²`;
}

/** "40×", "2.5×", "0.31×". */
export function power(value) {
  const rounded = value >= 10 ? Math.round(value * 10) / 10 : Number(value.toPrecision(3));
  return `${rounded}×`;
}

/** The resolution of a slide: "0.499 µm/px", and both when the axes differ. */
export function resolution(x, y) {
  if (!x) return "";
  const one = (value) => Number(value.toPrecision(4));
  return !y || Math.abs(x - y) / x < 0.001 ? `${one(x)} µm/px` : `${one(x)} × ${one(y)} µm/px`;
}

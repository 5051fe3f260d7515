// Pixels of a slice picture and the patient: RAS in mm. The same rule as the server's (pixel 0 is the corner).

/** Millimetres per pixel of a picture of `size` of this slice. */
export function pitch(slice, [width, height]) {
  const [across, up] = slice.field_of_view;
  return Math.max(across / width, up / height);
}

/** The point in RAS at column x and row y of a picture. */
export function toRas(slice, size, x, y) {
  const step = pitch(slice, size);
  const m = slice.slice_to_ras;
  const u = (x - size[0] / 2) * step;
  const v = (size[1] - 1 - y - size[1] / 2) * step;
  return [0, 1, 2].map((row) => m[row * 4] * u + m[row * 4 + 1] * v + m[row * 4 + 3]);
}

/** Column and row of a point in a picture. */
export function toPixel(slice, size, point) {
  const step = pitch(slice, size);
  const m = slice.slice_to_ras;
  const away = [0, 1, 2].map((row) => point[row] - m[row * 4 + 3]);
  const along = (column) => [0, 1, 2].reduce((sum, row) => sum + away[row] * m[row * 4 + column], 0);
  return [along(0) / step + size[0] / 2, size[1] - 1 - (along(1) / step + size[1] / 2)];
}

export const millimetres = (value) => `${value.toFixed(1)} mm`;

/** "R 12.3  A 4.0  S -8.1" */
export function named([r, a, s]) {
  const one = (value, plus, minus) => `${value >= 0 ? plus : minus} ${Math.abs(value).toFixed(1)}`;
  return [one(r, "R", "L"), one(a, "A", "P"), one(s, "S", "I")].join("  ");
}

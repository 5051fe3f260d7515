// The view in the address, after the #: a link reopens the same place, zoom and rotation, and the slide beside it.

const decimals = (value, places) => String(Number(value.toFixed(places)));

/** {x, y, zoom, rotation, beside: {id, x, y, zoom, rotation, linked} | null} -> "x=...&y=...&z=...". */
export function writePlace(view, beside = null) {
  const parts = [`x=${decimals(view.x, 1)}`, `y=${decimals(view.y, 1)}`, `z=${Number(view.zoom.toPrecision(6))}`];
  const rotation = ((view.rotation % 360) + 360) % 360;
  if (rotation) parts.push(`r=${decimals(rotation, 2)}`);
  if (beside) {
    const numbers = [decimals(beside.x, 1), decimals(beside.y, 1), Number(beside.zoom.toPrecision(6)), decimals(beside.rotation, 2)];
    parts.push(`with=${encodeURIComponent(beside.id)}`, `at=${numbers.join(",")}`);
    if (!beside.linked) parts.push("link=0");
  }
  return parts.join("&");
}

/** The reverse: null when there is no view in the text or it makes no sense; what is wrong is left out. */
export function readPlace(text) {
  const query = new URLSearchParams(text.replace(/^#/, ""));
  const number = (name) => (query.has(name) ? Number(query.get(name)) : Number.NaN);
  const view = { x: number("x"), y: number("y"), zoom: number("z"), rotation: number("r") };
  if (!Number.isFinite(view.rotation)) view.rotation = 0;
  const valid = Number.isFinite(view.x) && Number.isFinite(view.y) && Number.isFinite(view.zoom) && view.zoom > 0;
  let beside = null;
  if (query.get("with")) {
    const [x, y, zoom, rotation] = (query.get("at") ?? "").split(",").map(Number);
    const known = [x, y, zoom, rotation].every(Number.isFinite) && zoom > 0;
    beside = { id: query.get("with"), linked: query.get("link") !== "0", view: known ? { x, y, zoom, rotation } : null };
  }
  return valid || beside ? { view: valid ? view : null, beside } : null;
}

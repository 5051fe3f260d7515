// Which vector set lies over the slide of a pane: the slide itself when it is one, one a person chose, one the address
// names, or one that stands beside the slide under the same name.

import { ApiError, getJson, slidePath } from "../shared/api.js";
import { toast } from "../shared/dom.js";
import { page } from "../shared/page.js";
import { VectorOverlay } from "../vector/overlay.js";
import { VECTOR_NAME, VectorSet } from "../vector/set.js";
import { DEFAULT } from "../vector/style.js";

const LISTED = 200;
const PREFERRED = [".geojson", ".pmtiles", ".mbtiles", ".mvt", ".pbf"];

/** Lay over the pane what its address asks for: `wanted` is null for what stands beside, "none", or {id, style, …}. */
export async function layShapes(pane, wanted) {
  const { slide } = pane;
  if (slide.set) setOverlay(pane, slide.set, wanted === "none" ? null : wanted);
  else if (wanted?.id) await chooseShapes(pane, wanted.id, wanted);
  else if (wanted === null) {
    const id = await besideOf(slide.id);
    // A person may have been quicker.
    if (id && pane.viewer && !pane.overlay) await chooseShapes(pane, id, { found: true });
  } else pane.withoutShapes = wanted === "none";
}

/** Lay a set over the slide. Tells a person why when that cannot be. */
export async function chooseShapes(pane, id, options = {}) {
  pane.comingShapes = { id, ...options };
  try {
    const facts = await getJson(slidePath(id));
    if (!pane.viewer) return;
    if (facts.kind !== "vector") {
      toast(`${id} holds no shapes`, "alert");
      return;
    }
    setOverlay(pane, new VectorSet(facts), options);
    if (options.found) toast(`Shapes of ${pane.overlay.set.name} are shown`, "shapes");
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    toast(`Shapes cannot be shown: ${error.message}`, "alert");
  } finally {
    pane.comingShapes = null;
  }
}

/** Take the shapes off; the address remembers that. */
export function removeShapes(pane) {
  pane.overlay?.close();
  pane.overlay = null;
  pane.withoutShapes = true;
  pane.dispatchEvent(new CustomEvent("overlay"));
}

/** What the address says of the shapes of a pane: see address.js. */
export function shapesOf(pane) {
  const { overlay, slide } = pane;
  if (!overlay && pane.comingShapes) {
    const { id, style = {}, placement = "auto", visible = true } = pane.comingShapes;
    const { by = null, hidden = [], ...plain } = style;
    return { id, style: { ...DEFAULT, ...plain }, usual: DEFAULT, colorBy: by, hidden, placement, visible };
  }
  if (!overlay) return pane.withoutShapes ? "none" : null;
  const { style, usual, colorBy, hidden, placement, visible } = overlay;
  return { id: slide.set ? null : overlay.set.id, style, usual, colorBy, hidden, placement, visible };
}

function setOverlay(pane, set, options) {
  pane.overlay?.close();
  pane.overlay = new VectorOverlay(pane, set, { style: options?.style, placement: options?.placement });
  pane.withoutShapes = false;
  if (options?.visible === false) pane.overlay.show(false);
  pane.dispatchEvent(new CustomEvent("overlay"));
}

/** The id of a vector set of the same name in the same folder, null for none. */
async function besideOf(id) {
  // A link to one slide opens no list.
  if (page.query && !/^ct=/.test(page.query)) return null;
  const cut = id.lastIndexOf("/") + 1;
  const [folder, name] = [id.slice(0, cut), id.slice(cut)];
  const stem = name.slice(0, Math.max(1, name.indexOf(".")));
  let ids;
  try {
    ({ slides: ids } = await getJson("/slides", { prefix: folder + stem, limit: LISTED, formats: "all" }));
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    return null;
  }
  return besideAmong(name, ids.map((entry) => (typeof entry === "string" ? entry : (entry.slide_id ?? entry.id))).filter((other) => other.startsWith(folder)).map((other) => other.slice(cut)), folder);
}

/** Of `names` in the folder the one that goes with a slide's name: slide.svs.geojson before slide.geojson. */
export function besideAmong(name, names, folder = "") {
  const stems = [name];
  for (let at = name.lastIndexOf("."); at > 0; at = name.lastIndexOf(".", at - 1)) stems.push(name.slice(0, at));
  const rank = (other) => {
    const suffix = VECTOR_NAME.exec(other)?.[0].toLowerCase();
    const stem = suffix ? stems.indexOf(other.slice(0, -suffix.length)) : -1;
    return other.includes("/") || other === name || stem < 0 ? null : stem * PREFERRED.length + PREFERRED.indexOf(suffix.replace(/\.gz$/, ""));
  };
  const found = names.filter((other) => rank(other) !== null).sort((a, b) => rank(a) - rank(b));
  return found.length ? folder + found[0] : null;
}

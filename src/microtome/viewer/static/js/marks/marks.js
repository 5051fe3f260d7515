// What was marked on the slide of a pane and is stored as DICOM: asked for once, laid over it, kept at `pane.marks`.

import { ApiError, getJson, slidePath } from "../shared/api.js";
import { AnnotationOverlay } from "./annotations.js";
import { LabelOverlay } from "./labels.js";

/** So many are shown at once; the others wait to be switched on. */
const SHOWN = 4;

/** Lay over the pane what the server knows of its slide. */
export async function loadMarks(pane) {
  if (pane.slide.set) return;
  let overlays;
  try {
    ({ overlays } = await getJson(`${slidePath(pane.slide.id)}/overlays`));
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    return; // The slide is what was asked for.
  }
  if (!pane.viewer || !overlays.length) return;
  // Segments below, shapes above them: each is put right behind the slide.
  const order = [...overlays.filter(({ kind }) => kind === "annotations"), ...overlays.filter(({ kind }) => kind === "segments")];
  pane.marks = order.map((told, index) => {
    const overlay = told.kind === "segments" ? new LabelOverlay(pane, told) : new AnnotationOverlay(pane, told);
    if (index >= SHOWN) overlay.show(false);
    return overlay;
  });
  pane.dispatchEvent(new CustomEvent("marks"));
}

// Where we are, in the address: a search and its page, a study, or a series.

import { page } from "../shared/page.js";

/** Fields of the search, by the keyword of QIDO. */
export const FIELDS = ["PatientName", "PatientID", "StudyDate", "ModalitiesInStudy", "StudyDescription", "AccessionNumber"];
const PLACES = ["study", "series", "image"];

export function readPlace() {
  const query = new URLSearchParams(location.search);
  const search = {};
  for (const field of FIELDS) if (query.get(field)) search[field] = query.get(field);
  return {
    study: query.get("study") ?? "",
    series: query.get("series") ?? "",
    image: Math.max(1, Number(query.get("image")) || 1),
    search,
    offset: Math.max(0, Math.trunc(Number(query.get("offset")) || 0)),
  };
}

/** OHIF at a study; slides have a mode of their own there. */
export function ohifAddress(study, modalities) {
  const slides = modalities.length > 0 && modalities.every((each) => each === "SM");
  return `${page.base}/browse/${slides ? "microscopy" : "viewer"}?StudyInstanceUIDs=${encodeURIComponent(study)}`;
}

/** The address of a place, with the credentials of the page. */
export function addressOf({ study = "", series = "", image = 1, search = {}, offset = 0 }) {
  const query = new URLSearchParams(page.query || location.search);
  for (const name of [...FIELDS, ...PLACES, "offset"]) query.delete(name);
  for (const [name, value] of Object.entries(search)) if (value) query.set(name, value);
  if (offset) query.set("offset", offset);
  if (study) query.set("study", study);
  if (series) query.set("series", series);
  if (image > 1) query.set("image", image);
  const text = query.toString();
  return `${location.pathname}${text ? `?${text}` : ""}`;
}

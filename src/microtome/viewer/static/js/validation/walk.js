// Every case and slide that the catalogue tells, whichever kind of catalogue it is.

import { Refused } from "./server.js";

const MOST_CASES = 100_000;

/**
 * Yields {id, name, slides: [{id, name}], failed: Refused or null} of each case. Catalogues of folders want to be told
 * where to begin, have cases in cases, and slides beside them; the others list all their cases at once.
 */
export async function* walk(server, signal) {
  let refused = null;
  try {
    const { value: cases } = await server.json("/v3/cases/", {}, signal);
    if (cases.length) {
      for (const each of cases) yield await slidesOf(server, each.id, each.local_id, signal);
      return;
    }
  } catch (error) {
    if (!(error instanceof Refused) || error.status < 400 || error.status >= 500 || isLogin(error)) throw error;
    refused = error;
  }
  const known = new Set([""]);
  for (const folder of known) {
    const found = await slidesOf(server, folder, folder, signal);
    let cases = [];
    try {
      cases = (await server.json("/v3/cases/", { context: folder }, signal)).value;
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      // The root is the only one that nobody has promised us.
      if (folder === "" && found.failed) throw refused ?? error;
      found.failed ??= error;
    }
    if (folder === "" && found.failed) found.failed = null;
    yield found;
    for (const each of cases) if (known.size < MOST_CASES) known.add(each.id);
  }
}

export const isLogin = (error) => error.status === 401 || error.status === 403;

async function slidesOf(server, id, name, signal) {
  const found = { id, name: shown(name || id), slides: [], failed: null };
  try {
    const { value } = await server.json("/v3/cases/slides/", { case_id: id }, signal);
    found.slides = value.map((slide) => ({ id: slide.id, name: shown(slide.local_id || slide.id) }));
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    found.failed = error;
  }
  return found;
}

const shown = (name) => name.replace(/^[/>]+/, "");

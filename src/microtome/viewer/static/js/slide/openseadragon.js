// Two things OpenSeadragon 6.1 needs before it is used here.

/** Once, before the first viewer. False when the library could not be loaded. */
export function prepareOpenSeadragon() {
  const library = globalThis.OpenSeadragon;
  if (!library) return false;
  keepStyleOut();
  roundTextureIndex(library);
  return true;
}

/** It adds a style element unless there is one with this mark, and the page's policy forbids that. An element of no
 *  known language has the mark and no style. */
function keepStyleOut() {
  const mark = document.createElementNS("urn:microtome:inert", "style");
  mark.setAttribute("data-openseadragon-mobile-css", "true");
  document.head.append(mark);
}

/** Its shader cuts an interpolated number to a whole one to find the texture of a tile. Interpolation may give 2.9999
 *  for 3: triangles of a rotated slide then show the wrong tile. */
function roundTextureIndex(library) {
  const drawer = library.WebGLDrawer;
  if (!drawer?.initShaderProgram) return;
  const original = drawer.initShaderProgram;
  drawer.initShaderProgram = (gl, vertex, fragment) =>
    original.call(drawer, gl, vertex, fragment.replace("int(v_image_index)", "int(v_image_index + 0.5)"));
}

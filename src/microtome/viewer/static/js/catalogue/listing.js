// A folder of the catalogue, or a search: the flat list of the server, page by page, seen as folders and slides.

import { getJson } from "../shared/api.js";

const PAGE = 100;

export class Listing {
  #cursor = null;
  #folders = new Set();

  /** `folder` ends with "/" unless it is the root (""). With `search` the whole store is searched and folders are flat. */
  constructor({ folder = "", search = "" }) {
    this.folder = folder;
    this.search = search;
    this.done = false;
    this.busy = false;
  }

  /** The next page: {slides: [id], folders: [name], names: {id: name}}, only what is new. A page may be empty and not the last. */
  async next(signal) {
    const answer = await getJson(
      "/slides",
      { limit: PAGE, cursor: this.#cursor, prefix: this.search ? null : this.folder, search: this.search, formats: "all" },
      signal,
    );
    this.#cursor = answer.next_cursor ?? null;
    this.done = this.#cursor === null;
    const slides = [];
    const folders = [];
    for (const entry of answer.slides) {
      const id = typeof entry === "string" ? entry : (entry.slide_id ?? entry.id);
      const rest = this.search ? id : id.slice(this.folder.length);
      const cut = this.search ? -1 : rest.indexOf("/");
      if (cut < 0) slides.push(id);
      else if (!this.#folders.has(rest.slice(0, cut))) {
        this.#folders.add(rest.slice(0, cut));
        folders.push(rest.slice(0, cut));
      }
    }
    return { slides, folders, names: answer.names ?? {} };
  }
}

// Choosing a slide to compare with, or shapes to lay over one: a dialog over the catalogue.

import { ApiError, getJson, slidePath, thumbnailAddress } from "../shared/api.js";
import { icon, make, state } from "../shared/dom.js";
import { Queue } from "../shared/queue.js";
import { VECTOR_NAME, VECTOR_OR_TEXT } from "../vector/set.js";
import { sketch } from "../vector/sketch.js";

const PAGE = 60;
/** Pages of the list that are looked through for shapes before a person is asked to go on. */
const MOST_PAGES = 8;
const find = (id) => document.getElementById(id);

export class Picker {
  #abort = null;
  #typing = 0;
  #cursor = null;
  #queue = new Queue(4);

  constructor() {
    this.dialog = find("picker");
    this.list = find("picker-list");
    this.field = find("picker-search");
    this.more = find("picker-more");
    this.field.addEventListener("input", () => {
      clearTimeout(this.#typing);
      this.#typing = setTimeout(() => this.#search(), 200);
    });
    this.more.addEventListener("click", () => this.#load());
    this.dialog.addEventListener("close", () => {
      this.#abort?.abort();
      this.#queue.clear();
    });
    this.list.addEventListener("click", (event) => {
      const button = event.target.closest("button[data-id]");
      if (!button) return;
      this.dialog.close();
      this.chosen(button.dataset.id);
    });
  }

  /** `chosen(id)` is called with what a person picks. `shapes`: vector sets only, as far as names tell. */
  open(current, chosen, { title, shapes = false }) {
    this.current = current;
    this.chosen = chosen;
    this.shapes = shapes;
    find("picker-title").textContent = title;
    this.field.value = "";
    this.dialog.showModal();
    this.field.focus();
    void this.#search();
  }

  #search() {
    this.#abort?.abort();
    this.#abort = new AbortController();
    this.#cursor = null;
    this.#queue.clear();
    this.list.replaceChildren();
    return this.#load();
  }

  async #load() {
    const { signal } = this.#abort;
    this.more.hidden = true;
    try {
      let ids = [];
      for (let page = 0; page < (this.shapes ? MOST_PAGES : 1) && !ids.length; page += 1) {
        const asked = { limit: PAGE, cursor: this.#cursor, search: this.field.value.trim(), formats: "all" };
        const answer = await getJson("/slides", asked, signal);
        this.#cursor = answer.next_cursor ?? null;
        ids = answer.slides.map((entry) => (typeof entry === "string" ? entry : (entry.slide_id ?? entry.id))).filter((id) => !this.shapes || VECTOR_OR_TEXT.test(id));
        if (this.#cursor === null) break;
      }
      this.more.hidden = this.#cursor === null;
      this.list.append(...ids.map((id) => this.#item(id)));
      if (this.list.children.length) return;
      const what = this.shapes ? { symbol: "shapes", title: "No shapes found", text: "GeoJSON files and vector tiles of this server are listed here." } : { symbol: "search", title: "No slide matches", text: "Try a part of its name or folder." };
      this.list.append(make("li", { class: "picker-state" }, state(what)));
    } catch (error) {
      if (error.name === "AbortError") return;
      if (!(error instanceof ApiError)) throw error;
      const locked = error.kind === "unauthorised";
      this.list.replaceChildren(
        make("li", { class: "picker-state" }, state({ symbol: locked ? "lock" : "alert", title: locked ? "The list needs a signed link" : "The slides cannot be listed", text: error.message, wrong: !locked })),
      );
    }
  }

  #item(id) {
    const cut = id.lastIndexOf("/") + 1;
    const shapes = VECTOR_NAME.test(id);
    const mount = make("span", { class: "mount" }, icon(shapes ? "shapes" : "slides"));
    this.#queue.add(id, async () => {
      try {
        mount.replaceChildren(shapes ? await sketch(await getJson(slidePath(id)), 120) : await decoded(thumbnailAddress(id, 128)));
      } catch {
        // The icon stays.
      }
    });
    return make(
      "li",
      {},
      make(
        "button",
        { type: "button", "data-id": id },
        mount,
        make("span", { class: "picker-name" }, make("strong", { text: id.slice(cut) }), cut ? make("span", { text: id.slice(0, cut) }) : null),
        id === this.current ? make("span", { class: "badge", text: "open now" }) : null,
      ),
    );
  }
}

async function decoded(src) {
  const image = make("img", { alt: "", src });
  await image.decode();
  return image;
}

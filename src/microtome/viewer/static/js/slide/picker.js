// Choosing the slide to compare with: a dialog over the catalogue.

import { ApiError, getJson, thumbnailAddress } from "../shared/api.js";
import { icon, make, state } from "../shared/dom.js";
import { Queue } from "../shared/queue.js";

const PAGE = 60;
const find = (id) => document.getElementById(id);

export class Picker {
  #abort = null;
  #typing = 0;
  #cursor = null;
  #queue = new Queue(4);

  /** `chosen(id)` is called with the slide a person picks. */
  constructor(chosen) {
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
      chosen(button.dataset.id);
    });
  }

  open(current) {
    this.current = current;
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
      const answer = await getJson("/slides", { limit: PAGE, cursor: this.#cursor, search: this.field.value.trim() }, signal);
      this.#cursor = answer.next_cursor ?? null;
      this.more.hidden = this.#cursor === null;
      const ids = answer.slides.map((entry) => (typeof entry === "string" ? entry : (entry.slide_id ?? entry.id)));
      this.list.append(...ids.map((id) => this.#item(id)));
      if (!this.list.children.length) this.list.append(make("li", { class: "picker-state" }, state({ symbol: "search", title: "No slide matches", text: "Try a part of its name or folder." })));
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
    const mount = make("span", { class: "mount" }, icon("slides"));
    this.#queue.add(id, async () => {
      const image = make("img", { alt: "", src: thumbnailAddress(id, 128) });
      try {
        await image.decode();
        mount.replaceChildren(image);
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

// Cards of slides: a link at once, its picture and facts when it comes near the screen.

import { ApiError, associatedAddress, getJson, slidePath, thumbnailAddress, viewAddress } from "../shared/api.js";
import { icon, make } from "../shared/dom.js";
import { pixels, power, resolution } from "../shared/format.js";
import { Queue } from "../shared/queue.js";
import { redaction } from "../shared/redaction.js";
import { VECTOR_NAME } from "../vector/set.js";
import { sketch } from "../vector/sketch.js";
import { kindsOf } from "./kinds.js";

const CONCURRENCY = 4;
const MARGIN = "300px";
const THUMBNAIL = 384;

export class Cards {
  #queue = new Queue(CONCURRENCY);
  #observer;
  #jobs = new WeakMap();

  constructor(list) {
    this.list = list;
    this.#observer = new IntersectionObserver((entries) => this.#seen(entries), { rootMargin: MARGIN });
    list.addEventListener("keydown", (event) => this.#walk(event));
    redaction.addEventListener("change", () => this.#showLabels());
  }

  clear() {
    this.#observer.disconnect();
    this.#queue.clear();
    this.list.replaceChildren();
  }

  /** `names` of slides whose ids say nothing to people. */
  add(ids, { withFolder, names = {} }) {
    this.list.append(...ids.map((id) => this.#card(id, withFolder, names[id])));
  }

  #card(id, withFolder, name) {
    const cut = id.lastIndexOf("/") + 1;
    const mount = make("span", { class: "mount" }, icon(VECTOR_NAME.test(id) ? "shapes" : "slides"));
    const facts = make("span", { class: "facts" });
    const card = make(
      "a",
      { class: "card", href: viewAddress(id), title: id, "aria-busy": "true" },
      mount,
      make(
        "span",
        { class: "about" },
        make("span", { class: "name", text: name || id.slice(cut) }),
        withFolder && cut ? make("span", { class: "folder", text: id.slice(0, cut) }) : null,
        facts,
      ),
    );
    this.#jobs.set(card, () => this.#fill(id, card, mount, facts));
    this.#observer.observe(card);
    return make("li", {}, card);
  }

  #seen(entries) {
    for (const { target, isIntersecting } of entries) {
      // What was scrolled past before its turn gives way to what is on the screen now.
      if (!isIntersecting) this.#queue.cancel(target);
      else
        this.#queue.add(target, () => {
          this.#observer.unobserve(target);
          return this.#jobs.get(target)();
        });
    }
  }

  async #fill(id, card, mount, facts) {
    try {
      const slide = await getJson(slidePath(id));
      facts.append(
        make("span", { class: "size", text: slide.kind === "vector" ? "Vector tiles" : pixels(slide.width, slide.height) }),
        make("span", { class: "resolution", text: resolution(slide.mpp_x, slide.mpp_y) }),
        make("span", { class: "power", text: slide.magnification ? power(slide.magnification) : "" }),
        make("span", { class: "format", text: slide.format }),
      );
      const kinds = kindsOf(slide);
      if (kinds.length) mount.append(make("span", { class: "kinds" }, ...kinds.map(({ text, symbol, more }) => make("span", { class: "kind", title: more }, icon(symbol), make("span", { text })))));
      await this.#picture(slide, mount);
      if (slide.associated?.some(({ name }) => name === "label")) await this.#label(id, mount);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      mount.querySelector("use").setAttribute("href", icon("alert").firstChild.getAttribute("href"));
      facts.replaceChildren(make("span", { class: "wrong", text: reason(error), title: error.message }));
    } finally {
      card.removeAttribute("aria-busy");
    }
  }

  /** Shows the thumbnail when it is decoded; without one the card keeps its icon. */
  async #picture(slide, mount) {
    let picture;
    try {
      picture = slide.kind === "vector" ? await sketch(slide, THUMBNAIL) : await decoded(thumbnailAddress(slide.slide_id, THUMBNAIL));
    } catch {
      return;
    }
    mount.prepend(picture);
    requestAnimationFrame(() => picture.classList.add("shown"));
  }

  /** The label in a corner of the card, unless labels are hidden: then it is not even fetched. */
  async #label(id, mount) {
    mount.dataset.label = associatedAddress(id, "label");
    if (redaction.on) return;
    try {
      const picture = await decoded(mount.dataset.label);
      picture.className = "label";
      if (!redaction.on && !mount.querySelector(".label")) mount.append(picture);
    } catch {
      delete mount.dataset.label;
    }
  }

  #showLabels() {
    for (const mount of this.list.querySelectorAll("[data-label]")) {
      if (redaction.on) mount.querySelector(".label")?.remove();
      else if (!mount.querySelector(".label")) mount.append(make("img", { class: "label", alt: "", src: mount.dataset.label }));
    }
  }

  /** Arrow keys move between cards as the eye sees them. */
  #walk(event) {
    const card = event.target.closest(".card");
    const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -1, ArrowDown: 1 }[event.key];
    if (!card || !step || event.altKey || event.ctrlKey || event.metaKey) return;
    const cards = [...this.list.querySelectorAll(".card")];
    const top = cards[0].getBoundingClientRect().top;
    const columns = Math.max(1, cards.findIndex((other) => other.getBoundingClientRect().top > top + 1));
    const stride = event.key === "ArrowUp" || event.key === "ArrowDown" ? columns : 1;
    const next = cards[cards.indexOf(card) + step * stride];
    if (!next) return;
    event.preventDefault();
    next.focus();
  }
}

async function decoded(src) {
  const image = make("img", { alt: "", src });
  await image.decode();
  return image;
}

function reason(error) {
  const short = { missing: "No longer there", unauthorised: "Needs a signed link", unreachable: "No answer" };
  return short[error.kind] ?? `Cannot be read: ${error.message}`;
}

// Cards of slides: a link at once, its picture and facts when it comes near the screen.

import { ApiError, getJson, slidePath, thumbnailAddress, viewAddress } from "../shared/api.js";
import { icon, make } from "../shared/dom.js";
import { pixels, power, resolution } from "../shared/format.js";
import { Queue } from "../shared/queue.js";

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
  }

  clear() {
    this.#observer.disconnect();
    this.#queue.clear();
    this.list.replaceChildren();
  }

  add(ids, { withFolder }) {
    this.list.append(...ids.map((id) => this.#card(id, withFolder)));
  }

  #card(id, withFolder) {
    const cut = id.lastIndexOf("/") + 1;
    const mount = make("span", { class: "mount" }, icon("slides"));
    const facts = make("span", { class: "facts" });
    const card = make(
      "a",
      { class: "card", href: viewAddress(id), title: id, "aria-busy": "true" },
      mount,
      make(
        "span",
        { class: "about" },
        make("span", { class: "name", text: id.slice(cut) }),
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
        make("span", { class: "size", text: pixels(slide.width, slide.height) }),
        make("span", { class: "resolution", text: resolution(slide.mpp_x, slide.mpp_y) }),
        make("span", { class: "power", text: slide.magnification ? power(slide.magnification) : "" }),
        make("span", { class: "format", text: slide.format }),
      );
      await this.#picture(id, mount);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      mount.querySelector("use").setAttribute("href", icon("alert").firstChild.getAttribute("href"));
      facts.replaceChildren(make("span", { class: "wrong", text: reason(error), title: error.message }));
    } finally {
      card.removeAttribute("aria-busy");
    }
  }

  /** Shows the thumbnail when it is decoded; without one the card keeps its icon. */
  async #picture(id, mount) {
    const image = make("img", { alt: "", src: thumbnailAddress(id, THUMBNAIL) });
    try {
      await image.decode();
    } catch {
      return;
    }
    mount.append(image);
    requestAnimationFrame(() => image.classList.add("shown"));
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

function reason(error) {
  const short = { missing: "No longer there", unauthorised: "Needs a signed link", unreachable: "No answer" };
  return short[error.kind] ?? `Cannot be read: ${error.message}`;
}

// One slide: its facts, and a cell with picture, time and verdict for everything that was asked of it.

import { icon, make } from "../shared/dom.js";
import { count, pixels } from "../shared/format.js";
import { page } from "../shared/page.js";
import { carryOut, isVector, plan, wrongFacts } from "./checks.js";
import { showPicture } from "./picture.js";
import { address, Refused } from "./server.js";

const TOGETHER = 2;
const SYMBOLS = { passed: "check", failed: "alert", absent: "minus" };

export const milliseconds = (ms) => (ms < 10 ? `${ms.toFixed(1)} ms` : ms < 10_000 ? `${count(ms)} ms` : `${count(ms / 1000)} s`);

export class SlideCard {
  #server;
  #limits;
  #record;
  #groups;
  #reasons;
  #dropped = false;
  #controller = null;

  /** `record` hears every result: {slide, check, ...} of `carryOut`. */
  constructor(server, slide, limits, record) {
    this.#server = server;
    this.#limits = limits;
    this.#record = record;
    this.slide = slide;
    this.failed = false;
    this.verdict = make("span", { class: "verdict" }, icon("slides"), make("span", { class: "visually-hidden", text: "Waiting" }));
    this.mount = make("span", { class: "thumb" }, icon("slides"));
    this.facts = make("span", { class: "facts", text: "Waiting" });
    this.score = make("span", { class: "score" });
    this.toggle = make(
      "button",
      { class: "tool", type: "button", "aria-expanded": "false", "aria-label": `Results of ${slide.name}`, on: { click: () => this.#turn() } },
      icon("chevron"),
    );
    this.#groups = make("div", { class: "groups" });
    this.#reasons = make("ul", { class: "reasons" });
    this.body = make("div", { class: "body", hidden: true }, this.#reasons, this.#groups);
    this.element = make(
      "li",
      { class: "slide waiting" },
      make("div", { class: "head" }, this.verdict, this.mount, make("span", { class: "about" }, this.#name(), this.facts), this.score, this.toggle),
      this.body,
    );
  }

  /** Ask for everything. Ends early, and without a verdict, when `signal` says so. */
  async run(signal) {
    this.failed = false;
    this.#dropped = false;
    this.#groups.replaceChildren();
    this.#reasons.replaceChildren();
    this.#become("running");
    this.open(true);
    const results = [];
    try {
      const info = await this.#info(results, signal);
      if (info) await this.#pictures(info, results, signal);
    } catch (error) {
      if (!signal.aborted) throw error;
      for (const cell of this.#groups.querySelectorAll(".pending")) cell.remove();
      this.#become("waiting");
      this.score.textContent = "Stopped";
      return;
    }
    const good = results.filter((each) => each.outcome === "passed").length;
    const asked = results.filter((each) => each.outcome !== "absent").length;
    const took = results.reduce((sum, each) => sum + each.ms, 0);
    this.failed = good < asked;
    this.score.textContent = `${good} of ${asked}, ${milliseconds(took)}`;
    this.#become(this.failed ? "failed" : "passed");
  }

  open(open) {
    this.body.hidden = !open;
    this.toggle.setAttribute("aria-expanded", String(open));
  }

  /** Closes, and lets go of all pictures: thousands of slides are more than a page can hold. */
  drop() {
    this.open(false);
    this.#groups.replaceChildren();
    this.#dropped = true;
  }

  #name() {
    const { id, name } = this.slide;
    // A bearer token does not travel with a link.
    if (page.login === "token" || page.viewer === false) return make("span", { class: "name", text: name, title: id });
    return make("a", { class: "name", href: address(`/slides/${encodeURIComponent(id)}/viewer`), text: name, title: id });
  }

  #turn() {
    const open = this.body.hidden;
    this.open(open);
    if (!open || !this.#dropped) return;
    this.#controller?.abort();
    this.#controller = new AbortController();
    this.#record = () => {}; // it has been counted
    void this.run(this.#controller.signal);
  }

  #become(what) {
    this.element.className = `slide ${what}`;
    const words = { waiting: "Waiting", running: "Being checked", passed: "Passed", failed: "Failed" };
    this.verdict.replaceChildren(icon(SYMBOLS[what] ?? "slides"), make("span", { class: "visually-hidden", text: words[what] }));
  }

  #note(results, name, result) {
    results.push(result);
    this.#record({ slide: this.slide.id, check: name, ...result });
    if (result.outcome === "failed")
      this.#reasons.append(make("li", {}, make("strong", { text: name }), make("span", { text: result.reason })));
  }

  async #info(results, signal) {
    let info = null;
    let result;
    try {
      const { value, status, ms, bytes } = await this.#server.json("/v3/slides/info", { slide_id: this.slide.id }, signal);
      const wrong = wrongFacts(value);
      result = { outcome: wrong ? "failed" : "passed", reason: wrong ?? "", status, ms, bytes };
      if (!wrong) info = value;
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      result = { outcome: "failed", reason: error.message, status: error.status, ms: error.ms, bytes: 0 };
    }
    this.#note(results, "Info", result);
    if (!info) this.facts.textContent = "Cannot be read";
    else this.#describe(info, result.ms);
    return info;
  }

  #describe(info, ms) {
    const channels = isVector(info) ? "vector tiles" : `${info.channels?.length ?? 0} × ${info.channel_depth} bit`;
    const parts = [pixels(info.extent.x, info.extent.y), info.extent.z > 1 ? `${info.extent.z} planes` : "", channels, info.format];
    this.facts.replaceChildren(
      ...parts.filter(Boolean).map((text) => make("span", { text })),
      make("span", { class: "took", text: `info ${milliseconds(ms)}` }),
    );
  }

  async #pictures(info, results, signal) {
    const jobs = [];
    for (const group of plan(info, this.#limits)) {
      const cells = make("ul", { class: "cells" });
      for (const check of group.checks) {
        const name = group.title === "Slide" ? check.name : `${group.title}, ${check.name.toLowerCase()}`;
        const cell = new Cell(check.name, name, check.path);
        cells.append(cell.element);
        jobs.push(async () => {
          const result = await carryOut(this.#server, this.slide.id, check, signal);
          cell.show(result);
          this.#note(results, name, result);
          if (check.name === "Thumbnail" && result.outcome === "passed") await fill(this.mount, result.body);
        });
      }
      this.#groups.append(make("section", { class: "group" }, make("h4", {}, make("span", { text: group.title }), make("small", { text: group.about })), cells));
    }
    const next = async () => {
      for (let job = jobs.shift(); job; job = jobs.shift()) await job();
    };
    await Promise.all(Array.from({ length: TOGETHER }, next));
  }
}

class Cell {
  #label;
  #path;
  #result = null;

  constructor(short, label, path) {
    this.#label = label;
    this.#path = path;
    this.mount = make("span", { class: "mount" });
    this.took = make("span", { class: "took" });
    this.button = make(
      "button",
      { type: "button", disabled: true, on: { click: () => showPicture(this.#label, this.#path, this.#result) } },
      this.mount,
      make("span", { class: "what", text: short }),
      this.took,
    );
    this.element = make("li", { class: "cell pending" }, this.button);
  }

  show(result) {
    this.#result = result;
    this.element.className = `cell ${result.outcome}`;
    this.took.replaceChildren(icon(SYMBOLS[result.outcome]), make("span", { text: result.outcome === "absent" ? "not there" : milliseconds(result.ms) }));
    this.button.disabled = false;
    this.button.title = result.reason || result.size;
    if (result.size) void fill(this.mount, result.body);
    else this.mount.replaceChildren(icon(result.outcome === "failed" ? "alert" : result.body ? "area" : "minus"));
  }
}

/** Shows a picture that is known to be one. */
async function fill(mount, body) {
  const url = URL.createObjectURL(body);
  const image = make("img", { alt: "", src: url });
  try {
    await image.decode();
    mount.replaceChildren(image);
  } catch {
    // It was decoded before; should there be no memory for it now, the verdict still stands.
  } finally {
    URL.revokeObjectURL(url);
  }
}

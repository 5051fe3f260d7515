// A series: its images as a stack with window and level, or what else is in it; its attributes beside.

import { ApiError } from "../shared/api.js";
import { icon, make } from "../shared/dom.js";
import { count, power } from "../shared/format.js";
import { page } from "../shared/page.js";
import { date, first, number, text } from "../dicom/elements.js";
import { askJson, dicomPath, save } from "../dicom/server.js";
import { refusal } from "../dicom/refusal.js";
import { Attributes } from "./attributes.js";
import { Frames, listInstances } from "./frames.js";
import { edges, reader, shaded, wholeRange } from "./image.js";
import { otherThanPicture } from "./other.js";
import { addressOf, ohifAddress } from "./place.js";
import { Stage } from "./stage.js";

const CT = [
  ["Abdomen", 40, 400],
  ["Lung", -600, 1500],
  ["Bone", 480, 2500],
  ["Brain", 40, 80],
];
const KEYS = [
  ["↑ ↓ or wheel", "image before or after"],
  ["Page ↑ ↓", "ten images"],
  ["Home, End", "first, last image"],
  ["drag", "window and level"],
  ["shift + drag", "move"],
  ["ctrl + wheel, + −", "zoom"],
  ["1 to 9", "preset of the window"],
  ["I", "invert"],
  ["R", "reset"],
  ["space", "play"],
  ["D", "attributes"],
];

export async function showSeries(view, place, { signal }) {
  const [series, instances] = await Promise.all([
    askJson(`${dicomPath(place.study)}/series`, { SeriesInstanceUID: place.series, includefield: "00100010,00081030" }, signal),
    listInstances(place.study, place.series, signal),
  ]);
  if (!series.length || !instances.length) throw new ApiError("missing", "There is no such series. It may have been removed, or never have been here.", 404);
  const viewer = new Viewer(view, place, new Frames(place.study, place.series, instances, signal), signal);
  viewer.describe(series[0]);
  await viewer.show(Math.min(place.image, viewer.frames.count));
  if (text(series[0], "00080060") === "SM") void viewer.offerSlide();
}

class Viewer {
  #window = null;
  #chosen = false;
  #inverted = false;
  #image = 0;
  #step = 1;
  #shown = null;
  #timer = 0;
  #presets = [];

  constructor(view, place, frames, signal) {
    this.frames = frames;
    this.place = place;
    this.signal = signal;
    this.#build(view);
    this.stage = new Stage(this.canvas);
    this.stage.onScroll = (steps) => this.go(this.#image + steps);
    this.stage.onWindow = (dx, dy) => this.#drag(dx, dy);
    this.stage.onMoved = () => this.#showScale();
    this.stage.onPoint = (at) => this.#showPoint(at);
    document.addEventListener("keydown", (event) => this.#key(event), { signal });
    signal.addEventListener("abort", () => this.#pause());
  }

  #build(view) {
    const tool = (name, label, action, extra = {}) => make("button", { class: "tool", type: "button", "aria-label": label, title: label, on: { click: action }, ...extra }, icon(name));
    this.canvas = make("canvas", { class: "picture", tabindex: "0", role: "img", "aria-label": "Image" });
    this.corners = Object.fromEntries(["top-left", "top-right", "bottom-left", "bottom-right"].map((name) => [name, make("div", { class: `said ${name}` })]));
    this.letters = Object.fromEntries(["left", "right", "top", "bottom"].map((name) => [name, make("span", { class: `letter ${name}` })]));
    this.instead = make("div", { class: "instead", hidden: true });
    this.slider = make("input", { type: "range", min: 1, max: this.frames.count, value: 1, "aria-label": "Image of the series", on: { input: () => this.go(Number(this.slider.value)) } });
    this.playing = tool("play", "Play", () => this.#toggle());
    this.presets = make("select", { "aria-label": "Window", on: { change: () => this.#preset(Number(this.presets.value)) } });
    this.ohifLink = make("a", { class: "tool", text: "OHIF", title: "Open the study in OHIF", hidden: !page.ohif });
    this.presetBox = make("label", { class: "preset" }, make("span", { text: "Window" }), this.presets);
    this.invert = tool("compare", "Invert (I)", () => this.#flip(), { "aria-pressed": "false" });
    this.resetButton = tool("undo", "Reset (R)", () => this.#reset());
    this.panelButton = tool("info", "Attributes (D)", () => this.#togglePanel(), { "aria-pressed": "true" });
    this.title = make("h1");
    this.subtitle = make("a", { href: addressOf({ study: this.place.study }), "data-place": "" });
    this.slideLink = make("a", { class: "button primary", hidden: true }, icon("slides"), "Open as a slide");
    this.attributes = new Attributes();
    const keys = make("dl", { class: "keys" }, ...KEYS.flatMap(([key, what]) => [make("dt", {}, make("kbd", { text: key })), make("dd", { text: what })]));
    this.panel = make("aside", { class: "panel", "aria-label": "Attributes" }, this.attributes.element, make("details", {}, make("summary", { text: "Keys and mouse" }), keys));
    const theme = make("button", { class: "tool", type: "button", "aria-label": "Dark or light theme", title: "Dark or light theme", on: { click: () => document.querySelector('[data-action="theme"]').click() } });
    for (const [symbol, when] of [["moon", "when-light"], ["sun", "when-dark"]]) {
      const picture = icon(symbol);
      picture.classList.add(when);
      theme.append(picture);
    }
    this.bar = make(
      "header",
      { class: "bar" },
      make("a", { class: "tool", href: addressOf({ study: this.place.study }), "data-place": "", "aria-label": "Back to the study", title: "Back to the study" }, icon("back")),
      make("div", { class: "title" }, this.title, make("p", {}, this.subtitle)),
      make(
        "div",
        { class: "bar-tools" },
        this.slideLink,
        this.presetBox,
        this.invert,
        this.resetButton,
        make("button", { class: "tool", type: "button", title: "Save this object as a DICOM file", "aria-label": "Save this object as a DICOM file", text: "DICOM", on: { click: () => this.#save() } }),
        this.ohifLink,
        theme,
        this.panelButton,
      ),
    );
    const foot = make("div", { class: "steps" }, this.playing, this.slider);
    foot.hidden = this.frames.count < 2;
    this.box = make("section", { class: "stack", "aria-label": "Images" }, this.canvas, ...Object.values(this.letters), ...Object.values(this.corners), this.instead, foot);
    view.replaceChildren(make("div", { class: "series-view with-panel" }, this.bar, this.box, this.panel));
    this.root = view.firstElementChild;
    if (innerWidth < 900) this.#togglePanel();
  }

  describe(series) {
    this.modality = text(series, "00080060");
    this.ohifLink.href = ohifAddress(this.place.study, [this.modality]);
    const name = text(series, "0008103E") || "No description";
    this.title.textContent = name;
    const who = text(series, "00100010") || "No name";
    this.subtitle.textContent = [who, text(series, "00081030"), date(first(series, "00080021") ?? first(series, "00080020"))].filter(Boolean).join(" · ");
    document.title = `${name} · ${who} · microtome`;
  }

  /** Whole slides have a viewer of their own. */
  async offerSlide() {
    try {
      const [study, series] = [this.place.study, this.place.series];
      const { slide_id: id } = await askJson("/studies/slide", { study, series }, this.signal);
      if (!id) return;
      this.slideLink.href = `${page.base}/view/${encodeURIComponent(id)}${page.query ? `?${page.query}` : ""}`;
      this.slideLink.hidden = false;
    } catch (error) {
      if (error.name !== "AbortError" && !(error instanceof ApiError)) throw error;
      // No slide then; the frames are shown all the same.
    }
  }

  /** Show an image of the series, from 1. */
  go(image) {
    const wanted = Math.min(this.frames.count, Math.max(1, image));
    if (wanted === this.#image) return;
    this.#step = wanted > this.#image ? 1 : -1;
    void this.show(wanted);
  }

  async show(image) {
    this.#image = image;
    this.slider.value = image;
    this.corners["bottom-right"].textContent = `${count(image)} / ${count(this.frames.count)}`;
    history.replaceState(null, "", addressOf({ ...this.place, image }));
    this.box.setAttribute("aria-busy", "true");
    let found;
    try {
      found = await this.frames.get(image);
    } catch (error) {
      if (this.signal.aborted || error.name === "AbortError" || image !== this.#image) return;
      if (!(error instanceof ApiError)) throw error;
      if (error.kind === "unauthorised") throw error;
      this.#replace(refusal(error, () => void this.show(image), "This image cannot be shown"));
      const { sop, frame } = this.frames.at(image);
      this.frames.header(sop).then((header) => this.attributes.show(header, frame), () => null);
      return;
    }
    if (this.signal.aborted || image !== this.#image) return; // the person has gone on
    this.box.removeAttribute("aria-busy");
    const fresh = this.#shown === null;
    this.#shown = found;
    this.attributes.show(found.header, found.frame);
    if (!found.facts.picture) {
      this.#replace(await otherThanPicture(found.header, this.frames.pathOf(found.sop), this.signal));
      return;
    }
    this.#pictured(true);
    this.#offerPresets(found);
    if (!this.#chosen) this.#window = found.samples ? (this.#presets[0] ?? null) : null;
    this.#draw();
    this.#showEdges(found.facts.orientation);
    if (fresh) this.stage.fit();
    this.frames.prepare(image, this.#step);
    this.box.dataset.image = image;
  }

  #replace(element) {
    this.box.removeAttribute("aria-busy");
    this.stage.clear();
    for (const corner of ["top-left", "top-right", "bottom-left"]) this.corners[corner].textContent = "";
    this.instead.replaceChildren(element);
    this.#pictured(false);
    this.#showEdges([]);
    this.box.dataset.image = this.#image;
  }

  #pictured(is) {
    this.instead.hidden = is;
    for (const element of [this.presetBox, this.invert, this.resetButton]) element.hidden = !is;
  }

  #draw() {
    const { facts, samples, bitmap } = this.#shown;
    const picture = samples ? shaded(facts, samples, this.#window, this.#inverted) : bitmap;
    this.stage.show(picture, facts);
    this.canvas.style.filter = !samples && this.#inverted ? "invert(1)" : "";
    this.#showScale();
    this.corners["top-left"].textContent = facts.columns && `${count(facts.columns)} × ${count(facts.rows)} px`;
  }

  // -- the window -----------------------------------------------------------------------------------------------------

  #offerPresets({ facts, samples }) {
    this.presets.disabled = !samples;
    if (!samples) {
      this.#presets = [];
      this.presets.replaceChildren(make("option", { text: facts.grey ? "As stored" : "Colour" }));
      return;
    }
    const own = facts.windows;
    const usual = this.modality === "CT" && facts.unit === "HU" ? CT.map(([name, center, width]) => ({ name, center, width, shape: "LINEAR" })) : [];
    const whole = wholeRange(facts, samples);
    this.#presets = own.length ? [...own, whole, ...usual] : [whole, ...usual];
    const names = this.#presets.map(({ name }) => name).join("\n");
    if (this.presets.dataset.names === names) return;
    this.presets.dataset.names = names;
    this.presets.replaceChildren(...this.#presets.map(({ name }, index) => make("option", { value: index, text: name })), make("option", { value: -1, text: "By hand", hidden: true }));
    this.presets.value = this.#chosen ? "-1" : "0";
  }

  #preset(index) {
    const chosen = this.#presets[index];
    if (!chosen) return;
    this.#window = chosen;
    this.#chosen = index > 0;
    this.presets.value = index;
    this.#draw();
  }

  #drag(dx, dy) {
    if (!this.#shown?.samples) return;
    const speed = Math.max(this.#window.width, 1e-6) / 400;
    this.#window = { ...this.#window, center: this.#window.center + dy * speed, width: Math.max(this.#window.width + dx * speed, this.#shown.facts.slope / 10), name: "By hand" };
    this.#chosen = true;
    this.presets.value = "-1";
    this.#draw();
  }

  #flip() {
    this.#inverted = !this.#inverted;
    this.invert.setAttribute("aria-pressed", String(this.#inverted));
    if (this.#shown?.facts.picture) this.#draw();
  }

  #reset() {
    this.#chosen = false;
    this.#inverted = false;
    this.invert.setAttribute("aria-pressed", "false");
    if (this.#presets.length) this.#preset(0);
    else if (this.#shown?.bitmap) this.#draw();
    this.stage.fit();
  }

  // -- what is said about it --------------------------------------------------------------------------------------------

  #showScale() {
    if (!this.#shown?.facts.picture) return;
    const parts = [];
    if (this.#shown.samples && this.#window) {
      const digits = this.#window.width < 20 ? 2 : 0;
      parts.push(`W ${this.#window.width.toFixed(digits)}  L ${this.#window.center.toFixed(digits)}`);
    }
    parts.push(power(this.stage.scale));
    this.corners["bottom-left"].textContent = parts.join("   ");
  }

  #showPoint(at) {
    const corner = this.corners["top-right"];
    if (!at || !this.#shown?.samples) {
      corner.textContent = "";
      return;
    }
    const { facts, samples } = this.#shown;
    const value = reader(facts)(samples[at.y * facts.columns + at.x]);
    corner.textContent = `${at.x}, ${at.y}: ${Number(value.toPrecision(6))}${facts.unit ? ` ${facts.unit}` : ""}`;
  }

  #showEdges(orientation) {
    const found = edges(orientation);
    for (const [side, letter] of Object.entries(this.letters)) letter.textContent = found?.[side] ?? "";
  }

  #togglePanel() {
    const shown = this.root.classList.toggle("with-panel");
    this.panel.hidden = !shown;
    this.panelButton.setAttribute("aria-pressed", String(shown));
  }

  #save() {
    if (!this.#shown) return;
    void save(this.frames.pathOf(this.#shown.sop), "application/dicom; transfer-syntax=*", `${this.#shown.sop}.dcm`);
  }

  // -- playing and keys -------------------------------------------------------------------------------------------------

  #toggle() {
    if (this.#timer) this.#pause();
    else this.#play();
  }

  #play() {
    const header = this.#shown?.header;
    const every = number(header, "00181063") || 1000 / (number(header, "00180040") || number(header, "00082144") || 15);
    this.playing.replaceChildren(icon("pause"));
    this.playing.setAttribute("aria-label", "Pause");
    const tick = async () => {
      const next = this.#image >= this.frames.count ? 1 : this.#image + 1;
      await this.show(next);
      if (this.#timer) this.#timer = setTimeout(tick, Math.min(Math.max(every, 16), 5000));
    };
    this.#timer = setTimeout(tick, 0);
  }

  #pause() {
    clearTimeout(this.#timer);
    this.#timer = 0;
    this.playing.replaceChildren(icon("play"));
    this.playing.setAttribute("aria-label", "Play");
  }

  #key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input:not([type=range]), select, textarea")) return;
    const steps = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1, PageDown: 10, PageUp: -10, Home: -Infinity, End: Infinity };
    const actions = { i: () => this.#flip(), r: () => this.#reset(), d: () => this.#togglePanel(), " ": () => this.#toggle(), "+": () => this.stage.zoomBy(1.25), "=": () => this.stage.zoomBy(1.25), "-": () => this.stage.zoomBy(0.8) };
    if (event.key === " " && event.target.closest("button, summary, a")) return;
    if (event.key in steps) this.go(this.#image + steps[event.key]);
    else if (/^[1-9]$/.test(event.key)) this.#preset(Number(event.key) - 1);
    else if (actions[event.key.toLowerCase()]) actions[event.key.toLowerCase()]();
    else return;
    event.preventDefault();
  }
}

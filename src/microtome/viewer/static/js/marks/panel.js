// Annotations and segmentations in the panel: what there is, what of it is shown, how strongly.

import { icon, make } from "../shared/dom.js";
import { count } from "../shared/format.js";
import { groupKind, groupTitle } from "./annotations.js";
import { chip } from "./labels.js";

const MOST_ROWS = 200;

export class MarkPanel {
  #undo = [];

  constructor(element) {
    this.element = element;
  }

  /** The overlays of a pane; to be called again when they are there. */
  show(pane) {
    for (const undo of this.#undo) undo();
    this.#undo = [];
    const { marks } = pane;
    this.element.hidden = marks.length === 0;
    this.element.replaceChildren(
      make("div", { class: "section-head" }, make("h3", { text: "Annotations" }), make("span", { class: "quiet", text: "DICOM" })),
      ...marks.map((overlay) => this.#card(overlay)),
    );
  }

  #card(overlay) {
    const { told } = overlay;
    const title = told.label || (told.kind === "segments" ? "Segmentation" : "Annotations");
    const seen = make("input", { type: "checkbox", class: "switch", "aria-label": `Show ${title}`, on: { change: () => overlay.show(seen.checked) } });
    seen.checked = overlay.visible;
    const output = make("output", {});
    const opacity = make("input", { type: "range", class: "slider", min: 0, max: 1, step: 0.05, "aria-label": `Opacity of ${title}` });
    opacity.value = String(overlay.opacity);
    const tell = () => (output.textContent = `${Math.round(opacity.value * 100)}%`);
    opacity.addEventListener("input", () => {
      overlay.fade(Number(opacity.value));
      tell();
    });
    tell();
    const notice = make("div", { class: "shape-notice", role: "status", hidden: true });
    const onState = () => {
      notice.hidden = !overlay.message;
      notice.replaceChildren(icon("alert"), make("span", { text: overlay.message }), make("button", { type: "button", class: "mini", text: "Try again", on: { click: () => overlay.retry() } }));
    };
    overlay.addEventListener("state", onState);
    this.#undo.push(() => overlay.removeEventListener("state", onState));
    onState();
    const card = make(
      "div",
      { class: "mark" },
      make("div", { class: "set" }, seen, make("span", { class: "set-name", title: told.description || told.id }, make("strong", { text: title }), make("span", { text: summary(told) }))),
      notice,
      make("div", { class: "row" }, make("span", { class: "row-name", text: "Opacity" }), opacity, output),
      make("div", { class: "mark-parts" }, ...(told.kind === "segments" ? this.#segments(overlay) : this.#groups(overlay))),
    );
    return card;
  }

  #groups(overlay) {
    return overlay.told.groups.slice(0, MOST_ROWS).map((group) => {
      const title = groupTitle(group);
      const box = make("input", { type: "checkbox", "aria-label": `Show ${title}` });
      box.checked = overlay.isChosen(group.number);
      box.addEventListener("change", () => overlay.choose(group.number, box.checked));
      const swatch = make("input", { type: "color", class: "swatch", value: overlay.colors[group.layers[0]], "aria-label": `Colour of ${title}` });
      swatch.addEventListener("input", () => overlay.recolor(group.number, swatch.value));
      return part(box, swatch, title, group.property === title ? "" : group.property, `${count(group.count)} ${groupKind(group)}${group.count === 1 ? "" : "s"}`);
    });
  }

  #segments(overlay) {
    return overlay.told.segments.slice(0, MOST_ROWS).map((segment) => {
      const title = segment.label || `Segment ${segment.number}`;
      const box = make("input", { type: "checkbox", "aria-label": `Show ${title}` });
      box.checked = !overlay.hidden.has(segment.number);
      box.addEventListener("change", () => overlay.choose(segment.number, box.checked));
      return part(box, chip(segment.color), title, segment.property === title ? "" : segment.property, "");
    });
  }
}

function part(box, color, title, detail, number) {
  return make(
    "div",
    { class: "mark-part" },
    box,
    color,
    make("span", { class: "set-name", title: detail ? `${title}: ${detail}` : title }, make("span", { class: "mark-title", text: title }), detail ? make("span", { text: detail }) : null),
    number ? make("span", { class: "mark-count", text: number }) : null,
  );
}

function summary(told) {
  if (told.kind === "segments") return `${count(told.segments.length)} segment${told.segments.length === 1 ? "" : "s"}`;
  const all = told.groups.reduce((sum, group) => sum + group.count, 0);
  return `${count(all)} annotation${all === 1 ? "" : "s"} in ${count(told.groups.length)} group${told.groups.length === 1 ? "" : "s"}`;
}

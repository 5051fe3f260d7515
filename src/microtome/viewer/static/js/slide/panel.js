// The panel beside the slide: its facts, label and macro, measurements, properties of the file.

import { associatedAddress } from "../shared/api.js";
import { icon, make } from "../shared/dom.js";
import { count, length, pixels, power, resolution } from "../shared/format.js";
import { redaction, tellsLabel, tellsPatient } from "../shared/redaction.js";
import { describe } from "./measure.js";

const find = (id) => document.getElementById(id);
const FIRST = ["label", "macro"];

/** Fill the panel for a slide; the table of levels came with the page for the first one. */
export function showFacts(slide) {
  const size = slide.mpp ? `${length(slide.width * slide.mpp.x)} × ${length(slide.height * slide.mpp.y)}` : "";
  const facts = [
    ["Dimensions", `${pixels(slide.width, slide.height)} px`],
    ["Focal planes", slide.focalPlanes > 1 ? count(slide.focalPlanes) : ""],
    ["Time points", slide.timePoints > 1 ? count(slide.timePoints) : ""],
    ["Channels", slide.hasChannels ? slide.channels.map(({ name }) => name).join(", ") : ""],
    ["Samples", slide.hasChannels && slide.dtype !== "uint8" ? slide.dtype : ""],
    ["Physical size", size],
    ["Resolution", resolution(slide.mpp?.x, slide.mpp?.y) || (slide.set ? "" : "not in the file")],
    ["Objective", slide.powerIsKnown ? power(slide.power) : slide.power ? `about ${power(Number(slide.power.toPrecision(2)))}` : slide.set ? "" : "not in the file"],
    ["Format", slide.set ? "Vector tiles" : slide.format],
    ["Vendor", slide.vendor ?? ""],
    ["ICC profile", slide.set ? "" : slide.icc ? "embedded" : "none"],
    ["Id", slide.id],
  ];
  find("facts").replaceChildren(
    ...facts.filter(([, value]) => value).flatMap(([name, value]) => [make("dt", { text: name }), make("dd", { text: value })]),
  );
  find("level-rows").replaceChildren(
    ...slide.levels.map((level) =>
      make(
        "tr",
        {},
        make("td", { text: level.level }),
        make("td", { text: pixels(level.width, level.height) }),
        make("td", { text: `${Number(level.downsample.toPrecision(4))}×` }),
        make("td", { text: `${level.tile_width} × ${level.tile_height}` }),
      ),
    ),
  );
  find("level-title").textContent = slide.levels.length === 1 ? "One level, no pyramid" : `${slide.levels.length} pyramid levels`;
  find("panel-name").textContent = slide.name;
  showAssociated(slide);
  showProperties(slide);
}

function showAssociated(slide) {
  const rank = (name) => (FIRST.includes(name) ? FIRST.indexOf(name) : FIRST.length);
  const images = [...slide.associated].sort((a, b) => rank(a.name) - rank(b.name));
  find("associated-section").hidden = images.length === 0;
  find("associated").replaceChildren(
    ...images.map((image) => {
      if (redaction.on && tellsLabel(image.name)) return hiddenPicture(image);
      const picture = make("img", { src: associatedAddress(slide.id, image.name), alt: "", loading: "lazy", width: image.width, height: image.height });
      const button = make(
        "button",
        { type: "button", class: "associated", title: `Show the ${image.name} large`, on: { click: () => enlarge(slide, image) } },
        picture,
        make("span", { class: "associated-name" }, make("span", { text: image.name }), make("span", { text: pixels(image.width, image.height) })),
      );
      picture.addEventListener("error", () => {
        picture.replaceWith(make("span", { class: "associated-missing", text: "cannot be shown" }));
        button.disabled = true;
      });
      return button;
    }),
  );
}

function hiddenPicture(image) {
  return make(
    "div",
    { class: "associated hidden-picture" },
    make("span", { class: "associated-missing" }, icon("hidden"), make("span", { text: "hidden" })),
    make("span", { class: "associated-name" }, make("span", { text: image.name }), make("span", { text: pixels(image.width, image.height) })),
  );
}

function enlarge(slide, image) {
  const dialog = find("picture-dialog");
  find("picture-title").textContent = `${image.name} of ${slide.name}`;
  find("picture").replaceChildren(
    make("img", { src: associatedAddress(slide.id, image.name), alt: `${image.name} of the slide`, width: image.width, height: image.height }),
  );
  dialog.showModal();
}

function showProperties(slide) {
  const all = Object.entries(slide.properties);
  find("properties-section").hidden = all.length === 0;
  const filter = find("property-filter");
  const draw = () => {
    const wanted = filter.value.trim().toLowerCase();
    const entries = all.map(([name, value]) => [name, redaction.on && tellsPatient(name) ? "hidden" : value]);
    const shown = entries.filter(([name, value]) => !wanted || `${name} ${value}`.toLowerCase().includes(wanted));
    find("properties").replaceChildren(
      ...shown.flatMap(([name, value]) => [make("dt", { text: name }), make("dd", { text: value })]),
    );
    find("properties-none").hidden = shown.length > 0;
  };
  filter.value = "";
  filter.oninput = draw;
  draw();
}

/** The list of measurements of a pane's drawing layer. */
export function showMeasurements(measure) {
  const { shapes, pane } = measure;
  find("measure-hint").hidden = shapes.length > 0;
  find("measure-clear").hidden = shapes.length === 0;
  find("measure-clear").onclick = () => measure.clear();
  find("measurements").replaceChildren(
    ...shapes.map((shape) => {
      const { title, value, detail } = describe(shape, pane.slide.mpp);
      const act = (label, symbol, click) => make("button", { type: "button", class: "tool", "aria-label": label, title: label, on: { click } }, icon(symbol));
      return make(
        "li",
        {},
        icon(shape.kind === "line" ? "ruler" : "area"),
        make("span", { class: "measurement" }, make("strong", { text: value }), make("span", { text: [title, detail].filter(Boolean).join(", ") })),
        act(`Go to ${title.toLowerCase()} ${value}`, "locate", () => measure.show(shape)),
        act(`Remove ${title.toLowerCase()} ${value}`, "trash", () => measure.remove(shape)),
      );
    }),
  );
}

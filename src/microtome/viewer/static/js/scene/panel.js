// What is in the scene, and how it is shown: volumes, segments, markups, and loading.

import { icon, make, toast } from "../shared/dom.js";
import * as server from "./server.js";

const SAMPLES = [["CTChest", "CT chest with organs"], ["MRHead", "MR head"]];

/** Lists of the scene. `room`: redraw(), chosen(volume), layers(). */
export class Panel {
  constructor(element, room) {
    this.room = room;
    this.element = element;
    this.parts = {};
    this.measured = new Map();
    for (const [name, title] of [["load", "Load"], ["volumes", "Volumes"], ["segments", "Segmentations"], ["markups", "Markups"], ["others", "Models and transforms"]]) {
      this.parts[name] = make("div", { class: "part-body" });
      element.append(make("details", { class: "part", "data-part": name, open: true }, make("summary", { text: title }), this.parts[name]));
    }
    this.#load();
  }

  async refresh() {
    const [volumes, segmentations, markups, nodes, layers] = await Promise.all([
      server.get("/nodes", { class_name: "vtkMRMLVolumeNode" }),
      server.get("/segmentations"),
      server.get("/markups"),
      server.get("/nodes", { class_name: "vtkMRMLDisplayableNode" }),
      server.get("/slices/Red"),
    ]);
    await this.#volumes(volumes, layers);
    this.#segments(segmentations);
    this.#markups(markups);
    await this.#others(nodes);
    this.element.dataset.ready = "true";
  }

  #load() {
    const input = make("input", { type: "file", multiple: true, class: "visually-hidden", id: "files", on: { change: (event) => void this.upload([...event.target.files]) } });
    this.parts.load.append(
      make("div", { class: "row wrap" }, make("label", { class: "button", for: "files" }, icon("folder"), make("span", { text: "Files" })), input,
        ...SAMPLES.map(([name, text]) => make("button", { class: "button", type: "button", text, "data-sample": name, on: { click: (event) => void this.#sample(name, event.currentTarget) } }))),
      make("p", { class: "hint", text: "Or drop files on the page: nrrd, nii, mha, seg.nrrd, stl, ply, obj, vtk, mrk.json, tfm, mrb" }),
    );
  }

  async #sample(name, button) {
    button.disabled = true;
    try {
      await server.post(`/samples/${server.id(name)}`);
      await this.room.arrived();
    } catch (error) {
      toast(error.message, "alert");
    } finally {
      button.disabled = false;
    }
  }

  async upload(files) {
    for (const file of files) {
      try {
        toast(`Loading ${file.name} …`, "folder");
        await server.upload(file);
        toast(`${file.name} is loaded`);
      } catch (error) {
        toast(`${file.name}: ${error.message}`, "alert");
      }
    }
    await this.room.arrived();
  }

  async #act(work) {
    try {
      await work();
    } catch (error) {
      toast(error.message, "alert");
    }
    this.room.redraw();
    await this.refresh();
  }

  async #volumes(volumes, layers) {
    const rows = await Promise.all(volumes.map((volume) => this.#volume(volume, layers)));
    this.parts.volumes.replaceChildren(...(rows.length ? rows : [none("No volume is loaded")]));
    if (layers.foreground) {
      this.parts.volumes.append(slider("Foreground", layers.foreground_opacity, (value) => this.#soon(() => server.patch("/layers", { foreground_opacity: value }))));
    }
  }

  async #volume(volume, layers) {
    const label = volume.class_name === "vtkMRMLLabelMapVolumeNode";
    const place = label ? "label" : "background";
    const shown = layers[place] === volume.id;
    const head = make(
      "div",
      { class: "row" },
      toggle(shown, `Show ${volume.name}`, () => this.#act(() => server.patch("/layers", { [place]: shown ? "" : volume.id }))),
      name(volume, (text) => this.#act(() => server.patch(`/nodes/${server.id(volume.id)}`, { name: text }))),
      label ? null : toggle(layers.foreground === volume.id, `${volume.name} in front`, () => this.#act(() => server.patch("/layers", { foreground: layers.foreground === volume.id ? "" : volume.id, ...(layers.foreground ? {} : { foreground_opacity: 0.5 }) })), "layers"),
      drop(`Remove ${volume.name}`, () => this.#act(() => server.remove(`/nodes/${server.id(volume.id)}`))),
    );
    const row = make("div", { class: "item", "data-node": volume.id }, head);
    if (!shown || label) return row;
    const [display, rendering] = await Promise.all([server.get(`/volumes/${server.id(volume.id)}/display`), server.get(`/volumes/${server.id(volume.id)}/rendering`)]);
    this.room.display = display;
    const path = `/volumes/${server.id(volume.id)}`;
    row.append(
      make("div", { class: "row wrap" },
        number("Window", display.window, (value) => this.#act(() => server.patch(`${path}/display`, { window: value }))),
        number("Level", display.level, (value) => this.#act(() => server.patch(`${path}/display`, { level: value })))),
      make("div", { class: "row wrap" },
        choice("Preset", ["", "Automatic", ...display.presets], "", (value) => value && this.#act(() => server.patch(`${path}/display`, value === "Automatic" ? { automatic: true } : { preset: value }))),
        choice("Colours", ["Grey", "InvertedGrey", "Rainbow", "Iron", "Ocean", "Desert", "PET-Heat"], display.colors, (value) => this.#act(() => server.patch(`${path}/display`, { colors: value })))),
      make("div", { class: "row wrap" },
        toggle(rendering.visible, "Volume rendering", () => this.#act(() => server.patch(`${path}/rendering`, { visible: !rendering.visible })), "shapes", "In 3D"),
        choice("3D preset", ["", ...rendering.presets], rendering.preset ?? "", (value) => value && this.#act(() => server.patch(`${path}/rendering`, { preset: value, visible: true })))),
    );
    if (rendering.visible) row.append(slider("Shift", rendering.shift, (value) => this.#soon(() => server.patch(`${path}/rendering`, { shift: value })), -500, 500));
    return row;
  }

  #segments(segmentations) {
    const rows = segmentations.map((each) => {
      const path = `/segmentations/${server.id(each.id)}`;
      const volumes = make("output", { class: "hint" });
      return make(
        "div",
        { class: "item", "data-node": each.id },
        make("div", { class: "row" },
          toggle(each.visible, `Show ${each.name}`, () => this.#act(() => server.patch(path, { visible: !each.visible }))),
          name(each, (text) => this.#act(() => server.patch(path, { name: text }))),
          toggle(each.surfaces, `${each.name} in 3D`, () => this.#act(() => server.patch(path, { surfaces: !each.surfaces })), "shapes", "3D"),
          drop(`Remove ${each.name}`, () => this.#act(() => server.remove(`/nodes/${server.id(each.id)}`)))),
        make("ul", { class: "segments" }, ...each.segments.map((segment) => this.#segment(path, segment))),
        make("button", { class: "chip", type: "button", text: "Measure", on: { click: () => void this.#measure(path, volumes) } }),
        volumes,
      );
    });
    this.parts.segments.replaceChildren(...(rows.length ? rows : [none("No segmentation is loaded")]));
  }

  #segment(path, segment) {
    const at = `${path}/segments/${server.id(segment.id)}`;
    return make(
      "li",
      { class: "row", "data-segment": segment.id },
      toggle(segment.visible, `Show ${segment.name}`, () => this.#act(() => server.patch(at, { visible: !segment.visible }))),
      make("input", { type: "color", value: segment.color, "aria-label": `Colour of ${segment.name}`, on: { change: (event) => void this.#act(() => server.patch(at, { color: event.target.value })) } }),
      make("span", { class: "name", text: segment.name }),
      make("output", { class: "ml", "data-measure": segment.id, text: this.measured.get(at) ?? "" }),
    );
  }

  async #measure(path, output) {
    try {
      output.textContent = "Measuring …";
      const found = await server.get(`${path}/statistics`, this.room.display ? { volume: this.room.display.id } : {});
      output.textContent = "";
      for (const each of found) {
        const mean = typeof each.mean === "number" ? ` · ${each.mean.toFixed(0)}` : "";
        this.measured.set(`${path}/segments/${server.id(each.id)}`, `${each.volume_ml.toFixed(1)} ml${mean}`);
      }
      await this.refresh();
    } catch (error) {
      output.textContent = error.message;
    }
  }

  #markups(markups) {
    const rows = markups.map((each) => {
      const path = `/markups/${server.id(each.id)}`;
      const told = Object.entries(each.measurements).map(([what, value]) => `${what.replace(/ \((.*)\)/, "")} ${value.toFixed(1)} ${what.match(/\((.*)\)/)?.[1] ?? ""}`);
      return make(
        "div",
        { class: "item", "data-node": each.id },
        make("div", { class: "row" },
          toggle(each.visible, `Show ${each.name}`, () => this.#act(() => server.patch(path, { visible: !each.visible }))),
          make("input", { type: "color", value: each.color, "aria-label": `Colour of ${each.name}`, on: { change: (event) => void this.#act(() => server.patch(path, { color: event.target.value })) } }),
          name(each, (text) => this.#act(() => server.patch(path, { name: text }))),
          each.points.length ? make("button", { class: "tool small", type: "button", "aria-label": `Go to ${each.name}`, title: `Go to ${each.name}`, on: { click: () => this.room.cross(each.points[0], null) } }, icon("locate")) : null,
          drop(`Remove ${each.name}`, () => this.#act(() => server.remove(path)))),
        make("p", { class: "hint", text: told.length ? told.join(" · ") : `${each.points.length} point${each.points.length === 1 ? "" : "s"}` }),
      );
    });
    this.parts.markups.replaceChildren(...(rows.length ? rows : [none("No markups: choose Point, Line or Angle above and click in a slice")]));
  }

  async #others(nodes) {
    const wanted = nodes.filter((node) => node.class_name === "vtkMRMLModelNode" && !/Volume Slice$/.test(node.name));
    const told = await Promise.all(wanted.map((node) => server.get(`/nodes/${server.id(node.id)}`)));
    const rows = told.map((each) => {
      const path = `/nodes/${server.id(each.id)}`;
      return make("div", { class: "item row", "data-node": each.id },
        toggle(Boolean(each.visible), `Show ${each.name}`, () => this.#act(() => server.patch(path, { visible: !each.visible }))),
        make("input", { type: "color", value: each.color ?? "#ffffff", "aria-label": `Colour of ${each.name}`, on: { change: (event) => void this.#act(() => server.patch(path, { color: event.target.value })) } }),
        name(each, (text) => this.#act(() => server.patch(path, { name: text }))),
        drop(`Remove ${each.name}`, () => this.#act(() => server.remove(path))));
    });
    this.parts.others.replaceChildren(...(rows.length ? rows : [none("None")]));
  }

  /** For what is dragged: the last of many changes, and pictures of it. */
  #soon(work) {
    this.latest = work;
    if (this.working) return;
    this.working = (async () => {
      while (this.latest) {
        const next = this.latest;
        this.latest = null;
        try {
          await next();
        } catch (error) {
          toast(error.message, "alert");
        }
        this.room.redraw();
      }
      this.working = null;
    })();
  }
}

const none = (text) => make("p", { class: "hint", text });

function toggle(on, label, click, symbol = "check", text = null) {
  return make("button", { class: `switch${on ? " on" : ""}`, type: "button", "aria-pressed": String(on), "aria-label": label, title: label, on: { click } }, icon(symbol), text ? make("span", { text }) : null);
}

function drop(label, click) {
  return make("button", { class: "tool small", type: "button", "aria-label": label, title: label, on: { click } }, icon("trash"));
}

function name(node, changed) {
  return make("input", { class: "name", value: node.name, "aria-label": "Name", title: node.name, spellcheck: "false", on: { change: (event) => changed(event.target.value) } });
}

function number(label, value, changed) {
  return make("label", { class: "labelled" }, make("span", { text: label }), make("input", { type: "number", step: "any", value: String(Math.round(value * 100) / 100), on: { change: (event) => changed(Number(event.target.value)) } }));
}

function choice(label, values, value, changed) {
  const select = make("select", { on: { change: (event) => changed(event.target.value) } }, ...values.map((each) => make("option", { value: each, text: each || "–" })));
  if (value && !values.includes(value)) select.append(make("option", { value, text: value }));
  select.value = value;
  return make("label", { class: "labelled" }, make("span", { text: label }), select);
}

function slider(label, value, changed, low = 0, high = 1) {
  return make("label", { class: "labelled wide" }, make("span", { text: label }), make("input", { type: "range", min: String(low), max: String(high), step: String((high - low) / 200), value: String(value), on: { input: (event) => changed(Number(event.target.value)) } }));
}

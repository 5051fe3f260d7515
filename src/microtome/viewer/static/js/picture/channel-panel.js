// The channels in the panel: visibility, colour, window over the histogram, gamma, alone; presets.

import { icon, make, toast } from "../shared/dom.js";
import { GAMMAS } from "./channels.js";
import { dropPreset, keepPreset, presetsOf } from "./presets.js";
import { WindowControl } from "./window.js";

const OWN = "own:";

export class ChannelPanel {
  #undo = () => {};

  constructor(element) {
    this.element = element;
    this.rows = [];
  }

  /** Show the channels of a slide; null hides the section. */
  show(slide, channels) {
    this.#undo();
    this.element.hidden = channels === null;
    this.slide = slide;
    this.channels = channels;
    if (!channels) return;
    this.rows = channels.facts.map((facts, at) => this.#row(facts, at));
    this.element.replaceChildren(
      make("div", { class: "section-head" }, make("h3", { text: channels.list.length === 1 ? "Brightness" : "Channels" }), make("button", { type: "button", class: "link", text: "Reset all", on: { click: () => channels.resetAll() } })),
      this.#presets(),
      make("div", { class: "channels" }, ...this.rows.map(({ element }) => element)),
    );
    const update = () => this.#update();
    channels.addEventListener("change", update);
    this.#undo = () => channels.removeEventListener("change", update);
    update();
  }

  #row(facts, at) {
    const { channels } = this;
    const several = channels.list.length > 1;
    const name = facts.name || `Channel ${facts.index}`;
    const seen = make("input", { type: "checkbox", class: "switch", "aria-label": `Show ${name}`, on: { change: () => channels.change(at, { visible: seen.checked }) } });
    const color = make("input", { type: "color", class: "swatch", "aria-label": `Colour of ${name}`, title: "Colour", on: { input: () => channels.change(at, { color: color.value.slice(1) }) } });
    const solo = make("button", { type: "button", class: "mini", text: "Solo", title: "Show this channel alone", "aria-label": `Solo: ${name}`, "aria-pressed": "false", on: { click: () => channels.solo(at) } });
    const auto = make("button", { type: "button", class: "mini", text: "Auto", title: "Window by the histogram", "aria-label": `Auto: window of ${name} by its histogram`, on: { click: () => channels.auto(at) } });
    const reset = make("button", { type: "button", class: "mini", "aria-label": `Reset ${name}`, title: "Reset", on: { click: () => channels.reset(at) } }, icon("undo"));
    const control = new WindowControl({ ...facts, name }, { step: channels.step(at), whole: channels.whole, changed: (change) => channels.change(at, change) });
    const gammaValue = make("output", {});
    const gamma = make("input", { type: "range", min: Math.log(GAMMAS[0]), max: Math.log(GAMMAS[1]), step: 0.02, class: "slider", "aria-label": `Gamma of ${name}` });
    gamma.addEventListener("input", () => {
      const value = Number(Math.exp(Number(gamma.value)).toFixed(2));
      channels.change(at, { gamma: Math.abs(value - 1) < 0.03 ? 1 : value });
    });
    gamma.addEventListener("dblclick", () => channels.change(at, { gamma: 1 }));
    const body = make(
      "div",
      { class: "channel-body" },
      control.element,
      make("div", { class: "channel-numbers" }, control.numbers[0], make("label", { class: "gamma", title: "Gamma: below 1 brings out what is dark" }, make("span", { text: "γ" }), gamma, gammaValue), control.numbers[1]),
    );
    const element = make(
      "div",
      { class: "channel", role: "group", "aria-label": name },
      make("div", { class: "channel-head" }, several ? seen : null, color, make("span", { class: "channel-name", text: name, title: name }), several ? solo : null, auto, reset),
      body,
    );
    return { element, seen, color, solo, control, gamma, gammaValue, body };
  }

  #update() {
    this.rows.forEach((row, at) => {
      const channel = this.channels.list[at];
      row.seen.checked = channel.visible;
      row.color.value = `#${channel.color}`;
      row.element.classList.toggle("off", !channel.visible);
      row.element.style.setProperty("--channel", `#${channel.color}`);
      row.solo.setAttribute("aria-pressed", String(this.channels.isAlone(at)));
      row.body.hidden = !channel.visible;
      row.control.show(channel, channel.gamma);
      if (Math.abs(Math.exp(Number(row.gamma.value)) - channel.gamma) > 0.02) row.gamma.value = String(Math.log(channel.gamma));
      row.gammaValue.textContent = channel.gamma.toFixed(2);
    });
    this.#showChosen();
  }

  // ---- presets --------------------------------------------------------------------------------------------------

  #presets() {
    this.choice = make("select", { class: "select", "aria-label": "Preset of the channels", on: { change: () => this.#apply(this.choice.value) } });
    this.name = make("input", { type: "text", class: "text", maxlength: 60, placeholder: "Name of the preset", "aria-label": "Name of the preset", autocomplete: "off" });
    this.form = make(
      "form",
      { class: "preset-form", hidden: true },
      this.name,
      make("button", { class: "button primary", type: "submit", text: "Keep" }),
      make("button", { class: "button", type: "button", text: "Cancel", on: { click: () => this.#naming(false) } }),
    );
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#keep(this.name.value.trim());
    });
    this.form.addEventListener("keydown", (event) => {
      if (event.key === "Escape") this.#naming(false);
    });
    this.keep = make("button", { type: "button", class: "tool", "aria-label": "Keep as a preset", title: "Keep as a preset", on: { click: () => this.#naming(true) } }, icon("plus"));
    this.drop = make("button", { type: "button", class: "tool", "aria-label": "Remove the preset", title: "Remove the preset", on: { click: () => this.#drop() } }, icon("trash"));
    this.bar = make("div", { class: "presets" }, this.choice, this.keep, this.drop);
    this.#list();
    return make("div", {}, this.bar, this.form);
  }

  #list() {
    this.kept = presetsOf(this.slide.id);
    this.choice.replaceChildren(
      make("option", { value: "custom", text: "Changed", hidden: true }),
      make("option", { value: "default", text: "As the slide has it" }),
      make("option", { value: "grey", text: this.channels.list.length === 1 ? "Grey" : "Grey, one channel" }),
      ...(this.kept.length ? [make("optgroup", { label: "Kept here" }, ...this.kept.map(({ name }) => make("option", { value: OWN + name, text: name })))] : []),
    );
    this.#showChosen();
  }

  #showChosen() {
    if (!this.choice) return;
    const now = JSON.stringify(this.channels.settings);
    const own = this.kept.find(({ settings }) => JSON.stringify(settings) === now);
    const isGrey = this.channels.list.every(({ color }) => color === "ffffff") && this.channels.list.filter(({ visible }) => visible).length === 1;
    this.choice.value = own ? OWN + own.name : this.channels.text === "" ? "default" : isGrey ? "grey" : "custom";
    this.drop.hidden = !own;
  }

  #apply(value) {
    if (value === "default") this.channels.resetAll();
    else if (value === "grey") this.channels.grey();
    else {
      const preset = this.kept.find(({ name }) => OWN + name === value);
      if (preset) this.channels.apply(preset.settings);
    }
  }

  #naming(on) {
    this.form.hidden = !on;
    this.bar.hidden = on;
    if (on) {
      this.name.value = "";
      this.name.focus();
    } else this.keep.focus();
  }

  #keep(name) {
    if (!name) return;
    const kept = keepPreset(this.slide.id, name, this.channels.settings);
    toast(kept ? `Preset “${name}” kept in this browser` : "This browser keeps nothing for this page", kept ? "check" : "alert");
    this.#naming(false);
    this.#list();
  }

  #drop() {
    dropPreset(this.slide.id, this.choice.value.slice(OWN.length));
    this.#list();
    this.choice.focus();
  }
}

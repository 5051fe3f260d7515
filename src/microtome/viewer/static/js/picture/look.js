// How the slide of a pane is drawn by the server: focal plane, time point, colour profile, channels.

import { Channels } from "./channels.js";

export const INTENTS = [
  ["none", "Off"],
  ["perceptual", "Perceptual"],
  ["relative_colorimetric", "Relative colorimetric"],
  ["saturation", "Saturation"],
  ["absolute_colorimetric", "Absolute colorimetric"],
];

/** Events: "change" when the slide is to be drawn otherwise. */
export class Look extends EventTarget {
  /** `start` as `read` of address.js gives it; what makes no sense for the slide is left out. */
  constructor(slide, start = {}) {
    super();
    this.slide = slide;
    this.focus = within(start.focus, slide.focalPlanes);
    this.time = within(start.time, slide.timePoints);
    this.intent = slide.icc && INTENTS.some(([name]) => name === start.intent) ? start.intent : "none";
    this.channels = null;
    this.startingChannels = slide.hasChannels ? (start.channels ?? "") : "";
  }

  /** The channels as /slides/{id}/channels tells them. */
  takeChannels(facts) {
    if (!facts.channels?.length) return;
    this.channels = new Channels(facts, this.startingChannels);
    this.channels.addEventListener("change", () => this.dispatchEvent(new Event("change")));
    this.dispatchEvent(new Event("change"));
  }

  set(change) {
    const before = this.text;
    if (change.focus !== undefined) this.focus = within(change.focus, this.slide.focalPlanes);
    if (change.time !== undefined) this.time = within(change.time, this.slide.timePoints);
    if (change.intent !== undefined) this.intent = change.intent;
    if (this.text !== before) this.dispatchEvent(new Event("change"));
  }

  /** Take over what an address says: see address.js. */
  take({ focus, time, intent, channels }) {
    this.set({ focus, time, intent: this.slide.icc && INTENTS.some(([name]) => name === intent) ? intent : "none" });
    if (this.channels && this.channels.text !== channels) this.channels.take(channels);
  }

  get channelsText() {
    return this.channels ? this.channels.text : this.startingChannels;
  }

  /** The parameters of a request for pixels; those at their default are left out, so that stored tiles pass untouched. */
  get params() {
    return {
      z: this.focus || null,
      t: this.time || null,
      icc: this.intent === "none" ? null : this.intent,
      channels: this.channelsText || null,
    };
  }

  /** Two looks with the same text look the same. */
  get text() {
    return JSON.stringify(this.params);
  }
}

function within(value, count) {
  const whole = Math.round(Number(value ?? 0));
  return Number.isFinite(whole) ? Math.min(Math.max(whole, 0), count - 1) : 0;
}

// The part of the panel that says how the slide is shown: channels, colour profile, shapes.

import { MarkPanel } from "../marks/panel.js";
import { ApiError, getJson, slidePath } from "../shared/api.js";
import { make } from "../shared/dom.js";
import { ChannelPanel } from "./channel-panel.js";
import { INTENTS } from "./look.js";
import { ShapePanel } from "./shape-panel.js";

const find = (id) => document.getElementById(id);

export class PicturePanel {
  constructor({ chooseShapes }) {
    this.channels = new ChannelPanel(find("channels-section"));
    this.shapes = new ShapePanel(find("shapes-section"), chooseShapes);
    this.marks = new MarkPanel(find("marks-section"));
    this.intent = find("icc-intent");
    this.intent.replaceChildren(...INTENTS.map(([value, text]) => make("option", { value, text })));
    this.intent.addEventListener("change", () => this.pane.look.set({ intent: this.intent.value }));
    this.onOverlay = () => this.shapes.show(this.pane);
    this.onMarks = () => this.marks.show(this.pane);
    this.onLook = () => this.#showLook();
  }

  /** The settings of this pane. */
  show(pane) {
    this.pane?.removeEventListener("overlay", this.onOverlay);
    this.pane?.removeEventListener("marks", this.onMarks);
    this.pane?.removeEventListener("looked", this.onLook);
    this.pane = pane;
    pane.addEventListener("overlay", this.onOverlay);
    pane.addEventListener("marks", this.onMarks);
    pane.addEventListener("looked", this.onLook);
    this.channels.show(pane.slide, pane.look.channels);
    this.shapes.show(pane);
    this.marks.show(pane);
    find("profile-section").hidden = !pane.slide.icc;
    this.#showLook();
  }

  #showLook() {
    const { look, slide } = this.pane;
    this.intent.value = look.intent;
    if (look.channels !== this.channels.channels) this.channels.show(slide, look.channels);
  }
}

/** Ask the server for the channels of a pane's slide, where it has any to choose. */
export async function loadChannels(pane) {
  if (!pane.slide.hasChannels) return;
  try {
    pane.look.takeChannels(await getJson(`${slidePath(pane.slide.id)}/channels`));
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    // The slide is shown as it is; there is nothing to choose then.
  }
}

// Drawing a slide by other parameters without a flicker: the new picture is loaded under cover of the old one and takes
// its place when all of the view is there. What is asked for meanwhile waits; only the newest of it is drawn.

import { createSource } from "./source.js";

/** After so many ms the new picture is shown as far as it goes, the old one below it. */
const PATIENCE = 1500;
/** After so many ms the old picture goes, whatever is missing of the new one. */
const LONGEST = 60_000;
/** Ms in which tiles blend in. */
const BLEND = 160;

export class Restyle {
  #shown;
  #wanted;
  #running = null;
  #typing = 0;

  constructor(pane) {
    this.pane = pane;
    this.#shown = this.#wanted = pane.look.text;
  }

  /** Draw as the pane's look is in `wait` ms, unless it changes again until then. */
  soon(wait) {
    clearTimeout(this.#typing);
    this.#typing = setTimeout(() => void this.done(), wait);
  }

  /** Resolves when the pane shows its look as it is now. */
  done() {
    clearTimeout(this.#typing);
    this.#wanted = this.pane.look.text;
    this.#running ??= this.#run().finally(() => (this.#running = null));
    return this.#running;
  }

  async #run() {
    // A task of its own, so that `#running` is set when it ends.
    await null;
    while (this.#wanted !== this.#shown && this.pane.viewer?.world) {
      const text = this.#wanted;
      await this.#swap();
      this.#shown = text;
    }
  }

  async #swap() {
    const { pane } = this;
    const { viewer } = pane;
    const source = createSource(pane.slide, pane.look.params);
    const old = Array.from({ length: viewer.world.getItemCount() }, (_, at) => viewer.world.getItemAt(at));
    const item = await new Promise((resolve, reject) =>
      viewer.addTiledImage({ tileSource: source, opacity: 0, preload: true, success: (event) => resolve(event.item), error: (event) => reject(new Error(event.message)) }),
    );
    pane.clearFailures();
    pane.overview.refresh();
    const loaded = new Promise((resolve) => item.whenFullyLoaded(resolve));
    await Promise.race([loaded, after(PATIENCE)]);
    if (!viewer.world) return;
    item.setOpacity(1);
    viewer.forceRedraw();
    await Promise.race([loaded, after(LONGEST)]);
    await after(BLEND);
    if (!viewer.world) return;
    for (const each of old) viewer.world.removeItem(each);
  }
}

const after = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

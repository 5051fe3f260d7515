// Two slides that move together. The pane a person touches leads; the other keeps the relation both had when they were
// linked: the offset, the ratio of zooms and the difference of rotations.

export class Together {
  #relation = null;
  #leader;

  constructor(first, second) {
    this.panes = [first, second];
    this.#leader = first;
    for (const pane of this.panes) {
      pane.addEventListener("lead", () => (this.#leader = pane));
      pane.addEventListener("move", () => this.#follow(pane));
    }
  }

  get linked() {
    return this.#relation !== null;
  }

  /** The pane that commands come from now. */
  lead(pane) {
    this.#leader = pane;
  }

  /** The same place of both slides at the same µm per px of the screen, where both say their spacing. */
  align() {
    const [first, second] = this.panes;
    const view = first.view({ target: true });
    const across = second.slide.width / first.slide.width;
    const ratio = first.slide.mpp && second.slide.mpp ? second.slide.mpp.x / first.slide.mpp.x : 1 / across;
    second.show(
      {
        x: (view.x / first.slide.width) * second.slide.width,
        y: (view.y / first.slide.height) * second.slide.height,
        zoom: view.zoom * ratio,
        rotation: view.rotation,
      },
      { immediately: true },
    );
  }

  link() {
    const [a, b] = this.panes.map((pane) => pane.view({ target: true }));
    this.#relation = { a, b, ratio: b.zoom / a.zoom, turn: b.rotation - a.rotation };
  }

  unlink() {
    this.#relation = null;
  }

  #follow(pane) {
    const [first, second] = this.panes;
    if (!this.#relation || pane !== this.#leader || !first.viewer?.viewport || !second.viewer?.viewport) return;
    const { a, b, ratio, turn } = this.#relation;
    const view = pane.view();
    // A step on one slide is the same step on the screen of the other: turned by the difference of rotations, and
    // longer where the other one's zoom is smaller.
    if (pane === first) {
      const step = turned({ x: view.x - a.x, y: view.y - a.y }, -turn);
      put(second, { x: b.x + step.x / ratio, y: b.y + step.y / ratio, zoom: view.zoom * ratio, rotation: view.rotation + turn });
    } else {
      const step = turned({ x: view.x - b.x, y: view.y - b.y }, turn);
      put(first, { x: a.x + step.x * ratio, y: a.y + step.y * ratio, zoom: view.zoom / ratio, rotation: view.rotation - turn });
    }
  }
}

/** Without the pane's own limits, which would pull the two apart at the edge of a slide. */
function put(pane, { x, y, zoom, rotation }) {
  const { viewport } = pane.viewer;
  const { width } = pane.slide;
  viewport.setRotation(rotation, true);
  viewport.zoomTo((zoom * width) / pane.size.width, null, true);
  viewport.panTo(new globalThis.OpenSeadragon.Point(x / width, y / width), true);
}

/** A step rotated clockwise by so many degrees; y runs down. */
export function turned({ x, y }, degrees) {
  const angle = (degrees * Math.PI) / 180;
  return { x: x * Math.cos(angle) - y * Math.sin(angle), y: x * Math.sin(angle) + y * Math.cos(angle) };
}

// The 3D view: drag turns, shift or the middle button pans, the wheel and the right button come nearer.

import { make } from "../shared/dom.js";
import { Pane, dragged } from "./pane.js";

const AXES = ["Anterior", "Posterior", "Left", "Right", "Superior", "Inferior"];

export class ThreeDView {
  constructor() {
    this.pane = new Pane("3D", "3D", "gray");
    this.pane.tools.append(
      make("span", { class: "spring" }),
      make(
        "select",
        { "aria-label": "Look from", on: { change: (event) => this.#look(event.target) } },
        make("option", { value: "", text: "Look from" }),
        ...AXES.map((each) => make("option", { value: each.toLowerCase(), text: each })),
      ),
      make("button", { class: "chip", type: "button", text: "Reset", title: "All that is visible in view", on: { click: () => this.pane.live.ask({ reset: true }) } }),
    );
    this.#gestures();
  }

  redraw() {
    this.pane.live.ask();
  }

  #look(select) {
    if (select.value) this.pane.live.ask({ look_from: select.value });
    select.value = "";
  }

  #gestures() {
    const kind = (event) => (event.button === 1 || event.shiftKey ? "pan" : event.button === 2 ? "zoom" : "turn");
    dragged(this.pane, kind, (mode, dx, dy) => {
      const [width, height] = this.pane.size;
      if (mode === "turn") this.pane.live.ask({ azimuth: (-180 * dx) / width, elevation: (180 * dy) / height });
      else if (mode === "pan") this.pane.live.ask({ pan: [dx / height, -dy / height] });
      else this.pane.live.ask({ zoom: Math.exp(-dy / 200) });
    });
    this.pane.canvas.addEventListener(
      "wheel",
      (event) => {
        event.preventDefault();
        this.pane.live.ask({ zoom: Math.exp(-event.deltaY / 600) });
      },
      { passive: false },
    );
    this.pane.canvas.addEventListener("keydown", (event) => {
      const move = {
        ArrowLeft: { azimuth: 10 }, ArrowRight: { azimuth: -10 }, ArrowUp: { elevation: 10 }, ArrowDown: { elevation: -10 },
        "+": { zoom: 1.2 }, "-": { zoom: 1 / 1.2 }, r: { reset: true },
      }[event.key];
      if (!move) return;
      event.preventDefault();
      this.pane.live.ask(move);
    });
  }
}

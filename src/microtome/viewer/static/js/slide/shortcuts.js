// Keys. One table, from which the help sheet is drawn as well.

import { make } from "../shared/dom.js";

const GROUPS = [
  {
    title: "Move",
    keys: [
      { keys: ["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown"], shown: ["←", "→", "↑", "↓"], text: "Move; with Shift further" },
      { keys: ["+", "="], shown: ["+"], text: "Zoom in", act: "zoomIn" },
      { keys: ["-", "_"], shown: ["−"], text: "Zoom out", act: "zoomOut" },
      { keys: ["0", "Home"], shown: ["0"], text: "Fit the whole slide", act: "fit" },
      { keys: ["1", "2", "3", "4", "5", "6", "7"], shown: ["1", "…", "7"], text: "Magnifications, smallest first" },
      { keys: ["r"], shown: ["R"], text: "Turn right by 90°", act: "turnRight" },
      { keys: ["R"], shown: ["Shift", "R"], text: "Turn left by 90°", act: "turnLeft" },
      { keys: ["]"], shown: ["]"], text: "Turn right by 15°", act: "nudgeRight" },
      { keys: ["["], shown: ["["], text: "Turn left by 15°", act: "nudgeLeft" },
      { keys: ["u"], shown: ["U"], text: "Upright again", act: "upright" },
      { keys: ["PageUp"], shown: ["Page ↑"], text: "Next focal plane; also Shift and the wheel", act: "focusUp" },
      { keys: ["PageDown"], shown: ["Page ↓"], text: "Previous focal plane", act: "focusDown" },
      { keys: ["."], shown: ["."], text: "Next time point", act: "later" },
      { keys: [","], shown: [","], text: "Previous time point", act: "earlier" },
      { keys: ["k"], shown: ["K"], text: "Play or pause the time points", act: "play" },
    ],
  },
  {
    title: "Measure",
    keys: [
      { keys: ["m"], shown: ["M"], text: "Measure a length", act: "line" },
      { keys: ["a"], shown: ["A"], text: "Measure an area", act: "area" },
      { keys: [" "], shown: ["Space"], text: "Point in the middle of the view", act: "point" },
      { keys: ["Enter"], shown: ["Enter"], text: "Close the area", act: "finish" },
      { keys: ["Escape"], shown: ["Esc"], text: "Drop the drawing, leave the tool or shape", act: "cancel" },
    ],
  },
  {
    title: "Show",
    keys: [
      { keys: ["c"], shown: ["C"], text: "Compare with another slide", act: "compare" },
      { keys: ["l"], shown: ["L"], text: "Link or unlink the two slides", act: "toggleLink" },
      { keys: ["d"], shown: ["D"], text: "Display: channels, colour, shapes", act: "display" },
      { keys: ["i"], shown: ["I"], text: "About this slide", act: "panel" },
      { keys: ["v"], shown: ["V"], text: "Show or hide the shapes", act: "shapes" },
      { keys: ["q"], shown: ["Q"], text: "What the shape in the middle is", act: "query" },
      { keys: ["n"], shown: ["N"], text: "Overview", act: "overview" },
      { keys: ["f"], shown: ["F"], text: "Full screen", act: "fullscreen" },
      { keys: ["t"], shown: ["T"], text: "Dark or light", act: "theme" },
      { keys: ["p"], shown: ["P"], text: "Save the view as a picture", act: "snapshot" },
      { keys: ["s"], shown: ["S"], text: "Copy a link to this view", act: "share" },
      { keys: ["?"], shown: ["?"], text: "These keys", act: "help" },
    ],
  },
];

/** Where letters are text. In sliders some keys have a meaning of their own; the others are ours. */
const TYPED = "textarea, select, input:not([type=range], [type=checkbox], [type=color])";
const SLIDER_KEYS = /^(Arrow.*|Page.*|Home|End)$/;

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

/** `actions` holds a function for every `act` above, and pan(right, down) and stop(number). */
export function wireShortcuts(actions) {
  const table = new Map(GROUPS.flatMap((group) => group.keys).flatMap(({ keys, act }) => (act ? keys.map((key) => [key, act]) : [])));
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    if (document.querySelector("dialog[open]")) return;
    const target = event.target;
    if (target.closest(TYPED)) return;
    if (target.closest("input[type=range]") && SLIDER_KEYS.test(event.key)) return;
    // Space and Enter belong to the button or link that has the focus; arrows to a part that scrolls.
    if ((event.key === " " || event.key === "Enter") && target.closest("button, a, summary, input")) return;
    if (ARROWS[event.key] && target.closest(".panel")) return;
    if (ARROWS[event.key]) actions.pan(...ARROWS[event.key].map((step) => step * (event.shiftKey ? 0.5 : 0.12)));
    else if (/^[1-7]$/.test(event.key)) actions.stop(Number(event.key));
    else if (table.has(event.key)) actions[table.get(event.key)]();
    else return;
    event.preventDefault();
  });
}

/** The help sheet's content. */
export function drawHelp(element) {
  element.replaceChildren(
    ...GROUPS.map((group) =>
      make(
        "section",
        {},
        make("h3", { text: group.title }),
        make(
          "dl",
          {},
          ...group.keys.flatMap(({ shown, text }) => [make("dt", {}, ...shown.map((key) => make("kbd", { text: key }))), make("dd", { text })]),
        ),
      ),
    ),
  );
}

// The page of the scene: four views, a panel, and what they tell each other.

import { make, toast } from "./shared/dom.js";
import { page } from "./shared/page.js";
import { wireTheme } from "./shared/theme.js";
import { Log } from "./scene/log.js";
import { Panel } from "./scene/panel.js";
import * as server from "./scene/server.js";
import { SliceView } from "./scene/slice.js";
import { ThreeDView } from "./scene/threed.js";

const MODES = [
  ["window", "Window", "Drag changes window and level"],
  ["pan", "Pan", "Drag moves the slice; also with the middle button"],
  ["zoom", "Zoom", "Drag comes nearer; also with the right button, and with Ctrl and the wheel"],
  ["place-points", "Point", "Click places a point"],
  ["place-line", "Line", "Two clicks measure a length"],
  ["place-angle", "Angle", "Three clicks measure an angle"],
  ["place-curve", "Curve", "Clicks make a curve; choose another tool to end it"],
];
const NEEDED = { line: 2, angle: 3 };

let mode = "window";
let placing = null;
const slices = [];
let threed = null;
let panel = null;
let windowing = null;
let clicks = Promise.resolve();

const room = {
  display: null,
  mode: () => mode,
  redraw() {
    for (const view of slices) view.redraw();
    threed.redraw();
  },

  /** Window and level of the volume in the background, by a drag: to the right widens, up lightens. */
  window(dx, dy) {
    const { display } = room;
    if (!display) return;
    const share = Math.max(display.range[1] - display.range[0], 1e-6) / 600;
    display.window = Math.max(share, display.window + dx * share);
    display.level += dy * share;
    windowing ??= send();
  },

  /** All slices through a point. */
  cross(point, from) {
    for (const view of slices) if (view !== from && view.slice) view.pane.live.ask({ offset: along(view.slice, point) });
  },

  /** Clicks one after the other, however long the server takes over each. */
  placed(point) {
    const kind = mode.replace("place-", "");
    clicks = clicks.then(() => place(kind, point));
  },

  /** Something was loaded. */
  async arrived() {
    room.redraw();
    threed.pane.live.ask({ reset: true });
    await panel.refresh();
  },
};

async function place(kind, point) {
  try {
    if (placing?.kind === kind && placing.points.length < (NEEDED[kind] ?? Infinity)) {
      placing = await server.patch(`/markups/${server.id(placing.id)}`, { points: [...placing.points, point] });
    } else {
      placing = await server.post("/markups", { kind, points: [point] });
    }
    if (placing.points.length === NEEDED[kind]) placing = null;
  } catch (error) {
    toast(error.message, "alert");
  }
  room.redraw();
  await panel.refresh();
}

async function send() {
  const sent = { window: room.display.window, level: room.display.level };
  try {
    await server.patch(`/volumes/${server.id(room.display.id)}/display`, sent);
  } catch (error) {
    toast(error.message, "alert");
  }
  for (const view of slices) view.redraw();
  windowing = sent.window !== room.display.window || sent.level !== room.display.level ? send() : null;
}

function along(slice, point) {
  const m = slice.slice_to_ras;
  return point[0] * m[2] + point[1] * m[6] + point[2] * m[10];
}

function choose(next) {
  mode = next;
  placing = null;
  document.body.dataset.mode = mode;
  for (const button of document.querySelectorAll("#modes button")) button.setAttribute("aria-pressed", String(button.dataset.mode === mode));
}

function wire() {
  wireTheme();
  const modes = document.getElementById("modes");
  modes.append(...MODES.map(([key, text, title]) => make("button", { class: "chip", type: "button", text, title, "data-mode": key, on: { click: () => choose(key) } })));
  const views = document.getElementById("views");
  slices.push(new SliceView("Red", "red", room), new SliceView("Yellow", "yellow", room), new SliceView("Green", "green", room));
  threed = new ThreeDView();
  views.append(slices[0].pane.element, threed.pane.element, slices[2].pane.element, slices[1].pane.element);
  for (const { pane } of [...slices, threed]) {
    pane.enlarge.addEventListener("click", () => {
      const only = pane.element.classList.toggle("only");
      views.classList.toggle("one", only);
      for (const each of views.children) each.hidden = only && each !== pane.element;
    });
  }
  panel = new Panel(document.getElementById("panel"), room);
  choose("window");
  document.getElementById("screenshot").href = server.sceneAddress("/screenshot");
  document.getElementById("undo").addEventListener("click", () => void undo());
  opens("toggle-panel", (open) => {
    document.getElementById("panel").hidden = !open;
  });
  if (page.log) {
    const log = new Log(document.getElementById("log"));
    opens("toggle-log", (open) => log.show(open)).hidden = false;
  }
  drops();
}

/** A button that shows something and hides it. */
function opens(id, show) {
  const toggle = document.getElementById(id);
  toggle.addEventListener("click", () => {
    const open = toggle.getAttribute("aria-expanded") !== "true";
    toggle.setAttribute("aria-expanded", String(open));
    show(open);
  });
  return toggle;
}

async function undo() {
  try {
    await server.post("/undo");
  } catch (error) {
    toast(error.message, "info");
  }
  room.redraw();
  await panel.refresh();
}

function drops() {
  const veil = document.getElementById("drop");
  let depth = 0;
  addEventListener("dragenter", (event) => {
    if (![...event.dataTransfer.types].includes("Files")) return;
    depth += 1;
    veil.hidden = false;
  });
  addEventListener("dragleave", () => {
    depth = Math.max(0, depth - 1);
    veil.hidden = depth === 0;
  });
  addEventListener("dragover", (event) => event.preventDefault());
  addEventListener("drop", (event) => {
    event.preventDefault();
    depth = 0;
    veil.hidden = true;
    if (event.dataTransfer.files.length) void panel.upload([...event.dataTransfer.files]);
  });
}

async function start() {
  wire();
  try {
    await panel.refresh();
    server.follow(() => {
      room.redraw();
      if (!document.querySelector("#panel :focus")) void panel.refresh().catch(() => {});
    });
  } catch (error) {
    for (const { pane } of [...slices, threed]) pane.tell(error.message);
    toast(error.message, "alert");
  }
  document.body.dataset.ready = "true";
}

void start();

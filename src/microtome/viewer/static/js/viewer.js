// The viewer page: one slide, or two side by side, and the tools that work on the one in use.

import { loadMarks } from "./marks/marks.js";
import { readPicture, writePicture } from "./picture/address.js";
import { loadChannels, PicturePanel } from "./picture/panel.js";
import { Planes } from "./picture/planes.js";
import { chooseShapes, layShapes, shapesOf } from "./picture/shapes.js";
import { ApiError, catalogueAddress, getJson, slidePath } from "./shared/api.js";
import { icon, make, state, toast } from "./shared/dom.js";
import { count, length } from "./shared/format.js";
import { page } from "./shared/page.js";
import { redaction, wireRedaction } from "./shared/redaction.js";
import { toggleTheme, wireTheme } from "./shared/theme.js";
import { Together } from "./slide/compare.js";
import { Magnify } from "./slide/magnify.js";
import { Measure } from "./slide/measure.js";
import { prepareOpenSeadragon } from "./slide/openseadragon.js";
import { Pane } from "./slide/pane.js";
import { showFacts, showMeasurements } from "./slide/panel.js";
import { Picker } from "./slide/picker.js";
import { readPlace, writePlace } from "./slide/place.js";
import { drawHelp, wireShortcuts } from "./slide/shortcuts.js";
import { Slide } from "./slide/slide.js";
import { download, snapshot } from "./slide/snapshot.js";

const find = (id) => document.getElementById(id);
const stage = find("panes");

/** Of each pane's settings in the address. */
const PREFIXES = ["", "2."];

const panes = []; // {pane, measure}, one or two
let active = 0;
let together = null;
let magnify = null;
let planes = null;
let picture = null;
let writing = 0;

const current = () => panes[active].pane;
const drawing = () => panes[active].measure;

/** Put a slide on the screen as the next pane, drawn as `start` says: see picture/address.js. */
async function addPane(slide, start) {
  const pane = new Pane(slide, start);
  stage.append(pane.element);
  const entry = { pane, measure: null };
  await pane.open();
  entry.measure = new Measure(pane);
  panes.push(entry);
  pane.addEventListener("lead", () => activate(panes.indexOf(entry)));
  pane.addEventListener("move", () => {
    if (entry.pane === current()) magnify?.update();
    showTurn();
    rememberPlace();
  });
  pane.addEventListener("pointer", (event) => showPointer(pane, event.detail));
  entry.measure.addEventListener("change", () => {
    if (entry.measure === drawing()) showMeasurements(entry.measure);
  });
  entry.measure.addEventListener("tool", showTool);
  pane.addEventListener("resized", () => magnify?.rebuild());
  pane.addEventListener("looked", rememberPlace);
  pane.addEventListener("overlay", () => {
    pane.overlay?.addEventListener("style", rememberPlace);
    rememberPlace();
  });
  void loadChannels(pane);
  void layShapes(pane, start.overlay);
  void loadMarks(pane);
  return entry;
}

function activate(index) {
  if (index < 0 || index === active) return;
  const { tool } = drawing();
  if (tool) drawing().use(null);
  active = index;
  together?.lead(current());
  showActive();
  if (tool) drawing().use(tool);
}

function showActive() {
  panes.forEach(({ pane }, index) => pane.element.classList.toggle("active", panes.length > 1 && index === active));
  showFacts(current().slide);
  showMeasurements(drawing());
  magnify?.rebuild();
  planes?.use(current());
  picture?.show(current());
  showTurn();
}

function showPointer(pane, place) {
  const readout = find("readout");
  const { slide } = pane;
  const inside = place && place.x >= 0 && place.y >= 0 && place.x < slide.width && place.y < slide.height;
  readout.hidden = !inside;
  if (!inside) return;
  find("readout-px").textContent = `${count(Math.floor(place.x))}, ${count(Math.floor(place.y))} px`;
  find("readout-um").textContent = slide.mpp ? `${length(place.x * slide.mpp.x)}, ${length(place.y * slide.mpp.y)}` : "";
}

function showTurn() {
  const degrees = ((Math.round(current().view({ target: true }).rotation) % 360) + 360) % 360;
  const button = find("turned");
  button.hidden = degrees === 0;
  button.querySelector("span").textContent = `${degrees}°`;
  button.querySelector(".icon").style.transform = `rotate(${degrees}deg)`;
}

function showTool() {
  const { tool } = drawing();
  find("tool-move").setAttribute("aria-pressed", String(tool === null));
  find("tool-line").setAttribute("aria-pressed", String(tool === "line"));
  find("tool-area").setAttribute("aria-pressed", String(tool === "area"));
  const hint = find("hint");
  hint.hidden = tool === null;
  if (tool === "line") hint.textContent = "Click where the line begins and where it ends. Drag still moves the slide.";
  if (tool === "area") hint.textContent = "Click the corners; double-click, Enter or the first corner closes the area.";
}

function use(tool) {
  drawing().use(drawing().tool === tool ? null : tool);
}

/** The view goes into the address, but not on every frame: browsers count. */
function rememberPlace() {
  writing ||= setTimeout(() => {
    writing = 0;
    history.replaceState(history.state, "", `#${placeText()}`);
  }, 250);
}

function placeText() {
  const [first, second] = panes.map(({ pane }) => pane);
  const view = first.view({ target: true });
  const place = writePlace(view, second ? { id: second.slide.id, linked: together.linked, ...second.view({ target: true }) } : null);
  return [place, ...panes.flatMap(({ pane }, index) => writePicture(pane.look, shapesOf(pane), PREFIXES[index]))].join("&");
}

async function share() {
  const link = `${location.origin}${location.pathname}${location.search}#${placeText()}`;
  history.replaceState(history.state, "", link);
  try {
    await navigator.clipboard.writeText(link);
    toast("Link to this view copied", "link");
  } catch {
    toast("The link is in the address bar", "link");
  }
}

async function save() {
  try {
    await Promise.all(panes.map(({ pane }) => pane.settled()));
    const blob = await snapshot(panes.map(({ pane }) => pane), panes.map(({ measure }) => measure));
    const name = panes.map(({ pane }) => pane.slide.name.replace(/\.[^.]*$/, "")).join("-vs-");
    const { x, y } = current().view();
    download(blob, `${name}-x${Math.round(x)}-y${Math.round(y)}.png`);
    toast("Picture saved", "camera");
  } catch (error) {
    toast(error.message, "alert");
  }
}

// ---- comparison -------------------------------------------------------------------------------------------------

async function compareWith(id, { view = null, linked = true, start = readPicture("") } = {}) {
  if (panes.length > 1) endComparison();
  let slide;
  try {
    slide = new Slide(await getJson(slidePath(id)));
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    const broken = brokenPane(id, error);
    stage.append(broken);
    stage.classList.add("two");
    showCompare(true);
    return;
  }
  stage.classList.add("two");
  const entry = await addPane(slide, start);
  together = new Together(panes[0].pane, entry.pane);
  panes.forEach(({ pane }, index) => pane.title.append(...paneButtons(index)));
  // Both panes have their final size only now.
  await new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)));
  if (view) entry.pane.show(view, { immediately: true });
  else {
    panes[0].pane.viewer.viewport.applyConstraints(true);
    together.align();
  }
  if (linked) together.link();
  showLink();
  showCompare(true);
  showActive();
  rememberPlace();
}

function paneButtons(index) {
  if (index === 0) return [];
  return [
    make("button", { type: "button", class: "tool", "data-act": "toggleLink", "aria-pressed": "true", on: { click: actions.toggleLink } }, icon("link")),
    make("button", { type: "button", class: "tool", "aria-label": "Choose another slide", title: "Choose another slide", on: { click: () => chooseOther(panes[1].pane.slide.id) } }, icon("slides")),
    make("button", { type: "button", class: "tool", "aria-label": "End the comparison", title: "End the comparison", on: { click: endComparison } }, icon("close")),
  ];
}

function brokenPane(id, error) {
  const titles = { missing: "This slide does not exist", unsupported: "This file cannot be read", damaged: "This file is damaged", unauthorised: "This slide needs a signed link", unreachable: "The server does not answer" };
  return make(
    "section",
    { class: "pane broken", "aria-label": `Slide ${id}` },
    state({
      symbol: error.kind === "unauthorised" ? "lock" : "alert",
      title: titles[error.kind] ?? "This slide cannot be opened",
      text: `${id}: ${error.message}`,
      wrong: true,
      actions: [
        make("button", { class: "button primary", type: "button", text: "Choose another slide", on: { click: () => chooseOther(id) } }),
        make("button", { class: "button", type: "button", text: "Close", on: { click: endComparison } }),
      ],
    }),
  );
}

function endComparison() {
  stage.querySelector(".pane.broken")?.remove();
  stage.classList.remove("two");
  showCompare(false);
  if (panes.length > 1) {
    together.unlink();
    together = null;
    if (active === 1) activate(0);
    panes.pop().pane.close();
  }
  showActive();
  rememberPlace();
}

function showCompare(on) {
  find("tool-compare").setAttribute("aria-pressed", String(on));
}

function showLink() {
  for (const button of document.querySelectorAll('[data-act="toggleLink"]')) {
    const { linked } = together;
    button.setAttribute("aria-pressed", String(linked));
    const label = linked ? "Linked: both slides move together" : "Not linked: each slide moves alone";
    button.setAttribute("aria-label", label);
    button.title = label;
    button.replaceChildren(icon(linked ? "link" : "unlink"));
  }
}

// ---- actions ----------------------------------------------------------------------------------------------------

const actions = {
  pan: (right, down) => current().panBy(right, down),
  stop: (number) => magnify.goToStop(number),
  zoomIn: () => current().zoomBy(1.6),
  zoomOut: () => current().zoomBy(1 / 1.6),
  fit: () => current().fit(),
  turnRight: () => current().rotateBy(90),
  turnLeft: () => current().rotateBy(-90),
  nudgeRight: () => current().rotateBy(15),
  nudgeLeft: () => current().rotateBy(-15),
  upright: () => current().show({ rotation: 0 }),
  move: () => drawing().use(null),
  line: () => use("line"),
  area: () => use("area"),
  point: () => drawing().add(null),
  finish: () => drawing().finish(),
  cancel: () => {
    const hover = current().overlay?.hover;
    if (drawing().cancel()) return;
    if (drawing().tool) drawing().use(null);
    else for (const each of [hover, ...current().marks.map((mark) => mark.hover)]) each?.clear();
  },
  focusUp: () => planes.step("focus", 1),
  focusDown: () => planes.step("focus", -1),
  later: () => planes.step("time", 1),
  earlier: () => planes.step("time", -1),
  play: () => planes.toggle(),
  shapes: () => {
    const { overlay } = current();
    if (overlay) overlay.show(!overlay.visible);
    else if (!current().slide.set) chooseOverlay();
  },
  query: () => void current().overlay?.hover.pin(current().view()),
  compare: () => {
    if (stage.classList.contains("two")) endComparison();
    else chooseOther(current().slide.id);
  },
  toggleLink: () => {
    if (!together) return;
    if (together.linked) together.unlink();
    else together.link();
    showLink();
    rememberPlace();
  },
  panel: () => turnPanel("about"),
  display: () => turnPanel("display"),
  closePanel: () => turnPanel(shownTab),
  overview: () => document.body.classList.toggle("no-overview"),
  fullscreen: () => {
    if (document.fullscreenElement) void document.exitFullscreen();
    else document.documentElement.requestFullscreen?.().catch(() => toast("The browser does not allow full screen", "alert"));
  },
  theme: toggleTheme,
  snapshot: () => void save(),
  share: () => void share(),
  help: () => find("help").showModal(),
};

let shownTab = "about";

function showPanel(open, tab = shownTab) {
  shownTab = tab;
  find("panel").hidden = !open;
  find("panel").setAttribute("aria-label", tab === "about" ? "About this slide" : "Display");
  document.body.classList.toggle("with-panel", open);
  for (const name of ["about", "display"]) {
    find(`panel-${name}`).hidden = tab !== name;
    find(`tab-${name}`).setAttribute("aria-pressed", String(tab === name));
  }
  find("tool-panel").setAttribute("aria-expanded", String(open && tab === "about"));
  find("tool-display").setAttribute("aria-expanded", String(open && tab === "display"));
}

/** Open a tab of the panel, close the panel when it is the one that is open. */
function turnPanel(tab) {
  showPanel(find("panel").hidden || shownTab !== tab, tab);
  try {
    localStorage.setItem("microtome.panel", find("panel").hidden ? "closed" : "open");
  } catch {
    // Not remembered.
  }
}

const picker = new Picker();
const chooseOther = (id) => picker.open(id, (other) => void compareWith(other), { title: "Compare with" });

function chooseOverlay() {
  const pane = current();
  const chosen = (id) => void chooseShapes(pane, id);
  picker.open(pane.overlay?.set.id, chosen, { title: "Shapes over the slide", shapes: true });
}

function wire() {
  wireTheme();
  // A ring around the slide for those who come by keyboard, not for those who also use keys.
  document.addEventListener("keydown", (event) => event.key === "Tab" && document.body.classList.add("tabbing"));
  document.addEventListener("pointerdown", () => document.body.classList.remove("tabbing"));
  drawHelp(find("help-keys"));
  wireShortcuts(actions);
  find("to-catalogue").href = catalogueAddress("");
  find("to-folder").href = catalogueAddress(page.slide.slide_id.replace(/[^/]*$/, ""));
  for (const button of document.querySelectorAll("[data-do]")) button.addEventListener("click", () => actions[button.dataset.do]());
  for (const button of document.querySelectorAll("[data-close]")) button.addEventListener("click", () => button.closest("dialog").close());
  for (const dialog of document.querySelectorAll("dialog"))
    dialog.addEventListener("click", (event) => {
      if (event.target === dialog) dialog.close(); // the backdrop
    });
  addEventListener("hashchange", () => {
    const place = readPlace(location.hash);
    if (place?.view) panes[0].pane.show(place.view);
    panes.forEach(({ pane }, index) => pane.look.take(readPicture(location.hash, PREFIXES[index])));
  });
  for (const name of ["about", "display"]) find(`tab-${name}`).addEventListener("click", () => showPanel(true, name));
  wireRedaction(find("hide-labels"));
  redaction.addEventListener("change", () => {
    find("picture-dialog").close();
    showFacts(current().slide);
  });
}

async function begin() {
  const slide = new Slide(page.slide);
  if (!prepareOpenSeadragon()) {
    stage.append(state({ symbol: "alert", title: "The viewer is not complete", text: "OpenSeadragon could not be loaded. Reload the page; if that does not help, the server was built without its web files.", wrong: true }));
    return;
  }
  let remembered = null;
  try {
    remembered = localStorage.getItem("microtome.panel");
  } catch {
    // The default then.
  }
  const tab = slide.hasChannels || slide.set ? "display" : "about";
  showPanel(remembered ? remembered === "open" && innerWidth > 720 : innerWidth > 1200, tab);
  const place = readPlace(location.hash);
  const besides = readPicture(location.hash, PREFIXES[1]);
  await addPane(slide, readPicture(location.hash));
  magnify = new Magnify(find("magnify"), current);
  planes = new Planes(find("planes"));
  picture = new PicturePanel({ chooseShapes: chooseOverlay });
  wire();
  if (place?.view) panes[0].pane.show(place.view, { immediately: true });
  showActive();
  showTool();
  document.body.dataset.ready = "true";
  if (place?.beside) await compareWith(place.beside.id, { ...place.beside, start: besides });
}

await begin();

// The list of studies and its search (QIDO-RS, PS3.18 §10.6).

import { icon, make, state } from "../shared/dom.js";
import { count } from "../shared/format.js";
import { date, first, number, text, time, values } from "../dicom/elements.js";
import { askJson } from "../dicom/server.js";
import { addressOf } from "./place.js";

const PAGE = 50;
const LABELS = [
  ["PatientName", "Patient", "Name or part of it"],
  ["PatientID", "Patient ID", ""],
  ["StudyDescription", "Description", ""],
  ["AccessionNumber", "Accession", ""],
  ["ModalitiesInStudy", "Modality", "CT, MR, SM …"],
];

export async function showList(view, place, { go, signal }) {
  document.title = "Studies · microtome";
  const kept = view.querySelector("#search-form");
  if (!kept) {
    view.replaceChildren(make("div", { class: "heading" }, make("h1", { text: "Studies" }), make("p", { id: "count", role: "status" })), form(place, go), make("div", { id: "results" }));
  } else fillForm(kept, place);
  const results = view.querySelector("#results");
  results.setAttribute("aria-busy", "true");
  const found = await askJson("/dicom/studies", { ...parametersOf(place.search), limit: PAGE + 1, offset: place.offset, includefield: "00081030" }, signal);
  results.removeAttribute("aria-busy");
  const shown = found.slice(0, PAGE);
  const more = found.length > PAGE;
  view.querySelector("#count").textContent = countText(place, shown.length, more);
  results.replaceChildren(...(shown.length ? [table(shown), pager(place, more)] : [nothing(place)]));
}

/** What people type becomes patterns of matching (PS3.4 §C.2.2.2). */
export function parametersOf(search) {
  const found = {};
  for (const [field, value] of Object.entries(search)) {
    const typed = value.trim();
    if (!typed) continue;
    if (field === "StudyDate") found[field] = typed;
    else if (field === "ModalitiesInStudy") found[field] = typed.toUpperCase().split(/[\s,\\]+/).filter(Boolean).join(",");
    else if (/[*?]/.test(typed)) found[field] = typed;
    else found[field] = field === "PatientName" ? `*${typed.replaceAll(/[\s,^]+/g, "*")}*` : `*${typed}*`;
  }
  return found;
}

function countText(place, shown, more) {
  if (!shown) return "";
  if (!place.offset && !more) return shown === 1 ? "1 study" : `${count(shown)} studies`;
  return `${count(place.offset + 1)}–${count(place.offset + shown)}${more ? " of more" : ` of ${count(place.offset + shown)}`}`;
}

function form(place, go) {
  const fields = LABELS.map(([name, label, hint]) =>
    make("label", {}, make("span", { text: label }), make("input", { name, type: "search", placeholder: hint || null, value: place.search[name] ?? "", autocomplete: "off", spellcheck: "false" })),
  );
  const dates = make(
    "fieldset",
    { class: "dates" },
    make("legend", { text: "Date" }),
    make("input", { name: "from", type: "date", "aria-label": "From" }),
    make("span", { text: "to", "aria-hidden": "true" }),
    make("input", { name: "to", type: "date", "aria-label": "To" }),
  );
  const element = make(
    "form",
    { id: "search-form", class: "search-form", role: "search", "aria-label": "Studies" },
    ...fields.slice(0, 2),
    dates,
    ...fields.slice(2),
    make("div", { class: "search-buttons" }, make("button", { class: "button primary", type: "submit" }, icon("search"), "Search"), make("button", { class: "button", type: "reset", text: "Clear" })),
  );
  fillForm(element, place);
  element.addEventListener("submit", (event) => {
    event.preventDefault();
    go({ search: readForm(element) });
  });
  element.addEventListener("reset", (event) => {
    event.preventDefault();
    go({});
  });
  return element;
}

function readForm(element) {
  const search = {};
  for (const [name] of LABELS) search[name] = element.elements[name].value.trim();
  const [from, to] = ["from", "to"].map((name) => element.elements[name].value.replaceAll("-", ""));
  if (from || to) search.StudyDate = from === to ? from : `${from}-${to}`;
  return search;
}

function fillForm(element, place) {
  for (const [name] of LABELS) element.elements[name].value = place.search[name] ?? "";
  const dated = place.search.StudyDate ?? "";
  const [from, to = from] = dated.includes("-") ? dated.split("-") : [dated];
  element.elements.from.value = date(from);
  element.elements.to.value = date(to);
}

function table(studies) {
  const head = ["Patient", "Date", "Modality", "Description", "Accession", "Series", "Images"];
  return make(
    "div",
    { class: "table-frame" },
    make(
      "table",
      { class: "studies" },
      make("caption", { class: "visually-hidden", text: "Studies" }),
      make("thead", {}, make("tr", {}, ...head.map((name) => make("th", { scope: "col", class: /Series|Images/.test(name) ? "number" : null, text: name })))),
      make("tbody", {}, ...studies.map(row)),
    ),
  );
}

function row(study) {
  const uid = first(study, "0020000D");
  const name = text(study, "00100010") || "No name";
  const modalities = values(study, "00080061").map((each) => make("span", { class: "badge", text: each }));
  const link = make("a", { href: addressOf({ study: uid }), "data-place": "", class: text(study, "00100010") ? null : "unnamed", text: name });
  return make(
    "tr",
    {},
    make("td", {}, link, make("small", { text: text(study, "00100020") })),
    make("td", { class: "when" }, date(first(study, "00080020")), make("small", { text: time(first(study, "00080030")) })),
    make("td", {}, make("span", { class: "badges" }, ...modalities)),
    make("td", { text: text(study, "00081030") }),
    make("td", { text: text(study, "00080050") }),
    make("td", { class: "number", text: count(number(study, "00201206", 0)) }),
    make("td", { class: "number", text: count(number(study, "00201208", 0)) }),
  );
}

function pager(place, more) {
  if (!place.offset && !more) return make("div");
  const step = (label, offset, possible) =>
    possible ? make("a", { class: "button", href: addressOf({ search: place.search, offset }), "data-place": "", text: label }) : make("span", { class: "button off", "aria-disabled": "true", text: label });
  return make(
    "nav",
    { class: "pager", "aria-label": "Pages of the list" },
    step("Previous", Math.max(0, place.offset - PAGE), place.offset > 0),
    step("Next", place.offset + PAGE, more),
  );
}

function nothing(place) {
  const all = make("a", { class: "button", href: addressOf({}), "data-place": "", text: "Show all studies" });
  if (place.offset) return state({ symbol: "search", title: "The list ends before this page", text: "", actions: [all] });
  if (Object.keys(place.search).length)
    return state({ symbol: "search", title: "No study matches", text: "Every field that is filled has to match; * stands for any text and ? for one character.", actions: [all] });
  const again = make("button", { class: "button primary", type: "button", text: "Reload", on: { click: () => location.reload() } });
  return state({ symbol: "folder", title: "No studies yet", text: "The server has found no DICOM files and no slides so far. It looks for them in the background; reload in a moment.", actions: [again] });
}

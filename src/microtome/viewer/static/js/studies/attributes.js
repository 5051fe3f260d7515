// The attributes of an object as a table, sequences within it, to be searched by name, tag or value.

import { make } from "../shared/dom.js";
import { count } from "../shared/format.js";
import { date, plain } from "../dicom/elements.js";
import { askJson } from "../dicom/server.js";

const MOST_ROWS = 4000;
const MOST_ITEMS = 50;
const LONGEST = 400;

let names = null;

function nameOf(tag) {
  if (tag in (names ?? {})) return names[tag];
  return Number.parseInt(tag.slice(3, 4), 16) % 2 ? "Private attribute" : "Attribute";
}

export class Attributes {
  #header = null;
  #frame = 1;
  #waiting = 0;

  constructor() {
    this.search = make("input", { type: "search", placeholder: "Search attributes", "aria-label": "Search attributes", autocomplete: "off", spellcheck: "false", on: { input: () => this.#draw() } });
    this.body = make("tbody");
    this.told = make("p", { class: "quiet", role: "status" });
    this.element = make(
      "section",
      { class: "attributes" },
      make("div", { class: "attributes-head" }, make("h2", { text: "Attributes" }), make("label", { class: "field plain" }, this.search)),
      make("table", {}, make("caption", { class: "visually-hidden", text: "Attributes of the object shown" }), make("thead", { class: "visually-hidden" }, make("tr", {}, make("th", { scope: "col", text: "Name" }), make("th", { scope: "col", text: "Value" }))), this.body),
      this.told,
    );
  }

  /** Show the data set of an instance; quick enough to be called for every image of a stack. */
  show(header, frame) {
    if (header === this.#header && frame === this.#frame) return;
    this.#header = header;
    this.#frame = frame;
    clearTimeout(this.#waiting);
    this.#waiting = setTimeout(() => void this.#named(), 60);
  }

  async #named() {
    if (!names) {
      try {
        names = await askJson("/studies/names.json");
      } catch {
        names = {}; // Tags say it, too.
      }
    }
    this.#draw();
  }

  #draw() {
    if (!this.#header) return;
    const wanted = this.search.value.trim().toLowerCase().replaceAll(/[(),]/g, "");
    const rows = [];
    collect(this.#header, 0, wanted, rows);
    this.body.replaceChildren(...rows.slice(0, MOST_ROWS).map(element));
    this.told.textContent = rows.length > MOST_ROWS ? `The first ${count(MOST_ROWS)} of ${count(rows.length)} are shown; search for the others.` : rows.length ? "" : "No attribute matches.";
  }
}

/** Rows of a data set; of sequences those that hold something wanted. True when anything was found. */
function collect(set, depth, wanted, rows) {
  const before = rows.length;
  // Tags are put in order: those without a letter are numbers to JavaScript, and come before all others.
  for (const tag of Object.keys(set).sort()) {
    const found = set[tag];
    const name = nameOf(tag);
    const row = { tag, name, vr: found.vr, depth, value: "" };
    if (found.vr === "SQ") {
      const items = found.Value ?? [];
      row.value = items.length === 1 ? "1 item" : `${count(items.length)} items`;
      const matches = !wanted || `${name} ${tag}`.toLowerCase().includes(wanted);
      const place = rows.length;
      rows.push(row);
      const shown = wanted && !matches ? items : items.slice(0, MOST_ITEMS);
      let inside = false;
      for (const [index, item] of shown.entries()) {
        const head = rows.length;
        if (items.length > 1) rows.push({ item: index + 1, depth: depth + 1 });
        const any = collect(item, depth + 1, matches ? "" : wanted, rows);
        if (!any && wanted && !matches) rows.length = head;
        inside ||= any;
        if (rows.length > MOST_ROWS * 2) break;
      }
      if (items.length > shown.length) rows.push({ more: items.length - shown.length, depth: depth + 1 });
      if (!matches && !inside) rows.length = place;
    } else {
      row.value = valueOf(found);
      if (!wanted || `${name} ${tag} ${row.value}`.toLowerCase().includes(wanted)) rows.push(row);
    }
    if (rows.length > MOST_ROWS * 2) break;
  }
  return rows.length > before;
}

function valueOf({ vr, Value, InlineBinary, BulkDataURI }) {
  if (BulkDataURI !== undefined) return "binary, fetched on demand";
  if (InlineBinary !== undefined) return `binary, ${count(Math.floor((InlineBinary.length * 3) / 4))} bytes`;
  const texts = (Value ?? []).map((each) => (vr === "DA" ? date(each) : plain(each)));
  const whole = texts.join(" \\ ");
  return whole.length > LONGEST ? `${whole.slice(0, LONGEST)} …` : whole;
}

function element(row) {
  const depth = `depth-${Math.min(row.depth, 6)}`;
  if (row.item) return make("tr", { class: `item ${depth}` }, make("td", { colspan: 2, text: `Item ${row.item}` }));
  if (row.more) return make("tr", { class: `item ${depth}` }, make("td", { colspan: 2, text: `and ${count(row.more)} more` }));
  const tag = `${row.tag.slice(0, 4)},${row.tag.slice(4)} ${row.vr ?? ""}`;
  return make("tr", { class: depth }, make("th", { scope: "row" }, row.name, make("small", { text: tag })), make("td", { class: row.vr === "SQ" || /^binary/.test(row.value) ? "quiet" : null, text: row.value }));
}

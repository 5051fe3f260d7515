// Files that the index does not serve, and why; for whoever looks after the server.

import { ApiError } from "./shared/api.js";
import { make, state } from "./shared/dom.js";
import { bytes as size, count } from "./shared/format.js";
import { wireTheme } from "./shared/theme.js";
import { refusal } from "./dicom/refusal.js";
import { askJson } from "./dicom/server.js";

const PAGE = 100;
const KINDS = [
  ["", "Not served"],
  ["broken", "Broken"],
  ["duplicate", "Duplicates"],
  ["other", "No images"],
  ["noted", "Served with remarks"],
];
const WORDS = { broken: "broken", duplicate: "duplicate", other: "no instance", noted: "served" };

const find = (id) => document.getElementById(id);
let kind = new URLSearchParams(location.search).get("kind") ?? "";
let rows = null;
let cursor = "";

async function load() {
  find("more")?.remove();
  document.body.dataset.ready = "false";
  try {
    const found = await askJson("/admin/dicom/problems", { kind, cursor, limit: PAGE });
    showTotals(found.totals);
    showKinds();
    add(found.problems);
    cursor = found.next_cursor ?? "";
    if (found.next_cursor) find("list").append(make("div", { class: "pager", id: "more" }, make("button", { class: "button", type: "button", text: "Show more", on: { click: () => void load() } })));
    else if (!rows.childElementCount) find("list").replaceChildren(nothing());
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    find("list").replaceChildren(refusal(error, begin, "The list cannot be shown"));
  }
  document.body.dataset.ready = "true";
}

function showTotals(totals) {
  const facts = [
    ["Studies", count(totals.studies)],
    ["Series", count(totals.series)],
    ["Instances", count(totals.instances)],
    ["Files", count(totals.files)],
    ["Not served", count(totals.problems)],
    ["Size", size(totals.bytes)],
  ];
  find("totals").replaceChildren(...facts.map(([name, value]) => make("div", { class: name === "Not served" && totals.problems ? "some" : null }, make("dt", { text: name }), make("dd", { text: value }))));
  find("totals").hidden = false;
}

function showKinds() {
  find("filter").hidden = false;
  find("filter").replaceChildren(
    ...KINDS.map(([value, label]) => make("button", { class: "tool", type: "button", "aria-pressed": String(value === kind), text: label, on: { click: () => choose(value) } })),
  );
}

function choose(value) {
  kind = value;
  const query = new URLSearchParams(location.search);
  if (kind) query.set("kind", kind);
  else query.delete("kind");
  const text = query.toString();
  history.replaceState(null, "", `${location.pathname}${text ? `?${text}` : ""}`);
  begin();
}

function add(problems) {
  rows.append(
    ...problems.map((each) =>
      make(
        "tr",
        {},
        make("td", {}, make("code", { text: each.key })),
        make("td", {}, make("span", { class: each.kind === "broken" ? "badge wrong" : "badge", text: WORDS[each.kind] })),
        make("td", { text: each.reason }),
        make("td", { class: "number", text: size(each.bytes) }),
      ),
    ),
  );
}

function nothing() {
  return state({ symbol: "check", title: kind ? "Nothing of this kind" : "Every DICOM file is served", text: kind ? "" : "The index has met no broken file." });
}

function begin() {
  cursor = "";
  rows = make("tbody");
  const head = ["File", "Kind", "Reason", "Size"].map((name) => make("th", { scope: "col", class: name === "Size" ? "number" : null, text: name }));
  find("list").replaceChildren(make("div", { class: "table-frame" }, make("table", { class: "studies problems" }, make("caption", { class: "visually-hidden", text: "Files" }), make("thead", {}, make("tr", {}, ...head)), rows)));
  void load();
}

wireTheme();
begin();

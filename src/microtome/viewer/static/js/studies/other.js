// Objects without a picture: documents, reports, waveforms, and what is only data.

import { make, state } from "../shared/dom.js";
import { address } from "../shared/api.js";
import { first, items, number, plain, text } from "../dicom/elements.js";
import { hasToken, save } from "../dicom/server.js";
import { waveforms } from "./waveform.js";

/** An element that shows what there is to show of an instance at `path`. */
export async function otherThanPicture(header, path, signal) {
  if (header["00420011"]) return documentOf(header, path);
  if (header["0040A730"]) return report(header);
  if (header["54000100"]) return waveforms(header, signal);
  return state({
    symbol: "info",
    title: KINDS[text(header, "00080060")] ?? "This object has no picture",
    text: "Its attributes are in the panel beside; the file itself can be saved.",
  });
}

const KINDS = {
  RTSTRUCT: "Contours for radiotherapy",
  RTPLAN: "A plan for radiotherapy",
  RTRECORD: "A record of radiotherapy",
  ANN: "Annotations of a slide",
  PR: "How another image is to be presented",
  KO: "A selection of objects",
  REG: "A registration of images",
  RWV: "Real world values of another image",
};

function documentOf(header, path) {
  const type = text(header, "00420012") || "application/octet-stream";
  const title = text(header, "00420010") || text(header, "0008103E") || "A document";
  const pdf = type === "application/pdf";
  const name = `${text(header, "00080018")}${pdf ? ".pdf" : ""}`;
  const from = pdf ? `${path}/rendered` : `${path}/bulk/00420011`;
  const download = make("button", { class: "button", type: "button", text: "Save", on: { click: () => void save(from, pdf ? "application/pdf" : "application/octet-stream", name) } });
  // A link cannot bring a token; the file is saved then.
  const open = pdf && !hasToken() ? make("a", { class: "button primary", href: address(from), target: "_blank", rel: "noopener", text: "Open the PDF" }) : null;
  return state({ symbol: "info", title, text: `An encapsulated document (${type}).`, actions: [open, download].filter(Boolean) });
}

/** The tree of content items of a structured report (PS3.3 §C.17.3). */
function report(header) {
  const meaning = (code) => text(code, "00080104");
  const title = meaning(first(header, "0040A043")) || text(header, "0008103E") || "Report";
  const facts = [text(header, "00100010"), ["0040A491", "0040A493"].map((tag) => text(header, tag).toLowerCase()).filter(Boolean).join(", ")].filter(Boolean);
  const list = (set, depth) => {
    const found = items(set, "0040A730");
    if (!found.length || depth > 20) return null;
    return make("ul", {}, ...found.map((item) => make("li", {}, ...content(item), list(item, depth + 1))));
  };
  const content = (item) => {
    const name = meaning(first(item, "0040A043"));
    const value = valueOf(item, meaning);
    if (!value) return [make("strong", { text: name || text(item, "0040A040").toLowerCase() })];
    return [name ? make("span", { class: "concept", text: `${name}: ` }) : null, make("span", { text: value })];
  };
  return make("article", { class: "report" }, make("h2", { text: title }), make("p", { class: "quiet", text: facts.join(" · ") }), list(header, 0));
}

function valueOf(item, meaning) {
  const kind = text(item, "0040A040");
  switch (kind) {
    case "TEXT":
      return text(item, "0040A160");
    case "CODE":
      return meaning(first(item, "0040A168"));
    case "NUM": {
      const measured = first(item, "0040A300");
      return [text(measured, "0040A30A"), meaning(first(measured, "004008EA"))].filter(Boolean).join(" ");
    }
    case "PNAME":
      return plain(first(item, "0040A123"));
    case "DATE":
      return text(item, "0040A121");
    case "TIME":
      return text(item, "0040A122");
    case "DATETIME":
      return text(item, "0040A120");
    case "UIDREF":
      return text(item, "0040A124");
    case "IMAGE":
    case "COMPOSITE":
    case "WAVEFORM": {
      const to = first(item, "00081199");
      const frames = number(to, "00081160");
      return `${kind.toLowerCase()} ${text(to, "00081155")}${frames ? `, frame ${frames}` : ""}`;
    }
    case "SCOORD":
    case "SCOORD3D":
      return `${text(item, "00700023").toLowerCase()} of ${(item["00700022"]?.Value?.length ?? 0) / (kind === "SCOORD" ? 2 : 3)} points`;
    default:
      return "";
  }
}


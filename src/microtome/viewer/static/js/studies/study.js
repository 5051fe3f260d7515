// A study: who and when, and its series as cards.

import { icon, make } from "../shared/dom.js";
import { ApiError, address } from "../shared/api.js";
import { count } from "../shared/format.js";
import { page } from "../shared/page.js";
import { Queue } from "../shared/queue.js";
import { date, first, number, text, time, values } from "../dicom/elements.js";
import { askBlob, askJson, dicomPath, hasToken } from "../dicom/server.js";
import { addressOf, ohifAddress } from "./place.js";

const AT_ONCE = 4;
const FACTS = [
  ["Patient ID", (study) => text(study, "00100020")],
  ["Born", (study) => date(first(study, "00100030"))],
  ["Sex", (study) => ({ F: "female", M: "male", O: "other" })[first(study, "00100040")] ?? ""],
  ["Date", (study) => [date(first(study, "00080020")), time(first(study, "00080030"))].filter(Boolean).join(", ")],
  ["Accession", (study) => text(study, "00080050")],
  ["Referring physician", (study) => text(study, "00080090")],
];

export async function showStudy(view, place, { signal }) {
  const path = dicomPath(place.study);
  const [[study], series] = await Promise.all([
    askJson("/dicom/studies", { StudyInstanceUID: place.study, includefield: "00081030" }, signal),
    askJson(`${path}/series`, {}, signal),
  ]);
  if (!study || !series.length) throw new ApiError("missing", "There is no such study. It may have been removed, or never have been here.", 404);
  const name = text(study, "00100010") || "No name";
  document.title = `${name} · microtome`;
  const pictures = new Pictures(signal);
  view.replaceChildren(
    make("nav", { "aria-label": "Studies", class: "crumbs" }, make("a", { href: addressOf({}), "data-place": "" }, icon("back"), "All studies")),
    make(
      "header",
      { class: "study-head" },
      make("div", { class: "who" }, make("h1", { text: name }), make("p", { text: text(study, "00081030") })),
      // A link cannot bring a token, and a study may be too large to be held by the page.
      hasToken() ? null : make("a", { class: "button", href: address(path, { accept: "application/zip" }), download: "", text: "Save" }),
      page.ohif ? make("a", { class: "button", href: ohifAddress(place.study, values(study, "00080061")), text: "Open in OHIF" }) : null,
    ),
    make("dl", { class: "study-facts" }, ...FACTS.map(([label, read]) => [label, read(study)]).filter(([, value]) => value).map(([label, value]) => make("div", {}, make("dt", { text: label }), make("dd", { text: value })))),
    make("h2", { class: "visually-hidden", text: "Series" }),
    make("ul", { class: "series-cards" }, ...series.map((each) => make("li", {}, card(place.study, each, pictures)))),
  );
}

function card(study, series, pictures) {
  const uid = first(series, "0020000E");
  const images = number(series, "00201209", 0);
  const modality = text(series, "00080060");
  const mount = make("span", { class: "mount" }, make("span", { class: "sign", "aria-hidden": "true", text: modality }));
  pictures.add(mount, `${dicomPath(study, uid)}/thumbnail`);
  const ordinal = number(series, "00200011");
  return make(
    "a",
    { class: "series-card", href: addressOf({ study, series: uid }), "data-place": "" },
    mount,
    make(
      "span",
      { class: "about" },
      make("span", { class: "name", text: text(series, "0008103E") || "No description" }),
      make("span", { class: "facts" }, make("span", { class: "badge", text: modality }), make("span", { text: ordinal === null ? "" : `Series ${ordinal}` }), make("span", { class: "number", text: `${count(images)} ${images === 1 ? "object" : "objects"}` })),
    ),
  );
}

/** Thumbnails of cards, fetched when the cards come near. */
class Pictures {
  #queue = new Queue(AT_ONCE);
  #paths = new Map();
  #signal;
  #near;

  constructor(signal) {
    this.#signal = signal;
    this.#near = new IntersectionObserver((entries) => {
      for (const { isIntersecting, target } of entries) if (isIntersecting) this.#fetch(target);
    }, { rootMargin: "300px" });
    signal.addEventListener("abort", () => {
      this.#near.disconnect();
      this.#queue.clear();
    });
  }

  add(mount, path) {
    this.#paths.set(mount, path);
    this.#near.observe(mount);
  }

  #fetch(mount) {
    this.#near.unobserve(mount);
    this.#queue.add(mount, async () => {
      try {
        const url = URL.createObjectURL(await askBlob(this.#paths.get(mount), { viewport: "320,240" }, "image/jpeg", this.#signal));
        const image = make("img", { src: url, alt: "" });
        image.addEventListener("load", () => URL.revokeObjectURL(url), { once: true });
        mount.append(image);
      } catch (error) {
        if (error.name !== "AbortError" && !(error instanceof ApiError)) throw error;
        // No picture in it: its modality stands there.
      }
    });
  }
}

// Whether labels are hidden: one choice for all pages of this browser. A macro shows the label with the glass, and
// some properties tell what a label tells.

const KEY = "microtome.labels";
const PICTURES = /label|macro|overview/i;
const PROPERTIES = /bar.?code|label|patient|accession|container.?id|specimen.?id|case.?(id|number)|slide.?(id|name)$/i;

export const tellsLabel = (picture) => PICTURES.test(picture);
export const tellsPatient = (property) => PROPERTIES.test(property);

/** Events: "change". */
class Redaction extends EventTarget {
  constructor() {
    super();
    this.on = read();
    addEventListener("storage", (event) => {
      if (event.key === KEY) this.#take(event.newValue === "hidden");
    });
  }

  set(on) {
    try {
      localStorage.setItem(KEY, on ? "hidden" : "shown");
    } catch {
      // Not remembered, but it holds for this page.
    }
    this.#take(on);
  }

  #take(on) {
    this.on = on;
    this.dispatchEvent(new Event("change"));
  }
}

function read() {
  try {
    return localStorage.getItem(KEY) === "hidden";
  } catch {
    return false;
  }
}

export const redaction = new Redaction();

/** Wire buttons or check boxes that show and turn the choice. */
export function wireRedaction(control) {
  const show = () => {
    if (control.type === "checkbox") control.checked = redaction.on;
    else control.setAttribute("aria-pressed", String(redaction.on));
  };
  control.addEventListener(control.type === "checkbox" ? "change" : "click", () => redaction.set(!redaction.on));
  redaction.addEventListener("change", show);
  show();
}

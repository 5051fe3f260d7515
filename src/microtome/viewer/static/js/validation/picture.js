// One answer at its real size, with what was asked and what came.

import { icon, make } from "../shared/dom.js";
import { count } from "../shared/format.js";

const find = (id) => document.getElementById(id);
let shown = null;

export function showPicture(title, path, { outcome, reason, status, ms, bytes, size, body }) {
  forget();
  find("picture-title").textContent = title;
  const facts = [
    ["Request", make("code", { text: path })],
    ["Status", String(status || "no answer")],
    ["Time", `${ms.toFixed(1)} ms`],
    ["Received", `${count(bytes)} bytes`],
    size ? ["Size", `${size} px`] : null,
    outcome === "failed" ? ["Reason", make("strong", { text: reason })] : null,
  ];
  if (body && size) shown = URL.createObjectURL(body);
  find("picture-body").replaceChildren(
    shown ? make("img", { src: shown, alt: title }) : make("div", { class: "none" }, icon(outcome === "failed" ? "alert" : "minus")),
    make("dl", {}, ...facts.filter(Boolean).flatMap(([name, value]) => [make("dt", { text: name }), make("dd", {}, value)])),
  );
  find("picture").showModal();
}

function forget() {
  if (shown) URL.revokeObjectURL(shown);
  shown = null;
}

export function wirePicture() {
  const dialog = find("picture");
  find("picture-close").addEventListener("click", () => dialog.close());
  dialog.addEventListener("close", forget);
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) dialog.close();
  });
}

// The page of studies: which view the address asks for. Views make their elements; this module shows one at a time.

import { ApiError } from "./shared/api.js";
import { make } from "./shared/dom.js";
import { page } from "./shared/page.js";
import { wireTheme } from "./shared/theme.js";
import { refusal } from "./dicom/refusal.js";
import { hasToken } from "./dicom/server.js";
import { showList } from "./studies/list.js";
import { showSeries } from "./studies/series.js";
import { showStudy } from "./studies/study.js";
import { readPlace, addressOf } from "./studies/place.js";

const view = document.getElementById("view");
const notice = document.getElementById("notice");
let abort = null;

async function open() {
  abort?.abort();
  abort = new AbortController();
  const { signal } = abort;
  const place = readPlace();
  document.body.classList.toggle("viewing", Boolean(place.series));
  document.body.dataset.ready = "false";
  notice.hidden = !page.notice || Boolean(place.study);
  const show = place.series ? showSeries : place.study ? showStudy : showList;
  try {
    await show(view, place, { go, signal });
    document.body.dataset.ready = "true";
  } catch (error) {
    if (signal.aborted || error.name === "AbortError") return;
    if (!(error instanceof ApiError)) throw error;
    document.body.classList.remove("viewing");
    const title = make("h1", { class: "visually-hidden", text: "Studies" });
    view.replaceChildren(title, refusal(error, open, place.study ? "This study cannot be shown" : "The studies cannot be listed"));
    document.body.dataset.ready = "true";
  }
}

function go(place, { replace = false } = {}) {
  history[replace ? "replaceState" : "pushState"](null, "", addressOf(place));
  void open();
}

function wire() {
  wireTheme();
  // Every second part stands between backquotes: something to be typed.
  const parts = (page.notice ?? "").split("`").map((part, index) => (index % 2 ? make("code", { text: part }) : part));
  notice.querySelector("span").append(...parts);
  // Places are links with an address of their own, followed without loading the page anew: a token is kept that way.
  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[data-place]");
    if (!link || event.button !== 0 || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    history.pushState(null, "", link.href);
    scrollTo(0, 0);
    void open();
  });
  addEventListener("popstate", () => void open());
  addEventListener("beforeunload", () => abort?.abort());
}

wire();
if (page.query && !hasToken()) history.replaceState(null, "", addressOf(readPlace()));
void open();

// The catalogue page: where we are (folder or search, in the address), what is there, and what to say when nothing is.

import { Cards } from "./catalogue/cards.js";
import { Listing } from "./catalogue/listing.js";
import { ApiError } from "./shared/api.js";
import { icon, make, state } from "./shared/dom.js";
import { count } from "./shared/format.js";
import { page } from "./shared/page.js";
import { wireRedaction } from "./shared/redaction.js";
import { wireTheme } from "./shared/theme.js";

const find = (id) => document.getElementById(id);
const folders = find("folders");
const search = find("search");
const more = find("more");
const cards = new Cards(find("cards"));

let listing = null;
let abort = null;
let totals = { slides: 0, folders: 0 };

function where() {
  const query = new URLSearchParams(location.search);
  return { folder: query.get("folder") ?? "", search: query.get("search") ?? "" };
}

function addressOf({ folder = "", search: wanted = "" }) {
  // A signature covers the address it was made for; what the page was given in return for it covers every folder.
  const query = new URLSearchParams(page.query || location.search);
  query.delete("folder");
  query.delete("search");
  if (folder) query.set("folder", folder);
  if (wanted) query.set("search", wanted);
  const text = query.toString();
  return `${page.base}/${text ? `?${text}` : ""}`;
}

function go(place, { replace = false } = {}) {
  history[replace ? "replaceState" : "pushState"](null, "", addressOf(place));
  open();
}

function open() {
  const place = where();
  abort?.abort();
  abort = new AbortController();
  listing = new Listing(place);
  totals = { slides: 0, folders: 0 };
  cards.clear();
  folders.hidden = true;
  folders.firstElementChild.replaceChildren();
  find("state").replaceChildren();
  if (document.activeElement !== search) search.value = place.search;
  showPath(place);
  void load(abort.signal);
}

function showPath({ folder, search: wanted }) {
  const parts = folder.split("/").filter(Boolean);
  const steps = wanted
    ? [{ name: "All slides", folder: "" }, { name: `“${wanted}”` }]
    : [{ name: "All slides", folder: "" }, ...parts.map((name, index) => ({ name, folder: `${parts.slice(0, index + 1).join("/")}/` }))];
  const items = steps.map((step, index) =>
    make(
      "li",
      {},
      index ? icon("chevron") : null,
      index < steps.length - 1
        ? make("a", { href: addressOf({ folder: step.folder }), "data-folder": step.folder, text: step.name })
        : make("h1", { text: step.name, "aria-current": "page" }),
    ),
  );
  find("breadcrumb").replaceChildren(make("ol", {}, ...items));
  document.title = `${steps.at(-1).name} · microtome`;
}

/** Fetches pages until the screen is full or the list ends; the observer of `more` goes on from there. */
async function load(signal) {
  const current = listing;
  if (current.busy) return; // it goes on by itself as long as the end is near
  current.busy = true;
  try {
    do {
      const { slides, folders: inside, names } = await current.next(signal);
      totals.slides += slides.length;
      totals.folders += inside.length;
      folders.firstElementChild.append(...inside.map((name) => folderLink(current.folder + name)));
      folders.hidden = totals.folders === 0;
      cards.add(slides, { withFolder: current.search !== "", names });
      showCount(current);
    } while (!current.done && nearEnd());
    if (totals.slides + totals.folders === 0) find("state").replaceChildren(emptyState(current));
  } catch (error) {
    if (error.name === "AbortError") return;
    if (!(error instanceof ApiError)) throw error;
    find("count").textContent = "";
    find("state").replaceChildren(errorState(error));
  } finally {
    current.busy = false;
  }
}

const nearEnd = () => more.getBoundingClientRect().top < innerHeight + 600;

function folderLink(folder) {
  const name = folder.slice(folder.lastIndexOf("/") + 1);
  return make(
    "li",
    {},
    make("a", { href: addressOf({ folder: `${folder}/` }), "data-folder": `${folder}/`, title: `${folder}/` }, icon("folder"), make("span", { text: name })),
  );
}

function showCount(current) {
  const plus = current.done ? "" : "+";
  const parts = [];
  if (totals.folders) parts.push(`${count(totals.folders)} ${totals.folders === 1 ? "folder" : "folders"}`);
  if (totals.slides || !totals.folders) parts.push(`${count(totals.slides)}${plus} ${totals.slides === 1 ? "slide" : "slides"}`);
  find("count").textContent = parts.join(", ");
}

function emptyState(current) {
  if (current.search)
    return state({
      symbol: "search",
      title: "No slide matches",
      text: `No name or folder contains “${current.search}”.`,
      actions: [make("a", { class: "button", href: addressOf({}), "data-folder": "", text: "Show all slides" })],
    });
  if (current.folder)
    return state({
      symbol: "folder",
      title: "This folder is empty",
      text: "It may have been moved or renamed since the link was made.",
      actions: [make("a", { class: "button", href: addressOf({}), "data-folder": "", text: "Show all slides" })],
    });
  const commands = [
    ["microtome serve /path/to/slides", "a folder"],
    ["microtome serve s3://bucket/prefix", "a bucket: s3, gs, az, https"],
    ["microtome demo", "no slides at hand: paint one"],
  ].map(([command, what]) => make("li", {}, make("code", { text: command }), make("span", { text: what })));
  return state({
    symbol: "slides",
    title: "No slides here yet",
    text: "The server found no slide files. Add some where it looks, and reload; or point it somewhere else:",
    extra: [make("ul", { class: "commands" }, ...commands)],
    actions: [make("button", { class: "button primary", type: "button", text: "Reload", on: { click: open } })],
  });
}

function errorState(error) {
  const again = make("button", { class: "button primary", type: "button", text: "Try again", on: { click: open } });
  if (error.kind === "unauthorised")
    return state({
      symbol: "lock",
      title: "This server asks for signed links",
      text: "The list of slides is open to holders of a signed link, for as long as the link is good. Whoever runs the server can make one:",
      extra: [
        make(
          "ul",
          { class: "commands" },
          make("li", {}, make("code", { text: "microtome sign --path /" }), make("span", { text: "a link to all of them" })),
          make("li", {}, make("code", { text: "microtome sign --path /view/SLIDE" }), make("span", { text: "a link to one" })),
        ),
      ],
    });
  if (error.kind === "unreachable")
    return state({ symbol: "offline", title: "The server does not answer", text: "It may have stopped, or the network is down.", wrong: true, actions: [again] });
  return state({ symbol: "alert", title: "The slides cannot be listed", text: error.message, wrong: true, actions: [again] });
}

function showAs(layout) {
  find("cards").className = `cards ${layout}`;
  for (const name of ["grid", "list"]) find(`as-${name}`).setAttribute("aria-pressed", String(name === layout));
  try {
    localStorage.setItem("microtome.layout", layout);
  } catch {
    // Not remembered, but shown.
  }
}

function wire() {
  wireTheme();
  wireRedaction(find("hide-labels"));
  for (const layout of ["grid", "list"]) find(`as-${layout}`).addEventListener("click", () => showAs(layout));
  let remembered = null;
  try {
    remembered = localStorage.getItem("microtome.layout");
  } catch {
    // The grid then.
  }
  showAs(remembered === "list" ? "list" : "grid");

  // Folders are links with an address of their own, followed without loading the page anew.
  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[data-folder]");
    if (!link || event.button !== 0 || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    search.value = "";
    go({ folder: link.dataset.folder });
    find("slides").focus({ preventScroll: true });
    scrollTo(0, 0);
  });
  let typing = 0;
  search.addEventListener("input", () => {
    clearTimeout(typing);
    typing = setTimeout(() => go({ search: search.value.trim() }, { replace: where().search !== "" }), 250);
  });
  find("search-form").addEventListener("submit", (event) => {
    event.preventDefault();
    clearTimeout(typing);
    go({ search: search.value.trim() }, { replace: where().search !== "" });
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "/" && document.activeElement !== search && !event.ctrlKey && !event.metaKey) {
      event.preventDefault();
      search.focus();
      search.select();
    } else if (event.key === "Escape" && document.activeElement === search) {
      clearTimeout(typing);
      search.value = "";
      search.blur();
      if (where().search) go({});
    }
  });
  addEventListener("popstate", () => {
    search.value = where().search;
    open();
  });
  new IntersectionObserver(
    ([entry]) => {
      if (entry.isIntersecting && listing && !listing.done && totals.slides + totals.folders > 0) void load(abort.signal);
    },
    { rootMargin: "600px" },
  ).observe(more);
}

/** The slides are switched off: what else there is. */
function lead(pages) {
  wireTheme();
  find("search-form").style.visibility = "hidden"; // it keeps its place among the tools
  for (const id of ["as-grid", "hide-labels"]) (find(id).closest(".segmented") ?? find(id)).hidden = true;
  find("state").replaceChildren(
    state({
      symbol: "slides",
      title: "Slides are not shown here",
      text: `Whoever runs this server has switched the slides off.${pages.length ? " It has:" : ""}`,
      actions: pages.map(([title, path]) => make("a", { class: "button", href: page.base + path, text: title })),
    }),
  );
}

if (page.elsewhere) lead(page.elsewhere);
else {
  wire();
  if (page.query) history.replaceState(null, "", addressOf(where()));
  open();
}

// The page that checks every slide: start and stop, what has been found so far, and what to show of it.

import { icon, make, state } from "./shared/dom.js";
import { count } from "./shared/format.js";
import { page } from "./shared/page.js";
import { Queue } from "./shared/queue.js";
import { wireTheme } from "./shared/theme.js";
import { milliseconds, SlideCard } from "./validation/card.js";
import { wirePicture } from "./validation/picture.js";
import { save, table } from "./validation/report.js";
import { Refused, Server } from "./validation/server.js";
import { isLogin, walk } from "./validation/walk.js";

const SLIDES = 2;
const KEPT_OPEN = 40;
const LIMITS = { thumbnail: page.thumbnail ?? 256, region: page.region ?? 65_536 };

const find = (id) => document.getElementById(id);
const server = new Server();
let run = null;

/** One walk through the catalogue. */
class Run {
  records = [];
  times = [];
  cards = { found: 0, done: 0, failed: 0 };
  outcomes = { passed: 0, failed: 0, absent: 0 };
  #controller = new AbortController();
  #queue = new Queue(SLIDES);
  #open = [];
  #listed = false;
  #painting = false;
  #ended;

  get running() {
    return !this.#ended;
  }

  stop() {
    this.#controller.abort();
    this.#queue.clear();
    this.#end("stopped");
  }

  async begin() {
    const { signal } = this.#controller;
    this.paint();
    try {
      for await (const found of walk(server, signal)) this.#add(found);
    } catch (error) {
      if (signal.aborted) return;
      this.#controller.abort();
      this.#queue.clear();
      this.#end("broken");
      find("state").replaceChildren(refusal(error));
      if (!(error instanceof Refused)) throw error;
      return;
    }
    this.#listed = true;
    this.#endIfDone();
  }

  #add({ id, name, slides, failed }) {
    if (failed) this.#note(name, { slide: "", check: "List of slides", outcome: "failed", bytes: 0, reason: failed.message, status: failed.status, ms: failed.ms });
    if (!slides.length && !failed) return;
    const list = make("ol", { class: "slides" });
    find("slides").append(
      make(
        "section",
        { class: failed ? "case failed" : "case" },
        make("h2", { title: id }, icon("folder"), make("span", { text: name || "Top folder" }), make("small", { text: slides.length === 1 ? "1 slide" : `${count(slides.length)} slides` })),
        failed ? make("p", { class: "refused" }, icon("alert"), make("span", { text: failed.message })) : null,
        list,
      ),
    );
    for (const slide of slides) {
      const card = new SlideCard(server, slide, LIMITS, (result) => this.#note(name, result));
      list.append(card.element);
      this.cards.found += 1;
      this.#queue.add(card, () => this.#check(card));
    }
    this.paint();
  }

  async #check(card) {
    await card.run(this.#controller.signal);
    if (this.#controller.signal.aborted) return;
    this.cards.done += 1;
    if (card.failed) this.cards.failed += 1;
    else this.#open.push(card);
    if (this.#open.length > KEPT_OPEN) this.#open.shift().drop();
    this.#endIfDone();
  }

  #note(name, { body, size, ...result }) {
    this.records.push({ case: name, ...result });
    this.outcomes[result.outcome] += 1;
    if (result.outcome === "passed") insert(this.times, result.ms);
    this.paint();
  }

  #endIfDone() {
    this.paint();
    if (this.#listed && this.cards.done === this.cards.found) this.#end("complete");
  }

  #end(how) {
    this.#ended ??= how;
    this.paint();
  }

  /** At most once a frame. */
  paint() {
    if (this.#painting) return;
    this.#painting = true;
    requestAnimationFrame(() => {
      this.#painting = false;
      if (run === this) this.#show();
    });
  }

  #show() {
    const { found, done, failed } = this.cards;
    find("start").hidden = this.running;
    find("start").textContent = "Start again";
    find("stop").hidden = !this.running;
    find("save").disabled = !this.records.length;
    const progress = find("progress");
    progress.max = Math.max(found, 1);
    progress.value = this.#ended === "complete" ? progress.max : done;
    progress.classList.toggle("bad", failed + this.outcomes.failed > 0);
    find("total-slides").textContent = done < found ? `${count(done)} / ${count(found)}` : count(found);
    for (const name of ["passed", "failed", "absent"]) find(`total-${name}`).textContent = count(this.outcomes[name]);
    find("total-failed").parentElement.classList.toggle("some", this.outcomes.failed > 0);
    find("total-median").textContent = this.times.length ? milliseconds(this.times[this.times.length >> 1]) : "–";
    find("total-slowest").textContent = this.times.length ? milliseconds(this.times.at(-1)) : "–";
    find("failed-slides").textContent = count(failed);
    find("status").textContent = this.#sentence();
    document.body.dataset.run = this.#ended ?? "running";
    if (this.#ended === "complete" && !found && !this.outcomes.failed)
      find("state").replaceChildren(state({ symbol: "slides", title: "No slides here yet", text: "The catalogue lists neither cases nor slides." }));
    else if (this.#ended !== "broken") find("state").replaceChildren(...(failed || !onlyFailed() ? [] : [nothingFailed(this)]));
  }

  #sentence() {
    const { found, done, failed } = this.cards;
    const of = `${count(done)} of ${count(found)} ${found === 1 ? "slide" : "slides"}`;
    if (this.#ended === "stopped") return `Stopped after ${of}.`;
    if (this.#ended === "broken") return "The slides could not be listed.";
    if (this.running) return found ? `Checking: ${of}${this.#listed ? "" : " so far"}` : "Looking for slides…";
    if (!found) return "There is nothing to check.";
    if (failed) return `${count(failed)} of ${count(found)} ${found === 1 ? "slide" : "slides"} failed.`;
    if (this.outcomes.failed) return "All slides passed, and some cases could not be listed.";
    return found === 1 ? "The slide passed." : `All ${count(found)} slides passed.`;
  }
}

/** Keeps `sorted` so. */
function insert(sorted, value) {
  let [low, high] = [0, sorted.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (sorted[middle] < value) low = middle + 1;
    else high = middle;
  }
  sorted.splice(low, 0, value);
}

function nothingFailed({ running }) {
  return state({ symbol: "check", title: running ? "Nothing has failed so far" : "Nothing has failed", text: "All slides are shown under “All slides”." });
}

function refusal(error) {
  if (!(error instanceof Refused)) return state({ symbol: "alert", title: "The slides cannot be listed", text: "The answer of the server makes no sense.", wrong: true });
  if (isLogin(error) && page.login === "signed")
    return state({
      symbol: "lock",
      title: "This server asks for signed links",
      text: "Whoever runs the server can make one for this page:",
      extra: [make("ul", { class: "commands" }, make("li", {}, make("code", { text: "microtome sign --path /validation_viewer" }), make("span", { text: "a link to this page" })))],
    });
  if (isLogin(error)) {
    find("token-field").hidden = false;
    find("token").focus();
    const text = server.token ? `The token was refused: ${error.message}` : "Enter a bearer token above, and start again.";
    return state({ symbol: "lock", title: "This server needs a login", text, wrong: Boolean(server.token) });
  }
  if (error.status === 0) return state({ symbol: "offline", title: "The server does not answer", text: "It may have stopped, or the network is down.", wrong: true });
  return state({ symbol: "alert", title: "The slides cannot be listed", text: error.message, wrong: true });
}

const onlyFailed = () => find("slides").classList.contains("only-failed");

function show(failed) {
  find("slides").classList.toggle("only-failed", failed);
  find("show-all").setAttribute("aria-pressed", String(!failed));
  find("show-failed").setAttribute("aria-pressed", String(failed));
  run?.paint();
}

function start() {
  if (run?.running) return;
  server.token = find("token").value.trim().replace(/^bearer\s+/i, "");
  find("slides").replaceChildren();
  find("state").replaceChildren();
  run = new Run();
  void run.begin();
}

wireTheme();
wirePicture();
find("token-field").hidden = page.login !== "token";
find("run").addEventListener("submit", (event) => {
  event.preventDefault();
  start();
});
find("stop").addEventListener("click", () => run?.stop());
find("save").addEventListener("click", () => save("validation.csv", table(run.records)));
find("show-all").addEventListener("click", () => show(false));
find("show-failed").addEventListener("click", () => show(true));
document.body.dataset.run = "none";

// The scene's own API. Errors are ApiError with a sentence for people.

import { ApiError, address, errorOf } from "../shared/api.js";

const ROOT = "/scene/v1";

async function ask(method, path, { params = {}, body, signal } = {}) {
  let response;
  try {
    response = await fetch(address(ROOT + path, params), {
      method,
      signal,
      headers: body instanceof Blob || body === undefined ? {} : { "content-type": "application/json" },
      body: body === undefined || body instanceof Blob ? body : JSON.stringify(body),
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError("unreachable", "The server does not answer.");
  }
  if (!response.ok) throw await errorOf(response);
  return response.status === 204 ? null : response.json();
}

export const get = (path, params) => ask("GET", path, { params });
export const patch = (path, body) => ask("PATCH", path, { body });
export const post = (path, body, params) => ask("POST", path, { body, params });
export const remove = (path) => ask("DELETE", path);
export const id = encodeURIComponent;

/** Load a file into the scene; what it is shows in its name. The ids of the nodes it became. */
export async function upload(file) {
  const { ids } = await ask("POST", "/files", { params: { name: file.name }, body: file });
  return ids;
}

export const sceneAddress = (path, params) => address(ROOT + path, params);

/** Nodes that the views change themselves while they are drawn and moved. */
const OWN = /^vtkMRML(Camera|View|Slice\w*|Layout|Crosshair|Selection|Interaction)Node$/;

/** Call `changed` when something in the scene has changed, at most a few times a second. */
export function follow(changed) {
  let due = 0;
  const source = new EventSource(address(`${ROOT}/events`));
  const soon = (event) => {
    if (due || isOwn(event.data)) return;
    due = setTimeout(() => {
      due = 0;
      changed();
    }, 250);
  };
  for (const name of ["message", "added", "removed", "modified", "lost", "missed"]) source.addEventListener(name, soon);
  addEventListener("beforeunload", () => source.close());
}

/** Whether an event is about nothing but the views. */
function isOwn(data) {
  try {
    return OWN.test(JSON.parse(data).class_name);
  } catch {
    return false;
  }
}

/** A live view: pictures come to `shown(bitmap, told)`, errors to `failed(message)`. */
export class Live {
  #socket = null;
  #number = 0;
  #waiting = [];
  #told = null;
  #pause = 500;
  #closed = false;

  constructor(view, { shown, failed }) {
    this.view = view;
    this.shown = shown;
    this.failed = failed;
    this.looks = {};
    this.#open();
    addEventListener("beforeunload", () => {
      this.#closed = true;
      this.#socket?.close();
    });
  }

  /** Ask for a picture after a move; `looks` (size, overlay) stay as they are until they are told again. */
  ask(fields = {}) {
    const message = JSON.stringify({ ...this.looks, ...fields, number: ++this.#number });
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(message);
    else if (Object.keys(fields).length) this.#waiting.push(message);
  }

  #open() {
    const path = address(`${ROOT}/views/${encodeURIComponent(this.view)}/stream`);
    const url = new URL(path, location.href);
    url.protocol = url.protocol.replace("http", "ws");
    const socket = new WebSocket(url);
    socket.binaryType = "blob";
    socket.addEventListener("open", () => {
      this.#pause = 500;
      for (const message of this.#waiting.splice(0)) socket.send(message);
      this.ask();
    });
    socket.addEventListener("message", (event) => this.#heard(event.data));
    socket.addEventListener("close", () => {
      if (this.#closed) return;
      this.failed("The connection to the scene was lost; trying again …");
      setTimeout(() => this.#open(), this.#pause);
      this.#pause = Math.min(this.#pause * 2, 8000);
    });
    this.#socket = socket;
  }

  async #heard(data) {
    if (typeof data === "string") {
      this.#told = JSON.parse(data);
      if (this.#told.kind === "error") this.failed(this.#told.message);
      return;
    }
    const told = this.#told;
    try {
      const bitmap = await createImageBitmap(data);
      this.shown(bitmap, told);
    } finally {
      this.#socket.send(JSON.stringify({ seen: told.number }));
    }
  }
}

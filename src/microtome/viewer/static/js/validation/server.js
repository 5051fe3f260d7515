// Requests of the validation: timed, never from a cache, with the token a person gave.

import { page } from "../shared/page.js";

const PATIENCE = 60_000;

/** An answer that is none, in words for people. `status` is 0 when there was no answer at all. */
export class Refused extends Error {
  constructor(reason, status, ms) {
    super(reason);
    this.name = "Refused";
    this.status = status;
    this.ms = ms;
  }
}

/** An address of the server; unlike elsewhere an empty value counts: it names the root of the catalogue. */
export function address(path, params = {}) {
  const parts = Object.entries(params).map(([name, value]) => `${name}=${encodeURIComponent(value)}`);
  if (page.query) parts.push(page.query);
  return page.base + path + (parts.length ? `?${parts.join("&")}` : "");
}

export class Server {
  /** Held here and nowhere else. */
  token = "";

  /** {body: Blob, type, status, ms}. Throws Refused, or the AbortError of `signal`. */
  async get(path, params, signal) {
    const begin = performance.now();
    const patience = AbortSignal.timeout(PATIENCE);
    let response;
    let body;
    try {
      response = await fetch(address(path, params), {
        cache: "no-store",
        headers: this.token ? { authorization: `Bearer ${this.token}` } : {},
        signal: AbortSignal.any([signal, patience]),
      });
      body = await response.blob();
    } catch (error) {
      signal.throwIfAborted();
      const ms = performance.now() - begin;
      throw new Refused(patience.aborted ? `No answer within ${PATIENCE / 1000} s.` : "The server does not answer.", 0, ms);
    }
    const ms = performance.now() - begin;
    if (!response.ok) throw new Refused(await reasonOf(body, response.status), response.status, ms);
    return { body, type: response.headers.get("content-type") ?? "", status: response.status, ms };
  }

  /** The same, read as JSON: {value, ms, bytes}. */
  async json(path, params, signal) {
    const { body, status, ms } = await this.get(path, params, signal);
    try {
      return { value: JSON.parse(await body.text()), status, ms, bytes: body.size };
    } catch {
      throw new Refused("The answer is no JSON.", status, ms);
    }
  }
}

async function reasonOf(body, status) {
  let detail = null;
  try {
    detail = JSON.parse(await body.text()).detail;
  } catch {
    // A proxy's page, or nothing: the status has to do.
  }
  if (Array.isArray(detail)) detail = detail.map((each) => `${(each.loc ?? []).join(" ")}: ${each.msg}`).join("; ");
  return typeof detail === "string" && detail ? detail : `The server answered with status ${status}.`;
}

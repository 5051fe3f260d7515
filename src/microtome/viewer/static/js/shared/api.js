// Requests to the server this page came from. Credentials of the page are appended to each of them.

import { page } from "./page.js";

/** What went wrong, in words a person can act on. `kind`: unreachable, unauthorised, missing, unsupported, damaged, other. */
export class ApiError extends Error {
  constructor(kind, message, status = 0) {
    super(message);
    this.name = "ApiError";
    this.kind = kind;
    this.status = status;
  }
}

const KINDS = { 401: "unauthorised", 403: "unauthorised", 404: "missing", 415: "unsupported" };

export const slidePath = (id) => `/slides/${encodeURIComponent(id)}`;

/** An address of this server; `params` with null values are left out. */
export function address(path, params = {}) {
  const parts = Object.entries(params)
    .filter(([, value]) => value !== null && value !== undefined && value !== "")
    .map(([name, value]) => `${name}=${encodeURIComponent(value)}`);
  if (page.query) parts.push(page.query);
  return page.base + path + (parts.length ? `?${parts.join("&")}` : "");
}

export const thumbnailAddress = (id, size) => address(`${slidePath(id)}/thumbnail`, { max_size: size });
export const associatedAddress = (id, name) => address(`${slidePath(id)}/associated/${encodeURIComponent(name)}`);
export const viewAddress = (id) => `${page.base}/view/${encodeURIComponent(id)}${page.query ? `?${page.query}` : ""}`;

/** The catalogue, at a folder ("" for the top), for those who may see it. */
export function catalogueAddress(folder) {
  const parts = folder ? [`folder=${encodeURIComponent(folder)}`] : [];
  if (/^ct=/.test(page.query)) parts.push(page.query);
  return `${page.base}/${parts.length ? `?${parts.join("&")}` : ""}`;
}

/** JSON from the server. Throws ApiError, or the AbortError of `signal`. */
export async function getJson(path, params = {}, signal = undefined) {
  let response;
  try {
    response = await fetch(address(path, params), { signal, headers: { accept: "application/json" } });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError("unreachable", "The server does not answer.");
  }
  if (!response.ok) throw await errorOf(response);
  try {
    return await response.json();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError("unreachable", "The answer of the server broke off.");
  }
}

/** The ApiError of an answer that is not a success. */
export async function errorOf(response) {
  let message = "";
  let code = "";
  try {
    const body = await response.json();
    message = String(body.message ?? "");
    code = String(body.error ?? "");
  } catch {
    // Not JSON: a proxy's page, or an empty body. The status has to do.
  }
  const kind = KINDS[response.status] ?? (/corrupt|decode/.test(code) ? "damaged" : "other");
  return new ApiError(kind, message || `The server answered with status ${response.status}.`, response.status);
}

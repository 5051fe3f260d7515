// Requests of the pages over DICOM, with the token a person gave. It is held here and nowhere else.

import { ApiError, address, errorOf } from "../shared/api.js";
import { page } from "../shared/page.js";

let token = "";

export function useToken(text) {
  token = text.trim();
}

export const hasToken = () => token !== "";

/** The answer to a request. Throws ApiError, or the AbortError of `signal`. */
export async function ask(path, { params = {}, accept = "application/json", signal = undefined } = {}) {
  const headers = { accept };
  if (token) headers.authorization = `Bearer ${token}`;
  let response;
  try {
    response = await fetch(address(path, params), { signal, headers });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError("unreachable", "The server does not answer.");
  }
  if (!response.ok) throw await errorOf(response);
  return response;
}

async function whole(response, read) {
  try {
    return await read(response);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError("unreachable", "The answer of the server broke off.");
  }
}

export async function askJson(path, params = {}, signal = undefined) {
  const accept = path.startsWith("/dicom/") ? "application/dicom+json" : "application/json";
  return whole(await ask(path, { params, accept, signal }), (response) => response.json());
}

export async function askBytes(path, accept, signal = undefined) {
  return whole(await ask(path, { accept, signal }), (response) => response.arrayBuffer());
}

export async function askBlob(path, params = {}, accept = "image/jpeg", signal = undefined) {
  return whole(await ask(path, { params, accept, signal }), (response) => response.blob());
}

/** Save what is at a path as a file; a link would do, were it not for the token. */
export async function save(path, accept, name) {
  const url = URL.createObjectURL(await askBlob(path, {}, accept));
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

/** `/dicom/studies/S/series/E/instances/I`, as far as there is any. */
export function dicomPath(study, series = "", instance = "") {
  let path = `/dicom/studies/${encodeURIComponent(study)}`;
  if (series) path += `/series/${encodeURIComponent(series)}`;
  if (instance) path += `/instances/${encodeURIComponent(instance)}`;
  return path;
}

/** The path of a BulkDataURI of this server, whatever address it was written with. */
export function bulkPath(uri) {
  const place = uri.indexOf("/studies/");
  return place < 0 ? null : `/dicom${uri.slice(place)}`;
}

/** How people get in: "token", "signed" or "none". */
export const login = page.login ?? "none";

// What the server wrote into this page: {base, query, slide?, tiles?}.

const written = JSON.parse(document.getElementById("page-config").textContent);

/** Credentials for the whole catalogue in the address of the page open more than those for one slide. */
function query() {
  const here = new URLSearchParams(location.search);
  return here.has("ct") && here.has("exp") && written.slide
    ? new URLSearchParams({ ct: here.get("ct"), exp: here.get("exp") }).toString()
    : written.query;
}

export const page = Object.freeze({ ...written, query: query() });

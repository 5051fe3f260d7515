// What the server wrote into this page: {base, query, slide?, tiles?}.

const element = document.getElementById("page-config");

export const page = Object.freeze(JSON.parse(element.textContent));

// The documentation of an application: Swagger UI over its schema, in the theme of the other pages.

import { page } from "./shared/page.js";
import { wireTheme } from "./shared/theme.js";

const root = document.documentElement;

/** Swagger UI is dark with a class of its own. */
function followTheme() {
  const follow = () => root.classList.toggle("dark-mode", root.dataset.theme === "dark");
  new MutationObserver(follow).observe(root, { attributeFilter: ["data-theme"] });
  follow();
}

wireTheme();
followTheme();

const ui = globalThis.SwaggerUIBundle({
  url: page.schema,
  dom_id: "#docs",
  deepLinking: true,
  displayRequestDuration: true,
  docExpansion: "list",
  defaultModelsExpandDepth: 0,
  filter: true,
  tryItOutEnabled: true,
  // Tokens are forgotten with the page, and nobody else is asked what they think of the schema.
  persistAuthorization: false,
  validatorUrl: null,
  oauth2RedirectUrl: page.login ? new URL(page.login, location.href).href : undefined,
  onComplete: () => {
    document.body.dataset.ready = "true";
  },
});
if (page.login) ui.initOAuth({ usePkceWithAuthorizationCodeGrant: true });

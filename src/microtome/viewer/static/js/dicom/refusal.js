// What stands in place of a page that cannot be shown: why, and what to do. A login is asked for here.

import { make, state } from "../shared/dom.js";
import { login, useToken } from "./server.js";

/** `again` is called when there is a reason to try once more. */
export function refusal(error, again, title = "This cannot be shown") {
  if (error.kind === "unauthorised" && error.status === 403)
    return state({ symbol: "lock", title: "Not for everybody", text: error.message, wrong: true });
  if (error.kind === "unauthorised" && login === "token") return tokenForm(again);
  if (error.kind === "unauthorised")
    return state({
      symbol: "lock",
      title: "This server asks for signed links",
      text: "Studies are open to holders of a signed link, for as long as the link is good. Whoever runs the server can make one:",
      extra: [
        make(
          "ul",
          { class: "commands" },
          make("li", {}, make("code", { text: `microtome sign --path ${location.pathname}` }), make("span", { text: "a link to this page" })),
        ),
      ],
    });
  const button = make("button", { class: "button primary", type: "button", text: "Try again", on: { click: again } });
  if (error.kind === "unreachable")
    return state({ symbol: "offline", title: "The server does not answer", text: "It may have stopped, or the network is down.", wrong: true, actions: [button] });
  return state({ symbol: "alert", title, text: error.message, wrong: true, actions: [button] });
}

function tokenForm(again) {
  const input = make("input", { type: "password", name: "token", autocomplete: "off", spellcheck: "false", "aria-label": "Bearer token", placeholder: "Bearer token", required: true });
  const form = make(
    "form",
    {
      class: "token-form",
      on: {
        submit: (event) => {
          event.preventDefault();
          useToken(input.value.replace(/^\s*bearer\s+/i, ""));
          again();
        },
      },
    },
    make("label", { class: "field plain" }, input),
    make("button", { class: "button primary", type: "submit", text: "Go on" }),
  );
  return state({
    symbol: "lock",
    title: "This server asks for a login",
    text: "Paste a token of your login provider. The page keeps it until it is closed, and sends it to nobody but this server.",
    extra: [form],
  });
}

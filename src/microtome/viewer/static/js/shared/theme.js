// Dark and light: the system's choice until a person chooses, then theirs.

const KEY = "microtome.theme";

function remembered() {
  try {
    return localStorage.getItem(KEY);
  } catch {
    return null;
  }
}

export function toggleTheme() {
  const root = document.documentElement;
  root.dataset.theme = root.dataset.theme === "dark" ? "light" : "dark";
  try {
    localStorage.setItem(KEY, root.dataset.theme);
  } catch {
    // Not remembered, but it holds for this page.
  }
}

export function wireTheme() {
  for (const button of document.querySelectorAll('[data-action="theme"]')) button.addEventListener("click", toggleTheme);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", (event) => {
    if (remembered() === null) document.documentElement.dataset.theme = event.matches ? "dark" : "light";
  });
}

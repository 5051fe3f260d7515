// Named settings of a slide's channels, kept in this browser.

const MOST = 50;
const key = (id) => `microtome.presets.${id}`;

/** [{name, settings}] of a slide, in the order of their names. */
export function presetsOf(id) {
  try {
    const found = JSON.parse(localStorage.getItem(key(id)) ?? "[]");
    return found.filter((preset) => typeof preset.name === "string" && Array.isArray(preset.settings));
  } catch {
    return [];
  }
}

/** Keep settings under a name; the same name replaces. False where nothing can be kept. */
export function keepPreset(id, name, settings) {
  const others = presetsOf(id).filter((preset) => preset.name !== name);
  return write(id, [...others, { name, settings }].sort((a, b) => a.name.localeCompare(b.name)).slice(0, MOST));
}

export function dropPreset(id, name) {
  return write(id, presetsOf(id).filter((preset) => preset.name !== name));
}

function write(id, presets) {
  try {
    if (presets.length) localStorage.setItem(key(id), JSON.stringify(presets));
    else localStorage.removeItem(key(id));
    return true;
  } catch {
    return false;
  }
}

// What the properties of a tile's shapes are: which there are, their values and how often, so that a person can choose
// one to colour by. And of one shape: all it says.

/** More different values than this are no classes. */
const MOST_VALUES = 60;

/** Of each layer {name, count, fields: {key: {texts: [[value, count]], more, low, high}}}: `texts` are the values that
 *  are no numbers (at most MOST_VALUES of them, `more` tells of others), `low` and `high` the range of the numbers. */
export function summarise(layers) {
  return layers.map((layer) => {
    const fields = layer.keys.map(() => ({ texts: new Map(), more: false, low: Infinity, high: -Infinity }));
    for (let at = 0; at + 1 < layer.tags.length; at += 2) {
      const field = fields[layer.tags[at]];
      const value = layer.values[layer.tags[at + 1]];
      if (!field || value === undefined || value === null) continue;
      if (typeof value === "number") {
        if (value < field.low) field.low = value;
        if (value > field.high) field.high = value;
      } else if (field.texts.has(value) || field.texts.size < MOST_VALUES) field.texts.set(value, (field.texts.get(value) ?? 0) + 1);
      else field.more = true;
    }
    return {
      name: layer.name,
      count: layer.types.length,
      fields: Object.fromEntries(layer.keys.map((key, index) => [key, { ...fields[index], texts: [...fields[index].texts] }])),
    };
  });
}

/** The value of a property of feature `index`; undefined when it has none. */
export function valueOf(layer, index, key) {
  const wanted = layer.keys.indexOf(key);
  if (wanted < 0) return undefined;
  for (let at = layer.tagStarts[index]; at + 1 < layer.tagStarts[index + 1]; at += 2)
    if (layer.tags[at] === wanted) return layer.values[layer.tags[at + 1]];
  return undefined;
}

/** All properties of feature `index` as [key, value]. */
export function propertiesOf(layer, index) {
  const found = [];
  for (let at = layer.tagStarts[index]; at + 1 < layer.tagStarts[index + 1]; at += 2) {
    const key = layer.keys[layer.tags[at]];
    if (key !== undefined) found.push([key, layer.values[layer.tags[at + 1]] ?? null]);
  }
  return found;
}

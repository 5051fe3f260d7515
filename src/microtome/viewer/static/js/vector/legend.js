// What can be coloured by, and in which colours: gathered from the tiles as they come. A class keeps its colour.

import { OTHER, PALETTE, RAMP } from "./style.js";

/** A property with more different texts than this is no class. */
const MOST_CLASSES = 24;

export class Legend {
  constructor() {
    this.layers = new Map(); // name -> number of shapes seen
    this.fields = new Map(); // key -> {texts: Map(value -> count), more, low, high}
    this.chosen = new Map(); // "key=value" -> colour a person chose
  }

  /** Take what a tile says of itself. True when there is something new to choose or to colour. */
  add(layers) {
    let news = false;
    for (const layer of layers) {
      news ||= !this.layers.has(layer.name);
      this.layers.set(layer.name, (this.layers.get(layer.name) ?? 0) + layer.count);
      for (const [key, seen] of Object.entries(layer.fields)) news = this.#merge(key, seen) || news;
    }
    return news;
  }

  #merge(key, seen) {
    let field = this.fields.get(key);
    const isNew = !field;
    if (!field) this.fields.set(key, (field = { texts: new Map(), more: false, low: Infinity, high: -Infinity }));
    const before = `${field.texts.size} ${field.more} ${field.low} ${field.high}`;
    for (const [value, count] of seen.texts) {
      const text = String(value);
      if (field.texts.has(text) || field.texts.size <= MOST_CLASSES) field.texts.set(text, (field.texts.get(text) ?? 0) + count);
      else field.more = true;
    }
    field.more ||= seen.more;
    field.low = Math.min(field.low, seen.low ?? Infinity);
    field.high = Math.max(field.high, seen.high ?? -Infinity);
    return isNew || before !== `${field.texts.size} ${field.more} ${field.low} ${field.high}`;
  }

  /** Properties that make sense to colour by: [key], those with few classes first, then numbers. */
  get choices() {
    const classes = [];
    const numbers = [];
    for (const [key, field] of this.fields) {
      if (key === "point_count") continue;
      if (field.texts.size > 0 && field.texts.size <= MOST_CLASSES && !field.more) classes.push(key);
      else if (field.texts.size === 0 && field.high >= field.low) numbers.push(key);
    }
    return [...classes.sort(), ...numbers.sort()];
  }

  /** The `by` of a style for a property. */
  by(key) {
    const field = this.fields.get(key);
    if (!field) return { key, colors: {}, low: 0, high: -1 };
    const colors = {};
    let at = 0;
    for (const value of field.texts.keys()) {
      colors[value] = this.chosen.get(`${key}=${value}`) ?? PALETTE[at % PALETTE.length] ?? OTHER;
      at += 1;
    }
    return { key, colors, low: field.low, high: field.high };
  }

  /** Rows to show for a property: [{value, color, count}], and for numbers {low, high, ramp}. */
  rows(key) {
    const field = this.fields.get(key);
    if (!field) return { classes: [], numbers: null };
    const { colors } = this.by(key);
    const classes = [...field.texts].map(([value, count]) => ({ value, count, color: colors[value] })).sort((a, b) => b.count - a.count);
    return { classes, numbers: field.high >= field.low ? { low: field.low, high: field.high, ramp: RAMP } : null };
  }
}

// The channels of a fluorescence slide: which are seen, in which colour, from which sample (black) to which (full
// colour), and how bright in between. As text they are the `channels` parameter of the server.

const NUMBER = String.raw`-?\d{1,20}(?:\.\d{1,20})?(?:e-?\d{1,3})?`;
const STYLE = new RegExp(String.raw`^(\d{1,4})(?::([0-9a-f]{6})?(?::(?:(${NUMBER})\.\.(${NUMBER}))?(?::(\d{1,3}(?:\.\d{1,6})?)?)?)?)?$`, "i");
/** Shares of the samples that an automatic window leaves below and above. */
const [BELOW, ABOVE] = [0.005, 0.002];
const DARK = "000000";
export const GAMMAS = [0.2, 5];

/** The styles in a text: [{index, color, low, high, gamma}], what it leaves out is null. Null for text that is none. */
export function parse(text) {
  const styles = [];
  for (const part of text.split(",")) {
    const found = STYLE.exec(part);
    if (!found) return null;
    const [, index, color, low, high, gamma] = found;
    const style = { index: Number(index), color: color?.toLowerCase() ?? null, low: low ? Number(low) : null, high: high ? Number(high) : null, gamma: gamma ? Number(gamma) : null };
    if ((style.low !== null && !(style.low < style.high)) || style.gamma === 0) return null;
    styles.push(style);
  }
  return new Set(styles.map(({ index }) => index)).size === styles.length ? styles : null;
}

/** Events: "change" on every change. */
export class Channels extends EventTarget {
  #before = null; // what was visible before one was shown alone

  constructor({ channels, dtype }, text = "") {
    super();
    this.whole = !/^float/.test(dtype ?? "");
    this.own = channels.map((channel) => Object.freeze({ name: channel.name, color: channel.color, low: channel.window[0], high: channel.window[1], gamma: 1, visible: channel.visible !== false }));
    this.facts = channels.map(({ index, name, range, histogram }) => ({ index, name, low: range[0], high: range[1], histogram }));
    this.list = this.own.map((channel) => ({ ...channel }));
    if (text) this.#read(text);
    this.given = { text, settings: JSON.stringify(this.settings) };
  }

  /** For the server; "" when all is as the slide has it. A text that was given stays as it is until something changes,
   *  so that its pictures are not asked for twice under two names. */
  get text() {
    if (this.given.text && JSON.stringify(this.settings) === this.given.settings) return this.given.text;
    const styles = this.list.flatMap((channel, at) => (channel.visible ? [this.#style(at)] : []));
    if (!styles.length) return `${this.facts[0].index}:${DARK}`; // Nothing visible is a black picture.
    const plain = this.list.every((channel, at) => Object.keys(channel).every((key) => channel[key] === this.own[at][key]));
    return plain ? "" : styles.join(",");
  }

  #style(at) {
    const [channel, own] = [this.list[at], this.own[at]];
    const parts = [
      channel.color === own.color ? "" : channel.color,
      channel.low === own.low && channel.high === own.high ? "" : `${number(channel.low)}..${number(channel.high)}`,
      channel.gamma === 1 ? "" : String(Number(channel.gamma.toFixed(3))),
    ];
    return [this.facts[at].index, ...parts].join(":").replace(/:+$/, "");
  }

  #read(text) {
    const styles = parse(text);
    if (!styles) return;
    const byIndex = new Map(styles.map((style) => [style.index, style]));
    this.list.forEach((channel, at) => {
      const style = byIndex.get(this.facts[at].index);
      const own = this.own[at];
      const dark = style && styles.length === 1 && style.color === DARK;
      Object.assign(channel, { ...own, visible: Boolean(style) && !dark });
      if (!style || dark) return;
      if (style.color) channel.color = style.color;
      if (style.low !== null) Object.assign(channel, { low: style.low, high: style.high });
      if (style.gamma) channel.gamma = style.gamma;
    });
  }

  /** Take over what a text says; "" is as the slide has it. */
  take(text) {
    this.list = this.own.map((channel) => ({ ...channel }));
    if (text) this.#read(text);
    this.given = { text, settings: JSON.stringify(this.settings) };
    this.#changed();
  }

  /** Change one channel. */
  change(at, change) {
    if (change.visible !== undefined) this.#before = null;
    Object.assign(this.list[at], change);
    const channel = this.list[at];
    if (!(channel.low < channel.high)) channel.high = channel.low + this.step(at);
    this.#changed();
  }

  /** Show one channel alone, or what was seen before when it is alone already. */
  solo(at) {
    const alone = this.isAlone(at);
    const before = alone && this.#before ? this.#before : alone ? this.own.map(({ visible }) => visible) : null;
    const now = this.list.map(({ visible }) => visible);
    this.list.forEach((channel, index) => (channel.visible = before ? before[index] : index === at));
    this.#before = alone ? null : now;
    this.#changed();
  }

  isAlone(at) {
    return this.list.length > 1 && this.list.every(({ visible }, index) => visible === (index === at));
  }

  /** The window that leaves only a few samples of the histogram out. */
  auto(at) {
    const { histogram, low, high } = this.facts[at];
    const total = histogram.reduce((sum, count) => sum + count, 0);
    if (!total) return;
    const width = (high - low) / histogram.length;
    let [first, seen] = [0, 0];
    while (first < histogram.length - 1 && seen + histogram[first] <= BELOW * total) seen += histogram[first++];
    let last = histogram.length - 1;
    seen = 0;
    while (last > first && seen + histogram[last] <= ABOVE * total) seen += histogram[last--];
    const round = (value) => (this.whole ? Math.round(value) : Number(value.toPrecision(6)));
    this.change(at, { low: round(low + first * width), high: round(low + (last + 1) * width) });
  }

  /** One channel as the slide has it, but whether it is visible. */
  reset(at) {
    this.change(at, { ...this.own[at], visible: this.list[at].visible });
  }

  /** All channels as the slide has them. */
  resetAll() {
    this.apply(this.own);
  }

  /** The first visible channel alone, all of them in white. */
  grey() {
    const first = Math.max(0, this.list.findIndex(({ visible }) => visible));
    this.apply(this.list.map((channel, at) => ({ ...channel, color: "ffffff", visible: at === first })));
  }

  /** Take over settings made with `settings`; those of other channels are left out. */
  apply(settings) {
    this.#before = null;
    this.list.forEach((channel, at) => {
      const { color, low, high, gamma, visible } = settings[at] ?? {};
      if (/^[0-9a-f]{6}$/i.test(color ?? "")) channel.color = color.toLowerCase();
      if (Number.isFinite(low) && low < high && Number.isFinite(high)) Object.assign(channel, { low, high });
      if (gamma >= GAMMAS[0] && gamma <= GAMMAS[1]) channel.gamma = gamma;
      if (typeof visible === "boolean") channel.visible = visible;
    });
    this.#changed();
  }

  get settings() {
    return this.list.map(({ color, low, high, gamma, visible }) => ({ color, low, high, gamma, visible }));
  }

  /** The least step of a window. */
  step(at) {
    const { low, high } = this.facts[at];
    return this.whole ? 1 : (high - low) / 1000;
  }

  #changed() {
    this.dispatchEvent(new Event("change"));
  }
}

/** A number as the parameter takes it: no plus sign, no more digits than matter. */
function number(value) {
  return String(Number(value.toPrecision(7))).replace("e+", "e");
}

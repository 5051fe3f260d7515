// Mapbox Vector Tile specification 2.1, read into flat arrays: what is drawn and searched by the hundred thousand is
// neither an object for each shape nor one for each point. Whatever the bytes say, nothing is read outside of them.

const MOST_POINTS = 30_000_000;
const VARINT = 0;
const FIXED64 = 1;
const BYTES = 2;
const FIXED32 = 5;
const [MOVE_TO, LINE_TO, CLOSE_PATH] = [1, 2, 7];

export const POINT = 1;
export const LINE = 2;
export const POLYGON = 3;

/** The layers of a tile (§4.1). Throws an Error that says what is wrong with it.
 *
 *  A layer: name, version, extent; `keys` and `values`; of feature i the type `types[i]`, the id `ids[i]` or null (text above 2^53), the
 *  tags tags[tagStarts[i] … tagStarts[i + 1]], the bounds boxes[4 i … 4 i + 3] (left, top, right, bottom), and the
 *  parts featureParts[i] … featureParts[i + 1]; of part k the points partStarts[k] … partStarts[k + 1] in `points`
 *  (x, y, x, y, …). Coordinates are in units of the tile, y runs down. */
export function decodeTile(bytes) {
  const reader = new Reader(bytes);
  const layers = [];
  while (reader.more) {
    const key = reader.varint();
    if (key === ((3 << 3) | BYTES)) layers.push(decodeLayer(reader.part()));
    else reader.skip(key & 7);
  }
  return layers;
}

function decodeLayer(reader) {
  const features = [];
  const layer = { name: "", version: 1, extent: 4096, keys: [], values: [] };
  while (reader.more) {
    const key = reader.varint();
    if (key === ((1 << 3) | BYTES)) layer.name = reader.text();
    else if (key === ((2 << 3) | BYTES)) features.push(reader.part());
    else if (key === ((3 << 3) | BYTES)) layer.keys.push(reader.text());
    else if (key === ((4 << 3) | BYTES)) layer.values.push(decodeValue(reader.part()));
    else if (key === ((5 << 3) | VARINT)) layer.extent = reader.varint();
    else if (key === ((15 << 3) | VARINT)) layer.version = reader.varint();
    else reader.skip(key & 7);
  }
  if (!(layer.extent > 0)) throw new Error("A layer of the vector tile has no extent.");
  return decodeFeatures(layer, features);
}

function decodeFeatures(layer, readers) {
  const number = readers.length;
  const types = new Uint8Array(number);
  const ids = new Array(number).fill(null);
  const boxes = new Int32Array(4 * number);
  const tagStarts = new Uint32Array(number + 1);
  const featureParts = new Uint32Array(number + 1);
  const tags = new Growing(Uint32Array);
  const points = new Growing(Int32Array);
  const partStarts = new Growing(Uint32Array);
  readers.forEach((reader, index) => {
    let geometry = null;
    while (reader.more) {
      const key = reader.varint();
      if (key === (1 << 3)) ids[index] = reader.identity();
      else if (key === ((2 << 3) | BYTES)) for (const part = reader.part(); part.more; ) tags.push(part.varint());
      else if (key === (3 << 3)) types[index] = reader.varint();
      else if (key === ((4 << 3) | BYTES)) geometry = reader.part();
      else reader.skip(key & 7);
    }
    tagStarts[index + 1] = tags.length;
    const first = points.length;
    if (geometry) decodeGeometry(geometry, types[index], points, partStarts);
    featureParts[index + 1] = partStarts.length;
    bound(points, first, boxes.subarray(4 * index, 4 * index + 4));
  });
  partStarts.push(points.length / 2);
  return { ...layer, types, ids, boxes, tagStarts, featureParts, tags: tags.done(), points: points.done(), partStarts: partStarts.done() };
}

/** Commands and parameters (§4.3). Each part is a line, a ring without its closing point, or all points of a feature. */
function decodeGeometry(reader, type, points, partStarts) {
  let x = 0;
  let y = 0;
  let begun = false;
  while (reader.more) {
    const command = reader.varint();
    const id = command & 7;
    if (id === CLOSE_PATH) continue;
    if (id !== MOVE_TO && id !== LINE_TO) throw new Error(`A shape of the vector tile has the unknown command ${id}.`);
    if (id === LINE_TO && !begun) throw new Error("A shape of the vector tile begins without a place.");
    for (let count = command >>> 3; count > 0 && reader.more; count -= 1) {
      x += zigzag(reader.varint());
      y += zigzag(reader.varint());
      if (id === MOVE_TO && (type !== POINT || !begun)) partStarts.push(points.length / 2);
      begun = true;
      points.push(x);
      points.push(y);
      if (points.length > 2 * MOST_POINTS) throw new Error("The vector tile holds too many points.");
    }
  }
}

function bound(points, first, box) {
  if (first === points.length) {
    box.set([1, 1, 0, 0]); // meets nothing
    return;
  }
  const { data } = points;
  let [left, top, right, bottom] = [data[first], data[first + 1], data[first], data[first + 1]];
  for (let at = first + 2; at < points.length; at += 2) {
    if (data[at] < left) left = data[at];
    else if (data[at] > right) right = data[at];
    if (data[at + 1] < top) top = data[at + 1];
    else if (data[at + 1] > bottom) bottom = data[at + 1];
  }
  box.set([left, top, right, bottom]);
}

function decodeValue(reader) {
  let value = null;
  while (reader.more) {
    const key = reader.varint();
    if (key === ((1 << 3) | BYTES)) value = reader.text();
    else if (key === ((2 << 3) | FIXED32)) value = reader.float();
    else if (key === ((3 << 3) | FIXED64)) value = reader.double();
    else if (key === (4 << 3)) value = reader.signed();
    else if (key === (5 << 3)) value = reader.varint();
    else if (key === (6 << 3)) value = zigzag(reader.varint());
    else if (key === (7 << 3)) value = reader.varint() !== 0;
    else reader.skip(key & 7);
  }
  return value;
}

const zigzag = (value) => (value <= 0xffffffff ? (value >>> 1) ^ -(value & 1) : value % 2 ? -(value + 1) / 2 : value / 2);

const texts = new TextDecoder();

class Reader {
  constructor(bytes) {
    this.bytes = bytes;
    this.at = 0;
  }

  get more() {
    return this.at < this.bytes.length;
  }

  /** A whole number; above 2^53 it loses its last digits, as all numbers do here. */
  varint() {
    let value = 0;
    let factor = 1;
    for (let count = 0; count < 10; count += 1) {
      if (this.at >= this.bytes.length) throw new Error("The vector tile ends too early.");
      const byte = this.bytes[this.at];
      this.at += 1;
      value += (byte & 127) * factor;
      if (byte < 128) return value;
      factor *= 128;
    }
    throw new Error("The vector tile is no protocol buffer.");
  }

  /** int64: negative numbers are written as 2^64 + value. */
  signed() {
    const start = this.at;
    const value = this.varint();
    return value < 2 ** 63 ? value : Number(BigInt.asIntN(64, this.#exact(start)));
  }

  /** uint64 with all its digits: as text where a number has not so many. */
  identity() {
    const start = this.at;
    const value = this.varint();
    return Number.isSafeInteger(value) ? value : String(this.#exact(start));
  }

  #exact(start) {
    let exact = 0n;
    for (let at = this.at - 1; at >= start; at -= 1) exact = (exact << 7n) | BigInt(this.bytes[at] & 127);
    return BigInt.asUintN(64, exact);
  }

  part() {
    return new Reader(this.take(this.varint()));
  }

  text() {
    return texts.decode(this.take(this.varint()));
  }

  float() {
    const bytes = this.take(4);
    return new DataView(bytes.buffer, bytes.byteOffset, 4).getFloat32(0, true);
  }

  double() {
    const bytes = this.take(8);
    return new DataView(bytes.buffer, bytes.byteOffset, 8).getFloat64(0, true);
  }

  take(length) {
    if (length > this.bytes.length - this.at) throw new Error("The vector tile ends too early.");
    this.at += length;
    return this.bytes.subarray(this.at - length, this.at);
  }

  skip(wire) {
    if (wire === VARINT) this.varint();
    else if (wire === FIXED64) this.take(8);
    else if (wire === BYTES) this.take(this.varint());
    else if (wire === FIXED32) this.take(4);
    else throw new Error("The vector tile is no protocol buffer.");
  }
}

/** A typed array that takes one number after the other. */
class Growing {
  constructor(type) {
    this.type = type;
    this.data = new type(1024);
    this.length = 0;
  }

  push(value) {
    if (this.length === this.data.length) {
      const larger = new this.type(2 * this.length);
      larger.set(this.data);
      this.data = larger;
    }
    this.data[this.length] = value;
    this.length += 1;
  }

  done() {
    return this.data.slice(0, this.length);
  }
}

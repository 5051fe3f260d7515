// The canvas of one picture: where it lies, how large, and dragging: window, place, size.

const MOST_ZOOM = 40;

export class Stage {
  /** Called with (dx, dy) in px of the screen while a person drags for the window; with 1 or -1 for the wheel. */
  onWindow = () => {};
  onScroll = () => {};
  onMoved = () => {};
  onPoint = () => {};
  #canvas;
  #source = document.createElement("canvas");
  #ratio = 1;
  #zoom = 1;
  #shift = { x: 0, y: 0 };
  #wheel = 0;

  constructor(canvas) {
    this.#canvas = canvas;
    new ResizeObserver(() => this.draw()).observe(canvas);
    this.#wire();
  }

  /** Show an ImageData or ImageBitmap; `size` is {columns, rows} of the image, `ratio` the height of a pixel over its width. */
  show(picture, { columns, rows, ratio }) {
    this.#source.width = picture.width;
    this.#source.height = picture.height;
    const context = this.#source.getContext("2d");
    if (picture instanceof ImageData) context.putImageData(picture, 0, 0);
    else context.drawImage(picture, 0, 0);
    this.size = { columns, rows };
    this.#ratio = ratio;
    this.draw();
  }

  clear() {
    this.#source.width = 0;
    this.draw();
  }

  /** The picture fills the stage again. */
  fit() {
    this.#zoom = 1;
    this.#shift = { x: 0, y: 0 };
    this.draw();
  }

  zoomBy(factor, at = null) {
    const before = this.#place();
    this.#zoom = Math.min(MOST_ZOOM, Math.max(0.2, this.#zoom * factor));
    const after = this.#place();
    if (at && before && after) {
      // The point under the pointer stays there.
      this.#shift.x += at.x - after.left - ((at.x - before.left) * after.width) / before.width;
      this.#shift.y += at.y - after.top - ((at.y - before.top) * after.height) / before.height;
    }
    this.draw();
  }

  moveBy(x, y) {
    this.#shift.x += x;
    this.#shift.y += y;
    this.draw();
  }

  /** Px of the screen for a px of the image. */
  get scale() {
    const place = this.#place();
    return place ? place.width / this.size.columns : 1;
  }

  #place() {
    if (!this.size || !this.#source.width) return null;
    const { clientWidth, clientHeight } = this.#canvas;
    const tall = this.size.rows * this.#ratio;
    const scale = Math.min(clientWidth / this.size.columns, clientHeight / tall) * this.#zoom;
    const width = this.size.columns * scale;
    const height = tall * scale;
    return { left: (clientWidth - width) / 2 + this.#shift.x, top: (clientHeight - height) / 2 + this.#shift.y, width, height };
  }

  draw() {
    const dots = devicePixelRatio || 1;
    const { clientWidth, clientHeight } = this.#canvas;
    this.#canvas.width = Math.round(clientWidth * dots);
    this.#canvas.height = Math.round(clientHeight * dots);
    const context = this.#canvas.getContext("2d");
    const place = this.#place();
    if (place) {
      context.setTransform(dots, 0, 0, dots, 0, 0);
      context.imageSmoothingEnabled = this.scale < 6;
      context.imageSmoothingQuality = "high";
      context.drawImage(this.#source, place.left, place.top, place.width, place.height);
    }
    this.onMoved();
  }

  /** The pixel of the image below a point of the screen, or null. */
  pixelAt(event) {
    const place = this.#place();
    if (!place) return null;
    const bounds = this.#canvas.getBoundingClientRect();
    const x = Math.floor(((event.clientX - bounds.left - place.left) / place.width) * this.size.columns);
    const y = Math.floor(((event.clientY - bounds.top - place.top) / place.height) * this.size.rows);
    return x >= 0 && y >= 0 && x < this.size.columns && y < this.size.rows ? { x, y } : null;
  }

  #wire() {
    const canvas = this.#canvas;
    let drag = null;
    canvas.addEventListener("pointerdown", (event) => {
      if (event.button > 2) return;
      canvas.setPointerCapture(event.pointerId);
      drag = { x: event.clientX, y: event.clientY, moves: event.button === 1 || event.shiftKey, zooms: event.button === 2 };
      if (event.button) event.preventDefault();
    });
    canvas.addEventListener("pointermove", (event) => {
      if (!drag) {
        this.onPoint(this.pixelAt(event));
        return;
      }
      const dx = event.clientX - drag.x;
      const dy = event.clientY - drag.y;
      drag.x = event.clientX;
      drag.y = event.clientY;
      if (drag.moves) this.moveBy(dx, dy);
      else if (drag.zooms) this.zoomBy(1.01 ** -dy);
      else this.onWindow(dx, dy);
    });
    for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, () => (drag = null));
    canvas.addEventListener("pointerleave", () => this.onPoint(null));
    canvas.addEventListener("contextmenu", (event) => event.preventDefault());
    canvas.addEventListener("dblclick", () => this.fit());
    canvas.addEventListener(
      "wheel",
      (event) => {
        event.preventDefault();
        if (event.ctrlKey || event.metaKey) {
          const bounds = canvas.getBoundingClientRect();
          this.zoomBy(1.0015 ** -event.deltaY, { x: event.clientX - bounds.left, y: event.clientY - bounds.top });
          return;
        }
        // Wheels step by some 100 px, touchpads by few: a slice for every 40.
        this.#wheel += Math.sign(event.deltaY) * Math.min(Math.abs(event.deltaY) * (event.deltaMode ? 40 : 1), 40);
        const steps = Math.trunc(this.#wheel / 40);
        this.#wheel -= steps * 40;
        if (steps) this.onScroll(steps);
      },
      { passive: false },
    );
  }
}

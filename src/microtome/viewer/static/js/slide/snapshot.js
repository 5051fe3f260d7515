// What is on the screen as a PNG: the slides, their measurements, and a scale bar.

import { scaleBar } from "./scale.js";

/** A Blob of the panes side by side, in the px of the screen. */
export async function snapshot(panes, measures) {
  const ratio = globalThis.devicePixelRatio || 1;
  const boxes = panes.map((pane) => pane.stage.getBoundingClientRect());
  const left = Math.min(...boxes.map((box) => box.left));
  const top = Math.min(...boxes.map((box) => box.top));
  const canvas = document.createElement("canvas");
  canvas.width = Math.round((Math.max(...boxes.map((box) => box.right)) - left) * ratio);
  canvas.height = Math.round((Math.max(...boxes.map((box) => box.bottom)) - top) * ratio);
  const context = canvas.getContext("2d");
  context.fillStyle = getComputedStyle(panes[0].stage).backgroundColor;
  context.fillRect(0, 0, canvas.width, canvas.height);
  panes.forEach((pane, index) => {
    const box = boxes[index];
    context.setTransform(ratio, 0, 0, ratio, (box.left - left) * ratio, (box.top - top) * ratio);
    context.save();
    context.beginPath();
    context.rect(0, 0, box.width, box.height);
    context.clip();
    context.drawImage(pane.viewer.drawer.canvas, 0, 0, box.width, box.height);
    pane.overlay?.paint(context);
    for (const mark of pane.marks.toReversed()) mark.paint(context);
    measures[index].paint(context);
    paintScale(context, pane, box);
    context.restore();
  });
  return new Promise((resolve, reject) =>
    canvas.toBlob((blob) => (blob ? resolve(blob) : reject(new Error("The browser could not make a picture."))), "image/png"),
  );
}

function paintScale(context, pane, box) {
  const { width, text } = scaleBar(pane.view().zoom, pane.slide.mpp);
  const [x, y] = [20, box.height - 22];
  context.font = "600 13px system-ui, sans-serif";
  context.textAlign = "left";
  const wide = Math.max(width, context.measureText(text).width);
  context.fillStyle = "rgba(14,19,25,.8)";
  context.beginPath();
  context.roundRect(x - 10, y - 28, wide + 20, 40, 8);
  context.fill();
  context.fillStyle = "#fff";
  context.fillText(text, x, y - 9);
  context.fillRect(x, y - 1, width, 3);
}

/** Hand a file to the person. */
export function download(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

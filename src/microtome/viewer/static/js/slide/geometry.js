// Lengths and areas on a slide. Points are level-0 px; with a spacing {x, y} in µm per px the result is in µm, µm².

/** Length of a path. */
export function pathLength(points, mpp) {
  const { x: sx, y: sy } = mpp ?? { x: 1, y: 1 };
  let sum = 0;
  for (let index = 1; index < points.length; index += 1) {
    const [a, b] = [points[index - 1], points[index]];
    sum += Math.hypot((b.x - a.x) * sx, (b.y - a.y) * sy);
  }
  return sum;
}

/** Area inside a closed path that does not cross itself. */
export function polygonArea(points, mpp) {
  const { x: sx, y: sy } = mpp ?? { x: 1, y: 1 };
  let twice = 0;
  for (let index = 0; index < points.length; index += 1) {
    const [a, b] = [points[index], points[(index + 1) % points.length]];
    twice += a.x * b.y - b.x * a.y;
  }
  return (Math.abs(twice) / 2) * sx * sy;
}

/** The middle of the points' bounds: where a label or a view goes. */
export function middle(points) {
  const [xs, ys] = [points.map((point) => point.x), points.map((point) => point.y)];
  return { x: (Math.min(...xs) + Math.max(...xs)) / 2, y: (Math.min(...ys) + Math.max(...ys)) / 2 };
}

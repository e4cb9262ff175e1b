// What part of the graph is seen: a shift and a scale.
import { NODE_HEIGHT, NODE_WIDTH, type Place, type Places } from "./layout";

export interface Camera {
  x: number;
  y: number;
  scale: number;
}

const LEAST = 0.06;
const MOST = 2;
const MARGIN = 32;
const NARROW_PX = 600;
const READ_AT = 0.72;

/** The camera that shows everything in a box of this size, never larger than life; on a phone the beginning, legibly. */
export function fit(places: Places, width: number, height: number): Camera {
  if (places.size === 0) return { x: width / 2, y: height / 2, scale: 1 };
  let [left, top, right, bottom] = [Infinity, Infinity, -Infinity, -Infinity];
  for (const { x, y } of places.values()) {
    left = Math.min(left, x - NODE_WIDTH / 2);
    right = Math.max(right, x + NODE_WIDTH / 2);
    top = Math.min(top, y - NODE_HEIGHT / 2);
    bottom = Math.max(bottom, y + NODE_HEIGHT / 2);
  }
  const room = Math.min((width - 2 * MARGIN) / (right - left), (height - 2 * MARGIN) / (bottom - top));
  const scale = Math.min(1, Math.max(LEAST, room));
  const y = height / 2 - (scale * (top + bottom)) / 2;
  if (width < NARROW_PX && scale < READ_AT && places.size < 80) {
    return { scale: READ_AT, x: 12 - READ_AT * left, y: height / 2 - (READ_AT * (top + bottom)) / 2 };
  }
  return { scale, x: width / 2 - (scale * (left + right)) / 2, y };
}

/** Closer or farther, so that the point under the pointer stays where it is. */
export function zoomed(camera: Camera, factor: number, at: Place): Camera {
  const scale = Math.min(MOST, Math.max(LEAST, camera.scale * factor));
  const ratio = scale / camera.scale;
  return { scale, x: at.x - (at.x - camera.x) * ratio, y: at.y - (at.y - camera.y) * ratio };
}

/** The camera moved just so far that `place` is well inside a box of this size. */
export function showing(camera: Camera, place: Place, width: number, height: number): Camera {
  const x = place.x * camera.scale + camera.x;
  const y = place.y * camera.scale + camera.y;
  const [wide, high] = [Math.min(140, width / 3), Math.min(70, height / 3)];
  return {
    scale: camera.scale,
    x: camera.x + Math.max(wide - x, 0) - Math.max(x - (width - wide), 0),
    y: camera.y + Math.max(high - y, 0) - Math.max(y - (height - high), 0),
  };
}

/** Where in the graph a point of the screen is. */
export function inGraph(camera: Camera, at: Place): Place {
  return { x: (at.x - camera.x) / camera.scale, y: (at.y - camera.y) / camera.scale };
}

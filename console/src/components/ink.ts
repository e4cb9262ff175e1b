// The design system's colours for canvases, which know no custom properties.

const known = new Map<string, string>();

addEventListener("themechange", () => known.clear());

/** What a colour of the design system, such as `series-1`, is in the theme that is shown. */
export function ink(name: string): string {
  const before = known.get(name);
  if (before !== undefined) return before;
  const probe = document.createElement("i");
  probe.style.color = `var(--${name})`;
  document.body.append(probe);
  const colour = getComputedStyle(probe).color;
  probe.remove();
  known.set(name, colour);
  return colour;
}

/** The same, with the ground shining through. */
export function wash(name: string): string {
  return ink(name).replace("rgb(", "rgba(").replace(")", ", 0.14)");
}

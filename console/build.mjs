// Bundles the console into src/headwater/console/static: index.html and assets/ with a digest in every name.
// Nothing is fetched by the page from anywhere else, and nothing stands inline: the server's policy forbids both.
import { mkdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { dirname, join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import * as esbuild from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));
const target = resolve(here, "../src/headwater/console/static");
const made = `${target}.new`;

await rm(made, { recursive: true, force: true });
await mkdir(made, { recursive: true });
const { metafile } = await esbuild.build({
  absWorkingDir: here,
  entryPoints: ["src/theme.ts", "src/main.tsx", "src/styles/index.css", "src/workers/layout.ts"],
  outdir: join(made, "assets"),
  entryNames: "[name]-[hash]",
  chunkNames: "[name]-[hash]",
  assetNames: "[name]-[hash]",
  bundle: true,
  splitting: true,
  format: "esm",
  target: "es2022",
  jsx: "automatic",
  jsxImportSource: "preact",
  loader: { ".svg": "file" },
  minify: true,
  metafile: true,
  legalComments: "linked",
  logLevel: "warning",
});

/** The address of what `entry` became. */
function address(entry) {
  const found = Object.entries(metafile.outputs).find(([, output]) => output.entryPoint === entry);
  return `/assets/${relative(join(made, "assets"), resolve(here, found[0]))}`;
}

const page = (await readFile(join(here, "index.html"), "utf8"))
  .replace("{{theme}}", address("src/theme.ts"))
  .replace("{{style}}", address("src/styles/index.css"))
  .replace("{{layout}}", address("src/workers/layout.ts"))
  .replace("{{main}}", address("src/main.tsx"));
await writeFile(join(made, "index.html"), page);
await rm(target, { recursive: true, force: true });
await rename(made, target);

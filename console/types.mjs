// Writes src/api/schema.ts: the shapes of the API's answers in TypeScript, from its OpenAPI document on stdin.
import { writeFile } from "node:fs/promises";

let given = "";
for await (const chunk of process.stdin) given += chunk;
const { components, paths } = JSON.parse(given);
const { schemas } = components;

/** What answers are made of: there, a field that has a default is sent all the same. */
const answered = new Set();
for (const operation of Object.values(paths).flatMap(Object.values)) gather(operation.responses);

function gather(part) {
  if (typeof part !== "object" || part === null) return;
  const name = part.$ref?.split("/").pop();
  if (name && !answered.has(name)) {
    answered.add(name);
    gather(schemas[name]);
  }
  for (const inside of Object.values(part)) gather(inside);
}

function type(schema) {
  if (schema.$ref) return schema.$ref.split("/").pop();
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(" | ");
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  const several =
    schema.anyOf ??
    schema.oneOf ??
    (Array.isArray(schema.type) ? schema.type.map((one) => ({ ...schema, type: one })) : null);
  if (several) return [...new Set(several.map(type))].join(" | ");
  if (schema.type === "array")
    return schema.prefixItems ? `[${schema.prefixItems.map(type).join(", ")}]` : `(${type(schema.items ?? {})})[]`;
  if (schema.type === "object" || schema.properties) {
    if (schema.properties) return fields(schema, false);
    return typeof schema.additionalProperties === "object"
      ? `{ [name: string]: ${type(schema.additionalProperties)} }`
      : "{ [name: string]: unknown }";
  }
  return (
    { string: "string", integer: "number", number: "number", boolean: "boolean", null: "null" }[schema.type] ??
    "unknown"
  );
}

function fields(schema, all) {
  if (Object.keys(schema.properties).length === 0) return "{ [name: string]: unknown }";
  const lines = Object.entries(schema.properties).map(([name, field]) => {
    const needed = all || schema.required?.includes(name) ? "" : "?";
    return `  ${/^\w+$/.test(name) ? name : JSON.stringify(name)}${needed}: ${type(field)};`;
  });
  return `{\n${lines.join("\n")}\n}`;
}

const parts = Object.entries(schemas).map(([name, schema]) => {
  const says = schema.description ? `/** ${schema.description.replace(/\s+/g, " ").replaceAll("*/", "* /")} */\n` : "";
  return `${says}export type ${name} = ${schema.properties ? fields(schema, answered.has(name)) : type(schema)};\n`;
});
await writeFile(
  new URL("src/api/schema.ts", import.meta.url),
  `// Made by \`make docs\` from the API's OpenAPI document; not to be edited.\n\n${parts.join("\n")}`,
);

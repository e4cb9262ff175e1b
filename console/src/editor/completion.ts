/** What the editor knows of the project: tables, models and streams with their columns, functions, keywords. */
import type { Completion, CompletionContext, CompletionResult } from "@codemirror/autocomplete";
import { PostgreSQL, SQLDialect, sql } from "@codemirror/lang-sql";
import type { Extension } from "@codemirror/state";
import type { Names } from "../api/schema";

/** What is completed. */
export type Known = Pick<Names, "tables" | "streams" | "functions">;

const WORDS = "qualify asof positional pivot unpivot exclude replace columns summarize describe using sample anti semi";

const duckdb = SQLDialect.define({
  ...PostgreSQL.spec,
  keywords: `${PostgreSQL.spec.keywords} ${WORDS}`,
  types: `${PostgreSQL.spec.types} hugeint uhugeint ubigint uinteger usmallint utinyint tinyint double blob struct map list union timestamptz`,
  operatorChars: "+-*/<>=~!@#%^&|?",
  doubleDollarQuotedStrings: true,
});

/** The language with completion over `names`. */
export function languageOf(names: Known): Extension {
  const schema = Object.fromEntries(
    Object.entries({ ...names.streams, ...names.tables }).map(([table, columns]) => [
      table,
      {
        self: { label: table, type: "class", boost: 2 },
        children: columns.map(({ name, type }) => ({ label: name, detail: type, type: "property" })),
      },
    ]),
  );
  return [
    sql({ dialect: duckdb, schema, upperCaseKeywords: true }),
    duckdb.language.data.of({ autocomplete: anywhere(names) }),
  ];
}

/** Functions, and the columns of the tables that the statement names, wherever a word begins. */
function anywhere(names: Known) {
  const functions: Completion[] = names.functions.map((name) => ({
    label: name,
    type: "function",
    boost: -1,
    apply: `${name}(`,
  }));
  return (context: CompletionContext): CompletionResult | null => {
    const word = context.matchBefore(/\w+/);
    if (!word || context.matchBefore(/[.'"]\w*$/)) return null;
    const text = context.state.doc.toString();
    const columns = new Map<string, Completion>();
    for (const [table, fields] of Object.entries({ ...names.streams, ...names.tables })) {
      if (!new RegExp(`\\b${table.replace(/\W/g, "\\$&")}\\b`, "i").test(text)) continue;
      for (const { name, type } of fields) {
        columns.set(name, { label: name, detail: `${type} · ${table}`, type: "property", boost: 1 });
      }
    }
    return { from: word.from, options: [...columns.values(), ...functions], validFor: /^\w*$/ };
  };
}

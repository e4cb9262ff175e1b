/** An answer that says why not (RFC 9457), or that there was no answer at all (`status` 0). */
export class Problem extends Error {
  readonly status: number;
  readonly title: string;
  readonly detail: string;
  readonly hint: string;
  readonly code: string;
  readonly line: number | undefined;
  readonly column: number | undefined;

  constructor(status: number, body: Record<string, unknown>) {
    const detail = text(body.detail) || text(body.title) || `the server answered ${status}`;
    super(detail);
    this.status = status;
    this.title = text(body.title);
    this.detail = detail;
    this.hint = text(body.hint);
    this.code = text(body.code);
    this.line = typeof body.line === "number" ? body.line : undefined;
    this.column = typeof body.column === "number" ? body.column : undefined;
  }
}

/** What an error of any kind is as a Problem. */
export function asProblem(error: unknown): Problem {
  if (error instanceof Problem) return error;
  return new Problem(0, { detail: error instanceof Error ? error.message : String(error) });
}

/** The problem that a response which is not 2xx tells of. */
export async function problemOf(response: Response): Promise<Problem> {
  const body: unknown = await response.json().catch(() => ({}));
  return new Problem(response.status, (typeof body === "object" && body ? body : {}) as Record<string, unknown>);
}

function text(value: unknown): string {
  return typeof value === "string" ? value : "";
}

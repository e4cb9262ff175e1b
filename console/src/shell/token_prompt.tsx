import { useState } from "preact/hooks";
import { giveToken, tokenWanted } from "../api/token";
import { Dialog } from "../components/dialog";

/** Asks for the token when the server wants one. */
export function TokenPrompt() {
  const [token, setToken] = useState("");
  if (tokenWanted.value === "no") return null;
  const submit = (event: Event) => {
    event.preventDefault();
    if (token.trim()) giveToken(token);
  };
  return (
    <Dialog label="Token" onClose={() => undefined}>
      <form onSubmit={submit}>
        <h2>This server asks for a token</h2>
        <p class="muted">
          It is the <code>token</code> under <code>api</code> in headwater.yml. It is kept for this tab only.
        </p>
        <div class="field">
          <label for="token">Token</label>
          <input
            id="token"
            class="input"
            type="password"
            autocomplete="off"
            value={token}
            onInput={(event) => setToken(event.currentTarget.value)}
          />
        </div>
        {tokenWanted.value === "wrong" && (
          <p class="tone-fail" role="alert">
            That token is not the right one.
          </p>
        )}
        <div class="buttons">
          <button type="submit" class="button primary">
            Open
          </button>
        </div>
      </form>
    </Dialog>
  );
}

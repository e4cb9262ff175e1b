import { useEffect, useState } from "preact/hooks";
import { connection } from "./api/live";
import { Confirmation } from "./components/dialog";
import { Toasts } from "./components/toast";
import { PAGES } from "./pages";
import { match, path } from "./router";
import { Navigation } from "./shell/navigation";
import { Outlet } from "./shell/outlet";
import { KeySheet, Palette } from "./shell/palette";
import { TokenPrompt } from "./shell/token_prompt";
import { Lost, TopBar } from "./shell/topbar";

/** The whole page: what stays (navigation, head, messages) around the page that is shown. */
export function App() {
  const [open, setOpen] = useState(false);
  const at = path.value;
  useEffect(() => setOpen(false), [at]);
  useEffect(() => {
    const press = (event: KeyboardEvent) => event.key === "Escape" && setOpen(false);
    addEventListener("keydown", press);
    return () => removeEventListener("keydown", press);
  }, []);
  const page = PAGES.find((one) => match(one.path, at));
  const lost = connection.value === "lost";
  return (
    <>
      <a class="skip" href="#main">
        Skip to the content
      </a>
      <div class={`shell ${open ? "nav-open" : ""} ${lost ? "is-lost" : ""}`}>
        <Navigation current={page} />
        <button
          type="button"
          class="scrim"
          aria-label="Close the list of pages"
          onClick={() => setOpen(false)}
          tabIndex={-1}
        />
        <TopBar open={open} onMenu={() => setOpen(!open)} />
        {lost && <Lost />}
        <main class={`main ${page?.full ? "full" : ""}`} id="main" tabIndex={-1}>
          <Outlet page={page} params={(page && match(page.path, at)) ?? {}} />
        </main>
      </div>
      <Palette />
      <KeySheet />
      <TokenPrompt />
      <Confirmation />
      <Toasts />
    </>
  );
}

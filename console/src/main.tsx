import { render } from "preact";
import { listen } from "./api/live";
import { App } from "./app";
import { listenToKeys } from "./keyboard";

listenToKeys();
listen();
render(<App />, document.getElementById("app")!);

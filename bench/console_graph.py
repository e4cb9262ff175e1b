"""How fast the console's graph is with 200 models over 50 streams: a generated project that runs, a real Chromium.

    python bench/console_graph.py [--models 200] [--streams 50] [--json]

`first_paint_ms` is from the navigation to the frame that shows the graph; `arranged_ms` to the one with dagre's layout;
`frames_per_s` is how often the screen was renewed while the graph was dragged for three seconds.
"""

from __future__ import annotations

import argparse
import io
import json
import random
import sys
import tempfile
import threading
from pathlib import Path

import httpx
from playwright.sync_api import Page, sync_playwright

from headwater.clock import SystemClock
from headwater.console.services import services
from headwater.project import load
from headwater.runtime.journal import Journal
from headwater.runtime.supervisor import Supervisor
from headwater.testing.debian import CHROMIUM, ensure

ARRANGED = """
() => new Promise((done) => {
  const look = () => performance.getEntriesByName("graph-arranged").length ? done() : requestAnimationFrame(look);
  look();
})
"""
DRAG = """
() => new Promise((done) => {
  const canvas = document.querySelector(".graph-box canvas");
  const box = canvas.getBoundingClientRect();
  const send = (type, x, y) => canvas.dispatchEvent(new PointerEvent(type, {
    pointerId: 1, clientX: box.left + x, clientY: box.top + y, bubbles: true, isPrimary: true }));
  canvas.setPointerCapture = () => undefined;  // a pointer that nobody holds cannot be captured
  send("pointerdown", 400, 300);
  const began = performance.now();
  let frames = 0;
  let longest = 0;
  let before = began;
  const frame = (now) => {
    frames += 1;
    longest = Math.max(longest, now - before);
    before = now;
    const passed = (now - began) / 1000;
    send("pointermove", 400 + 250 * Math.sin(passed * 3), 300 + 150 * Math.sin(passed * 2));
    if (passed < 3) return requestAnimationFrame(frame);
    send("pointercancel", 400, 300);
    done({ frames_per_s: frames / passed, longest_frame_ms: longest });
  };
  requestAnimationFrame(frame);
})
"""


def generate(folder: Path, streams: int, models: int) -> None:
    """Writes a project: every model reads one to three streams or earlier models."""
    chance = random.Random(7)
    columns = "key: [id], columns: {id: BIGINT, grp: VARCHAR, amount: DOUBLE}"
    lines = [f"      stream_{n}: {{{columns}}}" for n in range(streams)]
    (folder / "models").mkdir(parents=True)
    text = "name: wide\napi: {port: 0}\nsources:\n  web:\n    type: http\n    streams:\n" + "\n".join(lines) + "\n"
    (folder / "headwater.yml").write_text(text)
    for n in range(models):
        source = f"model_{chance.randrange(n)}" if n > 20 and chance.random() < 0.4 else f"stream_{n % streams}"
        other = f"stream_{chance.randrange(streams)}"
        sql = f"SELECT id, grp, amount FROM {source} WHERE amount > {n % 90}"
        if chance.random() < 0.4:
            sql = f"SELECT a.id, a.grp, a.amount + b.amount AS amount FROM {source} a JOIN {other} b ON a.id = b.id"
        (folder / "models" / f"model_{n}.sql").write_text(sql + "\n")


def fill(url: str, streams: int, models: int) -> dict[str, list[object]]:
    """Sends some rows to every stream, and waits until all models are in the graph, which it returns."""
    clock = SystemClock()
    with httpx.Client(base_url=url, timeout=120, trust_env=False) as client:
        for n in range(streams):
            rows = [{"id": i, "grp": f"g{i % 5}", "amount": i} for i in range(100)]
            client.post(f"/v1/streams/stream_{n}", json=rows).raise_for_status()
        end = clock.monotonic_s() + 180
        while True:
            graph = client.get("/v1/graph").json()
            if sum(node["kind"] == "model" for node in graph["nodes"]) >= models or clock.monotonic_s() > end:
                return dict(graph)
            clock.wait(threading.Event(), 0.5)


def measure(page: Page, url: str) -> dict[str, float]:
    """Opens the graph and drags it."""
    page.goto(f"{url}/graph")
    page.evaluate(ARRANGED)
    marks = page.evaluate(
        "Object.fromEntries(performance.getEntries().filter((one) => one.startTime > 0 && "
        "['graph-drawn', 'graph-arranged', 'first-contentful-paint'].includes(one.name))"
        ".map((one) => [one.name, one.startTime]))"
    )
    page.locator(".graph-box canvas").click(position={"x": 5, "y": 5})
    for _ in range(4):
        page.get_by_role("button", name="Closer").click()
    dragged = page.evaluate(DRAG)
    return {
        "first_contentful_paint_ms": round(marks["first-contentful-paint"]),
        "first_paint_ms": round(marks["graph-drawn"]),
        "arranged_ms": round(marks["graph-arranged"]),
        **{name: round(value, 1) for name, value in dragged.items()},
    }


def main() -> int:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=int, default=200)
    parser.add_argument("--streams", type=int, default=50)
    parser.add_argument("--picture", type=Path, help="write a screenshot here")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "wide"
        generate(folder, asked.streams, asked.models)
        supervisor = Supervisor(load(folder, environment={}), Journal(io.StringIO(), as_json=True), extend=services)
        thread = threading.Thread(target=supervisor.run)
        thread.start()
        try:
            url = supervisor.api_url or ""
            graph = fill(url, asked.streams, asked.models)
            figures = {"nodes": len(graph["nodes"]), "edges": len(graph["edges"])} | look(url, asked.picture)
        finally:
            supervisor.stop()
            thread.join(120)
    print(json.dumps(figures) if asked.json else "\n".join(f"{name:28}{value:>10}" for name, value in figures.items()))
    return 0


def look(url: str, picture: Path | None) -> dict[str, float]:
    """The better of two looks: the first also fills the caches of the server."""
    with sync_playwright() as playwright:
        program = ensure(CHROMIUM) / "chromium"
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-dev-shm-usage"])
        looks = []
        for _ in range(2):
            page = browser.new_page(viewport={"width": 1440, "height": 900})
            looks.append(measure(page, url))
            if picture:
                page.screenshot(path=picture)
            page.close()
        browser.close()
    return min(looks, key=lambda one: one["first_paint_ms"])


if __name__ == "__main__":
    sys.exit(main())

"""The crash campaign: which cases there are, several at a time, and what came of them all."""

from __future__ import annotations

import json
import queue
import random
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path

from tests.crash.case import (
    EXEC,
    NO_BUG,
    REACH_AGAIN_S,
    RUNNING,
    STARTING,
    Kill,
    Outcome,
    Plan,
    Scene,
    run_case,
    settings_for,
)
from tests.crash.evidence import BROKEN, DOUBLED, LOST, Fault

from headwater import failpoint
from headwater.clock import SystemClock

RATES = (40.0, 100.0, 200.0)
INSTANTS = ((EXEC, 3.0, 8), (STARTING, 2.0, 37), (RUNNING, 2.5, 55))
"""Kills from outside: since which event, within how many seconds, how often in a hundred. Between `STARTING` and
`RUNNING` a snapshot is read or a recovery made; after `RUNNING` come epochs and checkpoints."""
LATER_MOST = 40
SCENES: Mapping[str, str] = {
    "shop": "shop_server.ShopServer",
    "bank": "bank_server.BankServer",
    "ledger": "lake_server.LakeServer",
    "logs": "files_server.LogFolder",
    "web": "ingest_server.IngestServer",
    "crm": "crm_server.CrmServer",
    "queues": "queue_server.QueueServer",
    "topics": "topic_server.TopicServer",
}
"""A shop in PostgreSQL, a bank in MariaDB, a ledger in PostgreSQL whose tables are kept without a pause,
logs in a folder, queues in RabbitMQ, topics in Kafka, a shop whose models are sent on."""
TRACED_S = 4.0
LARGE = ("log.forget_parts.", "log.append.after_part")
"""Only transactions larger than memory pass these; `tests/log` and `tests/runtime/test_slices.py` kill there."""
UPKEEP = ("lake.rewrite.", "lake.expire.", "lake.orphans.", "lake.index.", "epoch.sinks.staged")
"""Only a ledger is sure to pass these: its maintenance works all the time, one of its tables has many rows, and now and
then a transaction changes more of them than an epoch takes at once."""
DELIVERY = ("outbox.", "deliver.")
"""Only projects with syncs pass these."""
SENT_TO = ("capture.http.", "files.")
"""Only a source that clients send to, or one of files, passes these."""
ASKED_FOR = ("check.stop.", "swap.")
"""Only a project whose checks stop it, or in which a changed model is swapped, passes these: test_checks.py and
test_swap_kills.py of tests/runtime kill there."""
KEPT = tuple(name for name in failpoint.NAMES if not name.startswith((*LARGE, *DELIVERY, *SENT_TO, *ASKED_FOR)))
"""Failpoints that a ledger's run passes."""
REACHED = tuple(name for name in KEPT if not name.startswith(UPKEEP))
"""Failpoints that a shop's run passes."""
SENT = (*REACHED, *(name for name in failpoint.NAMES if name.startswith(DELIVERY) and ".files." not in name))
"""Failpoints that a shop's run passes whose models are sent on, to databases."""


@dataclass(frozen=True)
class Choice:
    """What to run.

    Attributes:
        runs: cases killed at random instants.
        failpoints: names, each killed at its first passing, and with `twice` at a later one and then at once again.
        seed: of everything.
        only: cases whose name begins so; or `NAME:N`, which need not be planned.
        bug: a bug of `seeded_bug.py` to put in.
        workers: cases at a time, each with its own server.
        scene: which source, of `SCENES`.
        keep: where the projects of cases without a fault stay; None: nowhere.
    """

    runs: int
    failpoints: tuple[str, ...]
    twice: bool
    seed: int
    only: str = ""
    bug: str = NO_BUG
    workers: int = 2
    scene: str = "shop"
    keep: Path | None = None

    @property
    def whole(self) -> bool:
        """Whether every failpoint of a shop must be met."""
        return self.complete and self.scene == "shop" and set(self.failpoints) == set(REACHED)

    @property
    def complete(self) -> bool:
        """Whether all cases of its failpoints are run."""
        return not self.only and not self.bug and self.twice


@dataclass
class Campaign:
    """Runs the cases of a choice.

    Args:
        say: takes a line for each case.
    """

    choice: Choice
    say: Callable[[str], None]
    outcomes: list[Outcome] = field(default_factory=list)
    seconds: float = 0.0

    def run(self) -> bool:
        """Runs everything; whether all is well."""
        clock = SystemClock()
        began = clock.monotonic_s()
        top = self.choice.keep or Path(tempfile.mkdtemp(prefix="headwater-crash-"))
        with ExitStack() as stack:
            servers: queue.SimpleQueue[Scene] = queue.SimpleQueue()
            for _ in range(self.choice.workers):
                server = _scene(self.choice.scene)
                stack.callback(server.stop)
                servers.put(server)
            passings = self._trace(servers, top) if self.choice.twice and not self.choice.only else {}
            self._run_all(list(planned(self.choice, passings)), servers, top)
        self.seconds = clock.monotonic_s() - began
        if not self.failed and self.choice.keep is None:
            shutil.rmtree(top, ignore_errors=True)
        return not self.failed and not self.missed

    @property
    def failed(self) -> list[Outcome]:
        """Cases with a fault."""
        return [outcome for outcome in self.outcomes if outcome.faults]

    @property
    def met(self) -> set[str]:
        """Failpoints at which a process died."""
        return {name for outcome in self.outcomes for name in outcome.died}

    @property
    def missed(self) -> list[str]:
        """Failpoints that a complete campaign did not meet: nobody knows whether dying there is safe."""
        return sorted(set(self.choice.failpoints) - self.met) if self.choice.complete else []

    def summary(self) -> dict[str, object]:
        """Figures of the campaign; the number of cases by kind of fault for `lost`, `doubled` and `broken`."""
        kinds = {
            kind: sum(any(fault.kind == kind for fault in outcome.faults) for outcome in self.outcomes)
            for kind in (LOST, DOUBLED, BROKEN)
        }
        return {
            "cases": len(self.outcomes),
            "passed": len(self.outcomes) - len(self.failed),
            "kills": sum(len(outcome.epochs) for outcome in self.outcomes),
            "failpoints": len(_of(self.choice)),
            "failpoints_met": len(self.met),
            "failpoints_missed": self.missed,
            "changes": sum(outcome.changes for outcome in self.outcomes),
            **kinds,
            "seed": self.choice.seed,
        }

    def _trace(self, servers: queue.SimpleQueue[Scene], top: Path) -> dict[str, int]:
        """One case that is not killed: how often does a run pass each failpoint?"""
        chance = random.Random(self.choice.seed)
        kills = (Kill(seconds=TRACED_S),)
        plan = Plan("undisturbed", kills, settings_for(chance, retire=True), RATES[1], self.choice.seed)
        outcome = self._one(plan, servers, top, trace=True)
        self._tell(outcome, 1)
        return outcome.passings

    def _run_all(self, plans: Sequence[Plan], servers: queue.SimpleQueue[Scene], top: Path) -> None:
        before = len(self.outcomes)
        with ThreadPoolExecutor(self.choice.workers) as pool:
            waiting: list[Future[Outcome]] = [pool.submit(self._one, plan, servers, top) for plan in plans]
            try:
                for done in as_completed(waiting):
                    self._tell(done.result(), before + len(plans))
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise

    def _one(self, plan: Plan, servers: queue.SimpleQueue[Scene], top: Path, *, trace: bool = False) -> Outcome:
        server = servers.get()
        try:
            folder, keep = top / plan.name.replace(":", "-"), self.choice.keep is not None and not trace
            return run_case(plan, server, folder, bug=self.choice.bug, trace=trace, keep=keep)
        except Exception as error:  # noqa: BLE001 a case that cannot be judged is a failed case, not the campaign's end
            return Outcome(plan, faults=[Fault(BROKEN, f"{type(error).__name__}: {error}")])
        finally:
            servers.put(server)

    def _tell(self, outcome: Outcome, of: int) -> None:
        self.outcomes.append(outcome)
        plan = outcome.plan
        kills = ", ".join(f"{kill} (epoch {epoch})" for kill, epoch in zip(plan.kills, outcome.epochs, strict=False))
        state = f"{'FAIL' if outcome.faults else 'ok':4} {len(self.outcomes):3}/{of} {plan.name:36}"
        self.say(f"{state} {outcome.seconds:5.1f} s {outcome.changes:6,} changes  {kills or 'no kill'}")
        for fault in outcome.faults:
            self.say(f"       {fault.kind}: {fault.sentence}")
        for line in outcome.odd:
            self.say(f"       journal: {line[:300]}")


def _scene(name: str) -> Scene:
    """Starts a scene; the modules of the others are not loaded."""
    module, _, kind = SCENES[name].partition(".")
    scene: Scene = getattr(import_module(f"tests.crash.{module}"), kind)()
    return scene


def _of(choice: Choice) -> tuple[str, ...]:
    """Failpoints that a case of the choice's scene may pass."""
    return KEPT if choice.scene == "ledger" else SENT if choice.scene == "crm" else REACHED


def planned(choice: Choice, passings: dict[str, int]) -> Iterator[Plan]:
    """The cases of a choice, in an order that mixes them.

    Args:
        passings: by failpoint, how often an undisturbed run passes it.
    """
    if choice.only and ":" in choice.only:
        name, _, passing = choice.only.partition(":")
        yield _at_failpoint(choice, name, int(passing), again=False)
        return
    plans = [_at_random(choice, number) for number in range(1, choice.runs + 1)]
    for name in choice.failpoints:
        plans.append(_at_failpoint(choice, name, 1, again=False))
        if choice.twice:
            plans.append(_at_failpoint(choice, name, _later(choice, name, passings.get(name, 1)), again=True))
    random.Random(choice.seed).shuffle(plans)
    yield from (plan for plan in plans if plan.name.startswith(choice.only))


def _later(choice: Choice, name: str, passings: int) -> int:
    most = min(LATER_MOST, passings)
    return random.Random(f"{choice.seed} {name}").randint(min(2, most), max(1, most))


def _at_random(choice: Choice, number: int) -> Plan:
    """One to three kills; those after the first are sometimes at a failpoint that the process may or may not pass."""
    name = f"random-{number:03}"
    chance = random.Random(f"{choice.seed} {name}")
    kills = [_instant(chance)]
    for _ in range(chance.choice([0, 1, 1, 2])):
        if chance.random() < 0.3:
            kills.append(replace(_instant(chance), failpoint=chance.choice(_of(choice)), passing=chance.randint(1, 3)))
        else:
            kills.append(_instant(chance))
    return _plan(choice, name, tuple(kills), chance)


def _instant(chance: random.Random) -> Kill:
    since, window_s, _ = chance.choices(INSTANTS, [weight for _, _, weight in INSTANTS])[0]
    return Kill(seconds=chance.uniform(0, window_s), since=since)


def _at_failpoint(choice: Choice, name: str, passing: int, *, again: bool) -> Plan:
    """A kill at the passing-th coming there; with `again` another as soon as the next process comes there."""
    kills = (Kill(name, passing), Kill(name, 1, REACH_AGAIN_S)) if again else (Kill(name, passing),)
    label = f"{name}:{passing}" + ("+1" if again else "")
    chance = random.Random(f"{choice.seed} {name} {again}")
    return _plan(choice, label, kills, chance, name)


def _plan(choice: Choice, name: str, kills: tuple[Kill, ...], chance: random.Random, failpoint: str = "") -> Plan:
    retire = failpoint.startswith("log.retire") or chance.random() < 0.5
    settings = settings_for(chance, retire=retire, slices=failpoint == "epoch.sinks.staged")
    if choice.scene == "web":  # clients that were not answered ask the next process, while they are still there
        kills = (*kills, Kill(seconds=chance.uniform(0.3, 1.5), since=RUNNING))
    return Plan(name, kills, settings, chance.choice(RATES), chance.randrange(1 << 30))


def save(summary: dict[str, object], path: Path) -> None:
    """Writes the figures as JSON, keys in order."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")

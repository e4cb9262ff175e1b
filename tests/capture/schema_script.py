"""Random changes of a table's definition, with changes of its rows before, between and after, as SQL.

A script owns one table. It knows what the table looks like, so that each statement fits; its seed is all there is to
repeat it.
"""

import random

TYPES = {
    "int": lambda dice: str(dice.randint(-100, 100)),
    "bigint": lambda dice: str(dice.randint(-(2**40), 2**40)),
    "text": lambda dice: f"'{dice.choice(['', 'x', 'text', 'ä', 'long ' * 5])}'",
    "varchar(50)": lambda dice: f"'{dice.choice(['v', 'var'])}'",
    "numeric(10,2)": lambda dice: f"{dice.randint(-999, 999)}.{dice.randint(10, 99)}",
    "numeric(14,2)": lambda dice: f"{dice.randint(-9999999, 999)}.25",
    "numeric(14,4)": lambda dice: f"{dice.randint(-99, 99)}.1234",
    "boolean": lambda dice: dice.choice(["true", "false"]),
    "date": lambda dice: f"'20{dice.randint(10, 99)}-02-03'",
    "real": lambda dice: dice.choice(["0.5", "1.25", "-3"]),
    "double precision": lambda dice: dice.choice(["0.1", "1e300"]),
}
VOLATILE = {"int": "(random() * 1000)::int", "text": "md5(random()::text)", "bigint": "(random() * 1e6)::bigint"}
RETYPES = {
    "int": [("bigint", ""), ("text", ""), ("numeric(14,4)", ""), ("int", "USING {0} + 1")],
    "bigint": [("text", "")],
    "text": [("varchar(50)", ""), ("int", "USING length({0})")],
    "varchar(50)": [("text", "")],
    "numeric(10,2)": [("numeric(14,2)", ""), ("numeric(14,4)", ""), ("text", "")],
    "numeric(14,2)": [("numeric(14,4)", ""), ("bigint", "")],
    "boolean": [("text", ""), ("int", "USING {0}::int")],
    "date": [("text", ""), ("timestamp", "")],
    "real": [("double precision", "")],
}
RETYPES["int"].pop()  # a USING that computes another value of the same type cannot be seen in the stream


class Script:
    """One table and the dice that change it."""

    def __init__(self, seed: int, table: str):
        self.dice = random.Random(seed)
        self.table = table
        self.key = self.dice.choice(["id", "id", "id", None])
        self.columns = {"id": "int"}
        self.names = iter(range(1000))
        self.ids = iter(range(1, 100000))
        self.gone = []

    def create(self):
        """Statements that make the table, with some rows."""
        for _ in range(self.dice.randint(1, 4)):
            self.columns[f"c{next(self.names)}"] = self.dice.choice(list(TYPES))
        columns = ", ".join(f"{name} {kind}" for name, kind in self.columns.items())
        key = f", PRIMARY KEY ({self.key})" if self.key else ""
        full = [] if self.key else [f"ALTER TABLE {self.table} REPLICA IDENTITY FULL"]
        return [f"CREATE TABLE {self.table} ({columns}{key})", *full, *(self.insert() for _ in range(3))]

    def step(self):
        """Statements of one transaction."""
        statements = []
        for _ in range(self.dice.randint(1, 4)):
            statements += self.dice.choice([self.rows, self.rows, self.define])()
        return statements

    def rows(self):
        return [self.dice.choice([self.insert, self.insert, self.update, self.update, self.delete])()]

    def define(self):
        kinds = [self.add, self.add, self.drop, self.rename, self.retype, self.again, self.loose, self.empty]
        return self.dice.choice([*kinds, self.rekey])()

    def value(self, kind):
        if kind == "timestamp":
            return "'2026-01-02 03:04:05'"
        return "NULL" if self.dice.random() < 0.2 else TYPES[kind](self.dice)

    def insert(self):
        values = {n: self.value(kind) for n, kind in self.columns.items()}
        if self.key:
            values[self.key] = str(next(self.ids))
        names = ", ".join(values)
        return f"INSERT INTO {self.table} ({names}) VALUES ({', '.join(values.values())})"

    def some(self):
        return f"ctid IN (SELECT ctid FROM {self.table} ORDER BY random() LIMIT {self.dice.randint(1, 2)})"

    def update(self):
        others = [name for name in self.columns if name != self.key]
        if not others:
            return self.insert()
        name = self.dice.choice(others)
        return f"UPDATE {self.table} SET {name} = {self.value(self.columns[name])} WHERE {self.some()}"

    def delete(self):
        return f"DELETE FROM {self.table} WHERE {self.some()}"

    def other(self):
        return self.dice.choice([name for name in self.columns if name != self.key] or [None])

    def add(self, name=None):
        kind = self.dice.choice(list(TYPES))
        name = name or f"c{next(self.names)}"
        default = self.dice.choice(
            ["", "", f" DEFAULT {TYPES[kind](self.dice)}", f" DEFAULT {VOLATILE.get(kind, 'NULL')}"]
        )
        self.columns[name] = kind
        statements = [f"ALTER TABLE {self.table} ADD {name} {kind}{default}"]
        if default and self.dice.random() < 0.5:
            statements.append(f"ALTER TABLE {self.table} ALTER {name} DROP DEFAULT")
        return statements

    def drop(self):
        name = self.other()
        if name is None or len(self.columns) < 3:
            return []
        del self.columns[name]
        return [f"ALTER TABLE {self.table} DROP {name}"]

    def again(self):
        """Drops a column and adds one of its name."""
        name = self.other()
        dropped = self.drop() if name is None else [f"ALTER TABLE {self.table} DROP {name}"]
        if name is None:
            return dropped
        del self.columns[name]
        return [*dropped, *self.add(name)]

    def rename(self):
        name, new = self.dice.choice(list(self.columns)), f"c{next(self.names)}"
        self.columns = {new if n == name else n: kind for n, kind in self.columns.items()}
        self.key = new if self.key == name else self.key
        return [f"ALTER TABLE {self.table} RENAME {name} TO {new}"]

    def retype(self):
        fitting = [name for name, kind in self.columns.items() if kind in RETYPES]
        if not fitting:
            return []
        name = self.dice.choice(fitting)
        kind, using = self.dice.choice(RETYPES[self.columns[name]])
        if name == self.key and kind != "bigint":
            return []
        self.columns[name] = kind
        drop = f"ALTER TABLE {self.table} ALTER {name} DROP DEFAULT"
        return [drop, f"ALTER TABLE {self.table} ALTER {name} TYPE {kind} {using.format(name)}"]

    def loose(self):
        """What changes nothing that a row holds."""
        name = self.other()
        options = [f"REPLICA IDENTITY {self.dice.choice(['FULL', 'DEFAULT'] if self.key else ['FULL'])}"]
        if name is not None:
            options += [f"ALTER {name} SET DEFAULT NULL", f"ALTER {name} DROP NOT NULL"]
        return [f"ALTER TABLE {self.table} {self.dice.choice(options)}"]

    def empty(self):
        return [f"TRUNCATE {self.table}"] if self.dice.random() < 0.3 else []

    def rekey(self):
        """Another key: a new serial column."""
        if self.key is None or self.dice.random() < 0.5:
            return []
        new, old = f"k{next(self.names)}", self.key
        self.columns[new], self.key = "int", new
        self.ids = iter(range(10_000 + next(self.ids), 10_000_000))
        return [
            f"ALTER TABLE {self.table} DROP CONSTRAINT IF EXISTS {self.table}_pkey, ALTER {old} DROP NOT NULL",
            f"ALTER TABLE {self.table} ADD {new} serial PRIMARY KEY",
        ]

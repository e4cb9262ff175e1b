"""What happens in a shop: whole transactions, made up from a seed and from what the shop holds at the time."""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal

import psycopg

from headwater.clock import Clock

Statement = tuple[str, tuple[object, ...]]

PAYMENT_JITTER_US = 1_200_000
"""How far behind the clock a payment's time may be; less than the watermark's delay in the example project."""

NEW_ORDER = "INSERT INTO orders VALUES (%s, %s, 'placed', %s, %s)"
NEW_ITEMS = """INSERT INTO order_items
SELECT %s, line, product_id, quantity, price, %s
FROM unnest(%s::smallint[], %s::integer[], %s::integer[], %s::numeric[]) AS item (line, product_id, quantity, price)"""
NEW_PAYMENT = "INSERT INTO payments VALUES (%s, %s, %s, %s, %s)"
SET_STATUS = "UPDATE orders SET status = %s::order_status WHERE order_id = %s"
DELETE_ITEMS = "DELETE FROM order_items WHERE order_id = %s"
DELETE_ORDER = "DELETE FROM orders WHERE order_id = %s"
MOVE_HOUSE = "UPDATE customers SET city = %s, country = %s WHERE customer_id = %s"
SET_PREFERENCES = "UPDATE customers SET tags = %s, preferences = preferences || %s::jsonb WHERE customer_id = %s"
SET_PRICE = "UPDATE products SET price = %s WHERE product_id = %s"
SET_STOCK = "UPDATE products SET in_stock = NOT in_stock WHERE product_id = ANY (%s::integer[])"
RENUMBER_CUSTOMER = "UPDATE customers SET customer_id = %s WHERE customer_id = %s"
REASSIGN_ORDERS = "UPDATE orders SET customer_id = %s WHERE customer_id = %s"

_CITIES = (("Lisboa", "PT"), ("Bergen", "NO"), ("Lyon", "FR"), ("Zürich", "CH"), ("Gdańsk", "PL"), ("Cork", "IE"))
_METHODS = ("card", "card", "transfer", "wallet")
_TAGS = ("newsletter", "early, bird", 'so "called" vip', "b2b")


@dataclass(frozen=True)
class Transaction:
    """Statements that commit together.

    Attributes:
        kind: what happened, for the count.
        statements: SQL with its parameters.
        commits: False for one that changes its mind and rolls back.
    """

    kind: str
    statements: tuple[Statement, ...]
    commits: bool = True


@dataclass
class Shelf:
    """What the only writer of the shop remembers of it.

    Attributes:
        customers: customer ids. prices: price by product id.
        unpaid, paid: orders waiting for their payment and for their parcel, each (order id, total).
        next_order, next_customer: ids to give out next.
    """

    customers: list[int]
    prices: dict[int, Decimal]
    unpaid: list[tuple[int, Decimal]]
    paid: list[tuple[int, Decimal]]
    next_order: int
    next_customer: int

    @classmethod
    def read(cls, connection: psycopg.Connection) -> Shelf:
        """Reads a shop as `headwater.demo.shop.create` or an earlier run left it."""
        customers = [row[0] for row in connection.execute("SELECT customer_id FROM customers ORDER BY 1")]
        prices: dict[int, Decimal] = dict(
            connection.execute("SELECT product_id, price FROM products ORDER BY 1").fetchall()
        )
        orders = connection.execute(
            "SELECT order_id, sum(quantity * unit_price), status::text FROM orders JOIN order_items USING (order_id)"
            " WHERE status IN ('placed', 'paid') GROUP BY order_id ORDER BY 1"
        ).fetchall()
        last = connection.execute("SELECT coalesce(max(order_id), 0) FROM orders").fetchone()
        return cls(
            customers=customers,
            prices=prices,
            unpaid=[(order, total) for order, total, status in orders if status == "placed"],
            paid=[(order, total) for order, total, status in orders if status == "paid"],
            next_order=(last[0] if last else 0) + 1,
            next_customer=max(customers) + 1,
        )


@dataclass
class Purchases:
    """Makes up one transaction after another.

    Args:
        shelf: the shop; kept in step with the transactions made up, which must all be carried out, in order.
        clock: event times are now, or for payments a little before.
        seed: same seed and same shop, same story (times aside).
    """

    shelf: Shelf
    clock: Clock
    seed: int
    _rng: random.Random = field(init=False)
    _kinds: tuple[Callable[[], Transaction], ...] = field(init=False)
    _weights: tuple[int, ...] = field(init=False)

    def __post_init__(self) -> None:
        self._rng = random.Random(self.seed)
        mix: tuple[tuple[int, Callable[[], Transaction]], ...] = (
            (37, self._order), (33, self._pay), (12, self._ship), (5, self._move), (2, self._prefer),
            (4, self._reprice), (1, self._restock), (3, self._cancel), (1, self._renumber), (2, self._change_mind),
        )  # fmt: skip
        self._weights, self._kinds = zip(*mix, strict=True)

    def next(self) -> Transaction:
        """The next transaction."""
        return self._rng.choices(self._kinds, self._weights)[0]()

    def _now(self, back_us: int = 0) -> datetime:
        return datetime.fromtimestamp((self.clock.now_us() - back_us) / 1e6, UTC)

    def _draft(self) -> tuple[Decimal, tuple[Statement, ...]]:
        """A new order's total and statements; the shop's own order number is not taken yet."""
        rng, shelf, now = self._rng, self.shelf, self._now()
        products = rng.choices(list(shelf.prices), k=rng.randint(1, 4))
        quantities = [rng.randint(1, 3) for _ in products]
        prices = [shelf.prices[product] for product in products]
        total = sum((p * q for p, q in zip(prices, quantities, strict=True)), Decimal(0))
        note = "please ring twice" if rng.random() < 0.15 else None
        lines = list(range(1, len(products) + 1))
        order = (NEW_ORDER, (shelf.next_order, rng.choice(shelf.customers), now, note))
        return total, (order, (NEW_ITEMS, (shelf.next_order, now, lines, products, quantities, prices)))

    def _order(self) -> Transaction:
        total, statements = self._draft()
        self.shelf.unpaid.append((self.shelf.next_order, total))
        self.shelf.next_order += 1
        return Transaction("order", statements)

    def _change_mind(self) -> Transaction:
        return Transaction("rollback", self._draft()[1], commits=False)

    def _pay(self) -> Transaction:
        if not self.shelf.unpaid:
            return self._order()
        order, total = self._take(self.shelf.unpaid)
        self.shelf.paid.append((order, total))
        paid_at = self._now(self._rng.randrange(PAYMENT_JITTER_US))
        values = (uuid.uuid5(uuid.NAMESPACE_OID, str(order)), order, total, self._rng.choice(_METHODS), paid_at)
        return Transaction("payment", ((NEW_PAYMENT, values), (SET_STATUS, ("paid", order))))

    def _ship(self) -> Transaction:
        if not self.shelf.paid:
            return self._order()
        order, _ = self._take(self.shelf.paid)
        return Transaction("shipment", ((SET_STATUS, ("packed", order)), (SET_STATUS, ("shipped", order))))

    def _cancel(self) -> Transaction:
        if not self.shelf.unpaid:
            return self._order()
        order, _ = self._take(self.shelf.unpaid)
        return Transaction("cancellation", ((DELETE_ITEMS, (order,)), (DELETE_ORDER, (order,))))

    def _move(self) -> Transaction:
        return Transaction("address", ((MOVE_HOUSE, (*self._rng.choice(_CITIES), self._customer())),))

    def _prefer(self) -> Transaction:
        tags = self._rng.sample(_TAGS, self._rng.randint(0, len(_TAGS)))
        language = self._rng.choice(('{"language": "nb"}', '{"language": null, "sizes": [38, 40.5]}'))
        return Transaction("preferences", ((SET_PREFERENCES, (tags, language, self._customer())),))

    def _reprice(self) -> Transaction:
        product = self._rng.choice(list(self.shelf.prices))
        price = self.shelf.prices[product] + Decimal(self._rng.randint(-200, 250)) / 100
        self.shelf.prices[product] = max(price, Decimal("1.00"))
        return Transaction("price", ((SET_PRICE, (self.shelf.prices[product], product)),))

    def _restock(self) -> Transaction:
        products = self._rng.sample(list(self.shelf.prices), min(5, len(self.shelf.prices)))
        return Transaction("stock", ((SET_STOCK, (products,)),))

    def _renumber(self) -> Transaction:
        """A primary key changes, and with it what refers to it."""
        index = self._rng.randrange(len(self.shelf.customers))
        old, new = self.shelf.customers[index], self.shelf.next_customer
        self.shelf.customers[index] = new
        self.shelf.next_customer += 1
        return Transaction("key change", ((RENUMBER_CUSTOMER, (new, old)), (REASSIGN_ORDERS, (new, old))))

    def _customer(self) -> int:
        return self._rng.choice(self.shelf.customers)

    def _take(self, orders: list[tuple[int, Decimal]]) -> tuple[int, Decimal]:
        """Removes any one order in constant time."""
        index = self._rng.randrange(len(orders))
        orders[index], orders[-1] = orders[-1], orders[index]
        return orders.pop()

"""A small shop in a PostgreSQL database: its tables, and an hour of history so that windows have something to close."""

from __future__ import annotations

import psycopg

TABLES = ("customers", "products", "orders", "order_items", "payments")
"""The shop's tables, all in schema `public`."""

DDL = """
CREATE TYPE order_status AS ENUM ('placed', 'paid', 'packed', 'shipped');

CREATE TABLE customers (
    customer_id bigint PRIMARY KEY,
    email       text NOT NULL UNIQUE,
    name        text NOT NULL,
    city        text NOT NULL,
    country     char(2) NOT NULL,
    tags        text[] NOT NULL,
    preferences jsonb NOT NULL,
    joined_at   timestamptz NOT NULL
);

CREATE TABLE products (
    product_id  integer PRIMARY KEY,
    sku         varchar(20) NOT NULL UNIQUE,
    name        text NOT NULL,
    category    text NOT NULL,
    price       numeric(12, 2) NOT NULL,
    weight_kg   double precision,
    in_stock    boolean NOT NULL,
    attributes  jsonb NOT NULL,
    description text NOT NULL
);
ALTER TABLE products ALTER COLUMN description SET STORAGE EXTERNAL;

CREATE TABLE orders (
    order_id    bigint PRIMARY KEY,
    customer_id bigint NOT NULL REFERENCES customers DEFERRABLE INITIALLY DEFERRED,
    status      order_status NOT NULL,
    ordered_at  timestamptz NOT NULL,
    note        text
);
CREATE INDEX ON orders (customer_id);

CREATE TABLE order_items (
    order_id    bigint NOT NULL REFERENCES orders,
    line        smallint NOT NULL,
    product_id  integer NOT NULL REFERENCES products,
    quantity    integer NOT NULL CHECK (quantity > 0),
    unit_price  numeric(12, 2) NOT NULL,
    ordered_at  timestamptz NOT NULL,
    PRIMARY KEY (order_id, line)
);

CREATE TABLE payments (
    payment_id  uuid PRIMARY KEY,
    order_id    bigint NOT NULL UNIQUE REFERENCES orders,
    amount      numeric(12, 2) NOT NULL,
    method      text NOT NULL,
    paid_at     timestamptz NOT NULL
);
"""

_CUSTOMERS = """
INSERT INTO customers
SELECT
    n,
    'customer' || n || '@example.com',
    (ARRAY['Ada','Bram','Chloé','Dara','Émile','Fatma','Goran','Hana','Ines','Jun'])[1 + n %% 10] || ' '
        || (ARRAY['Almeida','Berg','Costa','Dubois','Eriksen','Fischer','García','Horvat'])[1 + n / 10 %% 8],
    (ARRAY['Lisboa','Bergen','Lyon','Zürich','Gdańsk','Ghent','Cork'])[1 + abs(hashint4(n) %% 7)],
    (ARRAY['PT','NO','FR','CH','PL','BE','IE'])[1 + abs(hashint4(n) %% 7)],
    CASE WHEN n %% 3 = 0 THEN '{}'::text[] WHEN n %% 3 = 1 THEN '{newsletter}' ELSE '{newsletter,"early, bird"}' END,
    jsonb_build_object('language', (ARRAY['pt','nb','fr','de'])[1 + n %% 4], 'gift_wrap', n %% 5 = 0),
    now() - interval '1 day' * (1 + random() * 700)
FROM generate_series(1, %s) AS n
"""

_PRODUCTS = """
INSERT INTO products
SELECT
    n,
    'SKU-' || lpad(n::text, 5, '0'),
    (ARRAY['Oak','Linen','Copper','Wool','Cork','Glass','Stone','Paper','Steel','Felt'])[1 + n %% 10] || ' '
        || (ARRAY['lamp','chair','bowl','throw','shelf','vase','tray','clock','mug','basket'])[1 + n / 10 %% 10],
    (ARRAY['lighting','furniture','kitchen','textiles'])[1 + n %% 4],
    round((3 + random() * 197)::numeric, 2),
    CASE WHEN n %% 10 = 0 THEN NULL ELSE random() * 20 END,
    true,
    jsonb_build_object('colour', (ARRAY['natural','black','sand'])[1 + n %% 3], 'care', jsonb_build_array('dust', n)),
    (SELECT string_agg(md5(n::text || part), ' ') FROM generate_series(1, 160) AS part)
FROM generate_series(1, %s) AS n
"""

_ORDERS = """
INSERT INTO orders
SELECT
    n,
    1 + floor(random() * (SELECT count(*) FROM customers))::bigint,
    'placed',
    now() - interval '10 seconds' - interval '1 hour' * (1 - n / %(orders)s::float8),
    CASE WHEN n %% 7 = 0 THEN 'please ring twice' END
FROM generate_series(1, %(orders)s) AS n
"""

_ITEMS = """
INSERT INTO order_items
SELECT picked.order_id, picked.line, product_id, picked.quantity, price, picked.ordered_at
FROM (
    SELECT
        order_id, line, ordered_at,
        1 + floor(random() * random() * (SELECT count(*) FROM products))::int AS product_id,
        1 + floor(random() * 3)::int AS quantity
    FROM orders CROSS JOIN LATERAL generate_series(1, 1 + abs(hashint8(order_id)::bigint) % 4) AS line
) AS picked
JOIN products USING (product_id)
"""

_PAYMENTS = """
INSERT INTO payments
SELECT
    gen_random_uuid(), order_id, sum(quantity * unit_price),
    (ARRAY['card','transfer','wallet'])[1 + order_id % 3],
    orders.ordered_at + interval '1 second' * (order_id % 25)
FROM orders JOIN order_items USING (order_id)
WHERE order_id % 4 > 0 AND orders.ordered_at < now() - interval '40 seconds'
GROUP BY order_id
"""

_PAID = "UPDATE orders SET status = 'paid' WHERE order_id IN (SELECT order_id FROM payments)"


def create(url: str, *, customers: int = 200, products: int = 100, orders: int = 600) -> None:
    """Makes the shop's tables in the empty database at `url` and fills them, in one transaction.

    Orders are spread over the past hour, three in four of them paid, none of it in the last ten seconds.

    Args:
        url: a PostgreSQL connection URL whose user may create tables.
        customers, products, orders: how many rows of each; an order has one to four items.

    Raises:
        psycopg.Error: the database refused (the tables are there already, or no right to make them).
    """
    with psycopg.connect(url) as connection:
        connection.execute("SET LOCAL client_min_messages = warning")
        connection.execute(DDL.encode())
        connection.execute("SELECT setseed(0.42)")
        connection.execute(_CUSTOMERS, (customers,))
        connection.execute(_PRODUCTS, (products,))
        connection.execute(_ORDERS, {"orders": orders})
        for statement in (_ITEMS, _PAYMENTS, _PAID):
            connection.execute(statement.encode())

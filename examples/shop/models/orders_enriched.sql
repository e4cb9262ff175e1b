/*
description: Every line of every order with who ordered it and where it stands; follows updates on all three sides.
key: [order_id, line]
owner: analytics
*/
SELECT
    i.order_id,
    i.line,
    o.customer_id,
    c.name AS customer,
    c.city,
    c.country,
    o.status,
    i.product_id,
    i.quantity,
    i.quantity * i.unit_price AS amount,
    o.ordered_at
FROM order_items AS i
JOIN orders AS o ON o.order_id = i.order_id
JOIN customers AS c ON c.customer_id = o.customer_id

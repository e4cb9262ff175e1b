/*
description: Orders that nobody has paid yet; an order leaves when its payment arrives or it is cancelled.
key: [order_id]
owner: finance
*/
SELECT o.order_id, o.customer_id, o.status, o.ordered_at
FROM orders AS o
LEFT JOIN payments AS p ON p.order_id = o.order_id
WHERE p.payment_id IS NULL

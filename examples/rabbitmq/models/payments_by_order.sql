/*
key: [order_id]
description: What was paid for each order.
*/
SELECT order_id, sum(paid) AS paid
FROM payments
GROUP BY order_id

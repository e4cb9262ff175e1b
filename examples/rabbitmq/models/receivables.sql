/*
key: [customer]
description: What each customer has ordered and not paid yet.
*/
SELECT
    o.customer,
    count(*) AS orders,
    sum(o.amount - coalesce(p.paid, 0)) AS due
FROM orders AS o
LEFT JOIN payments_by_order AS p ON p.order_id = o.order_id
WHERE o.status != 'cancelled'
GROUP BY o.customer

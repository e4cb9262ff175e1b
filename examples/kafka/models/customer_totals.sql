/*
description: What each customer has ordered; a later message of an order replaces it, a tombstone takes it back.
key: [customer]
*/
SELECT customer, count(*) AS orders, sum(amount) AS total
FROM orders
GROUP BY customer

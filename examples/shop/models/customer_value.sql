/*
description: What each customer has ordered so far; a model over a model, right under updates and cancellations.
key: [customer_id]
checks:
  - expression: value >= 0 AND units >= lines
owner: analytics
*/
SELECT
    customer_id,
    count(*) AS lines,
    sum(quantity) AS units,
    sum(amount) AS value,
    max(ordered_at) AS last_ordered_at
FROM orders_enriched
GROUP BY customer_id

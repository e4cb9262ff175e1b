/*
description: The five products that sold best in each five minutes, anew every minute; cancellations are taken back.
key: [window_start, place]
emit: changes
late: update
owner: merchandising
*/
SELECT window_start, window_end, place, product_id, units, revenue
FROM (
    SELECT
        *,
        row_number() OVER (PARTITION BY window_start ORDER BY revenue DESC, product_id) AS place
    FROM (
        SELECT
            window_start,
            window_end,
            product_id,
            sum(quantity) AS units,
            sum(quantity * unit_price) AS revenue
        FROM HOP(order_items, ordered_at, INTERVAL 1 MINUTE, INTERVAL 5 MINUTE)
        GROUP BY window_start, window_end, product_id
    ) AS sales
) AS ranked
WHERE place <= 5

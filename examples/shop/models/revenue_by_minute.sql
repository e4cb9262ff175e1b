/*
description: Money received per minute; a minute is published once, when it is over.
key: [window_start]
emit: final
owner: finance
*/
SELECT
    window_start,
    window_end,
    count(*) AS payments,
    sum(amount) AS revenue,
    max(amount) AS largest
FROM TUMBLE(payments, paid_at, INTERVAL 1 MINUTE)
GROUP BY window_start, window_end

/*
description: Requests and bytes of each minute, once, when it is over.
emit: final
key: window_start
*/
SELECT window_start, count(*) AS requests, count(DISTINCT clientip) AS clients, sum(bytes) AS bytes
FROM TUMBLE(access, timestamp, INTERVAL '1 minute')
GROUP BY window_start, window_end

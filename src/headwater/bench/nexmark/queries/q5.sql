-- The auctions with the most bids in the last 10 seconds, every 2 seconds; all of them where several have as many.
WITH counts AS (
    SELECT auction, count(*) AS num, window_start, window_end
    FROM HOP(bid, dateTime, INTERVAL '2 seconds', INTERVAL '10 seconds')
    GROUP BY auction, window_start, window_end
), most AS (
    SELECT max(num) AS maximum, window_start, window_end
    FROM counts
    GROUP BY window_start, window_end
)
SELECT c.auction, c.num
FROM counts AS c
JOIN most AS m ON c.window_start = m.window_start AND c.window_end = m.window_end AND c.num >= m.maximum

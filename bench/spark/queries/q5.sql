-- mode: append
WITH counts AS (
    SELECT auction, COUNT(*) AS num, window
    FROM bid
    GROUP BY auction, window(dateTime, '10 seconds', '2 seconds')
),
most AS (
    SELECT MAX(num) AS num, window FROM counts GROUP BY window
)
SELECT c.auction, c.num
FROM counts AS c
JOIN most AS m ON c.window = m.window AND c.num >= m.num

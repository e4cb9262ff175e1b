-- mode: batch
-- A stream may not rank rows.
WITH won AS (
    SELECT *
    FROM (
        SELECT a.id, a.seller, b.price, b.dateTime,
               ROW_NUMBER() OVER (PARTITION BY a.id, a.seller ORDER BY b.price DESC, b.dateTime, b.bidder, b.extra) AS place
        FROM auction AS a
        JOIN bid AS b ON a.id = b.auction AND b.dateTime BETWEEN a.dateTime AND a.expires
    )
    WHERE place = 1
)
SELECT id, seller,
       AVG(price) OVER (PARTITION BY seller ORDER BY dateTime, id ROWS BETWEEN 10 PRECEDING AND CURRENT ROW) AS average
FROM won

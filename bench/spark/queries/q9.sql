-- mode: batch
-- A stream may not rank rows.
SELECT *
FROM (
    SELECT a.*, b.auction, b.bidder, b.price, b.dateTime AS bid_time, b.extra AS bid_extra,
           ROW_NUMBER() OVER (PARTITION BY a.id ORDER BY b.price DESC, b.dateTime) AS place
    FROM auction AS a
    JOIN bid AS b ON a.id = b.auction AND b.dateTime BETWEEN a.dateTime AND a.expires
)
WHERE place <= 1

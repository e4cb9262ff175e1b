-- What each seller's last auctions fetched on average: the winning bid of each auction, then a frame of that and the
-- ten before it. Flink cannot run it: its OVER takes no retractions. The order within a seller is by the time of the
-- winning bid; upstream leaves open what comes first of equals, here it is the lower auction.
WITH won AS (
    SELECT a.id, a.seller, b.price, b.dateTime
    FROM auction AS a
    JOIN bid AS b ON a.id = b.auction
    WHERE b.dateTime BETWEEN a.dateTime AND a.expires
    QUALIFY row_number() OVER (PARTITION BY a.id, a.seller ORDER BY b.price DESC, b.dateTime, b.bidder, b.extra) = 1
)
SELECT id, seller,
       avg(price) OVER (PARTITION BY seller ORDER BY dateTime, id ROWS BETWEEN 10 PRECEDING AND CURRENT ROW) AS average
FROM won

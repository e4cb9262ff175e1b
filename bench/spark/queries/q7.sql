-- mode: append
SELECT b.auction, b.price, b.bidder, b.dateTime, b.extra
FROM bid AS b
JOIN (
    SELECT MAX(price) AS price, window FROM bid GROUP BY window(dateTime, '10 seconds')
) AS m
ON b.price = m.price AND b.dateTime BETWEEN m.window.start AND m.window.end

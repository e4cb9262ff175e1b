-- The highest bids of each 10 seconds. As upstream, a bid at the very end of a window counts if it is as high.
SELECT b.auction, b.price, b.bidder, b.dateTime, b.extra
FROM bid AS b
JOIN (
    SELECT max(price) AS maximum, window_end
    FROM TUMBLE(bid, dateTime, INTERVAL '10 seconds')
    GROUP BY window_start, window_end
) AS h ON b.price = h.maximum
WHERE b.dateTime BETWEEN h.window_end - INTERVAL '10 seconds' AND h.window_end

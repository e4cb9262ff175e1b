-- mode: update
SELECT bidder, auction, MAX_BY(STRUCT(price, channel, url, dateTime, extra), dateTime) AS last
FROM bid
GROUP BY bidder, auction

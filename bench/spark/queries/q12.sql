-- mode: update
SELECT bidder, COUNT(*) AS bids, window
FROM (SELECT bidder, CURRENT_TIMESTAMP() AS arrival FROM bid)
GROUP BY bidder, window(arrival, '10 seconds')

-- How many bids each bidder made in each stretch of activity, which 10 seconds without a bid end.
SELECT bidder, count(*) AS bids, window_start, window_end
FROM SESSION(bid, bidder, dateTime, INTERVAL '10 seconds')
GROUP BY bidder, window_start, window_end

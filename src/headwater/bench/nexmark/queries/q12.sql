-- How many bids of each bidder came in in each 10 seconds, by the clock of the machine and not by the time in the row.
SELECT bidder, count(*) AS bids, window_start, window_end
FROM TUMBLE(bid, proctime(), INTERVAL '10 seconds')
GROUP BY bidder, window_start, window_end

-- mode: append
SELECT bidder, COUNT(*) AS bids, session_window FROM bid GROUP BY bidder, session_window(dateTime, '10 seconds')

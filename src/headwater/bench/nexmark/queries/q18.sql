-- The last bid of each bidder on each auction. Upstream orders by time alone and many bids are made in one
-- millisecond; price and extra decide between equals, so that there is one right answer.
SELECT auction, bidder, price, channel, url, dateTime, extra
FROM bid
QUALIFY row_number() OVER (PARTITION BY bidder, auction ORDER BY dateTime DESC, price DESC, extra) = 1

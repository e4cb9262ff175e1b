-- The ten highest bids on each auction, with their ranks. Upstream orders by price alone; time, bidder and extra decide
-- between equals, so that there is one right answer.
SELECT *, row_number() OVER (PARTITION BY auction ORDER BY price DESC, dateTime, bidder, extra) AS rank_number
FROM bid
QUALIFY rank_number <= 10

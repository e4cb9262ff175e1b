-- The bids on one auction in 123: a filter that few rows pass.
SELECT auction, price FROM bid WHERE auction % 123 = 0

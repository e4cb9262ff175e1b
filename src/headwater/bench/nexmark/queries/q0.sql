-- Every bid as it is: what passing rows through costs.
SELECT auction, bidder, price, dateTime, extra FROM bid

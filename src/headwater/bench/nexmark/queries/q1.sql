-- Every bid with its price in euros, a decimal multiplication.
SELECT auction, bidder, 0.908 * price AS price, dateTime, extra FROM bid

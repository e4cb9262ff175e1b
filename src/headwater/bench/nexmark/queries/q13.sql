-- Every bid with a value looked up by its auction in a table of 10,000 rows that are all there first.
SELECT b.auction, b.bidder, b.price, b.dateTime, s.value
FROM bid AS b
JOIN side_input AS s ON b.auction % 10000 = s.key

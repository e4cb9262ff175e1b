SELECT b.auction, b.bidder, b.price, b.`dateTime`, s.`value`
FROM (SELECT *, MOD(auction, 10000) AS side_key FROM bid) AS b
JOIN side_input FOR SYSTEM_TIME AS OF b.arrival AS s ON b.side_key = s.key

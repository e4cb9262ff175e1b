-- mode: append
SELECT b.auction, b.bidder, b.price, b.channel, b.url, b.dateTime, b.extra,
       p.name, p.emailAddress, p.creditCard, p.city, p.state, p.dateTime AS person_time, p.extra AS person_extra,
       a.id, a.itemName, a.description, a.initialBid, a.reserve, a.dateTime AS auction_time, a.expires, a.category,
       a.extra AS auction_extra
FROM bid AS b
JOIN person AS p ON p.id = b.bidder
JOIN auction AS a ON a.seller = b.bidder

-- Every bid with its day and minute as text. Upstream writes files by them; here the columns are the result.
SELECT auction, bidder, price, dateTime, extra,
       strftime(dateTime, '%Y-%m-%d') AS day, strftime(dateTime, '%H:%M') AS minute
FROM bid

-- mode: append
SELECT auction, bidder, price, dateTime, extra,
       DATE_FORMAT(dateTime, 'yyyy-MM-dd') AS day_of, DATE_FORMAT(dateTime, 'HH:mm') AS minute_of
FROM bid

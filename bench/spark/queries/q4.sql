-- mode: batch
-- A stream may not aggregate an aggregate that is not of a time window.
SELECT category, AVG(final) AS average
FROM (
    SELECT a.id, a.category, MAX(b.price) AS final
    FROM auction AS a
    JOIN bid AS b ON a.id = b.auction AND b.dateTime BETWEEN a.dateTime AND a.expires
    GROUP BY a.id, a.category
)
GROUP BY category

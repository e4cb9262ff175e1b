/*
description: What is asked for, and how it is answered.
key: page
*/
SELECT regexp_replace(request, '[?].*', '') AS page,
       count(*) AS hits,
       count(*) FILTER (response >= 400) AS failures,
       sum(bytes) AS bytes
FROM access
WHERE verb IN ('GET', 'POST')
GROUP BY page

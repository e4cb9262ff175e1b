/*
description: What people searched for before they came, by grok in SQL.
*/
SELECT clientip, timestamp, grok(referrer, '[?&]q=(?<words>[^&]+)')['words'] AS words
FROM access
WHERE referrer LIKE '%q=%'

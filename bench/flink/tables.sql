-- Three tables, each its own source: a query reads only the tables and columns that it names, where the upstream harness reads
-- every event and filters by its type. %(data)s is the folder of column files.
CREATE TABLE person (
    id BIGINT, name STRING, emailAddress STRING, creditCard STRING, city STRING, state STRING,
    `dateTime` TIMESTAMP(3), extra STRING,
    WATERMARK FOR `dateTime` AS `dateTime` - INTERVAL '4' SECOND
) WITH ('connector' = 'columns', 'path' = '%(data)s/person');

CREATE TABLE auction (
    id BIGINT, itemName STRING, description STRING, initialBid BIGINT, reserve BIGINT,
    `dateTime` TIMESTAMP(3), expires TIMESTAMP(3), seller BIGINT, category BIGINT, extra STRING,
    WATERMARK FOR `dateTime` AS `dateTime` - INTERVAL '4' SECOND
) WITH ('connector' = 'columns', 'path' = '%(data)s/auction');

CREATE TABLE bid (
    auction BIGINT, bidder BIGINT, price BIGINT, channel STRING, url STRING,
    `dateTime` TIMESTAMP(3), extra STRING, arrival AS PROCTIME(),
    WATERMARK FOR `dateTime` AS `dateTime` - INTERVAL '4' SECOND
) WITH ('connector' = 'columns', 'path' = '%(data)s/bid');

CREATE TABLE side_input (
    key BIGINT, `value` STRING
) WITH ('connector' = 'columns', 'path' = '%(data)s/side_input');

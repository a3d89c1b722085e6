-- SPDX-License-Identifier: MIT
-- A shop: customers and what they bought.
CREATE TABLE customer(id INTEGER PRIMARY KEY, name TEXT, city INTEGER);
CREATE TABLE purchase(id INTEGER PRIMARY KEY, customer INTEGER, amount INTEGER, note TEXT);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<40000) INSERT INTO customer SELECT i, 'customer number '||i, (i*7919)%1009 FROM n;
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<80000) INSERT INTO purchase SELECT i, 1+(i*104729)%40000, (i*31337)%5000, 'purchase '||i||' '||hex(i*i*i) FROM n;
CREATE INDEX purchase_customer ON purchase(customer);

-- SPDX-License-Identifier: MIT
-- Sales by city, of every twentieth customer: a scan, a look-up in an index for each, a group and a sort. The file is mapped.
PRAGMA mmap_size = 268435456;
SELECT city, count(*), sum(amount) FROM customer JOIN purchase ON purchase.customer = customer.id
WHERE customer.id % 20 = 0 GROUP BY city ORDER BY 3 DESC LIMIT 5;

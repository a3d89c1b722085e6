-- SPDX-License-Identifier: MIT
-- 12,000 look-ups by key, low keys far more often than high ones (the product of two uniform numbers). The file is mapped.
PRAGMA mmap_size = 268435456;
WITH RECURSIVE n(i, a, b) AS (
  SELECT 1, 1, 1
  UNION ALL
  SELECT i + 1, (a * 16807) % 2147483647, (b * 48271) % 2147483647 FROM n WHERE i < 12000)
SELECT count(*), sum(d.size) FROM n JOIN document d ON d.id = 1 + (n.a % 16000) * (n.b % 16000) / 16000;

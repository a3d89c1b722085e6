-- SPDX-License-Identifier: MIT
-- 16,000 documents, one to a page of the file: 64 MiB.
CREATE TABLE document(id INTEGER PRIMARY KEY, size INTEGER, body BLOB);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 16000)
INSERT INTO document SELECT i, (i * 7919) % 3000, zeroblob(3600) FROM n;

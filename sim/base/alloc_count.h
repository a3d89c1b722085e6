/* SPDX-License-Identifier: MIT */
/*
 * What blocks, arenas and caches share: the host's allocator, numbering requests (and failing the chosen one) and counting
 * what is out.
 */
#ifndef PS_BASE_ALLOC_COUNT_H
#define PS_BASE_ALLOC_COUNT_H

#include <pagesim/types.h>

/*
 * The host's allocator, uncounted. @align: 0 for that of any object, else a power of two. What one of these gave goes back through
 * ps_host_free() alone.
 */
void *ps_host_alloc(size_t bytes, size_t align, bool zero);
void ps_host_free(void *block);

/* Numbers a request. Return: whether it is the one that must fail. */
bool ps_alloc_request_fails(void);
/* Counts an answer, NULL as a failure. Return: block. */
void *ps_alloc_count_new(void *block, size_t bytes);
/* Counts what was given back. */
void ps_alloc_count_gone(u64 blocks, u64 bytes);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * What blocks, arenas and caches share: numbering requests (and failing the chosen one), counting what is out, and where the
 * memory comes from. With jemalloc that is always its own entry points (mallocx, dallocx), never malloc() and free(): in a
 * program that is not linked to jemalloc itself, those are the C library's, and the two must not be mixed.
 */
#ifndef PS_BASE_ALLOC_COUNT_H
#define PS_BASE_ALLOC_COUNT_H

#include <pagesim/types.h>

/* Numbers a request. Return: whether it is the one that must fail. */
bool ps_alloc_request_fails(void);
/* Counts an answer, NULL as a failure. Return: block. */
void *ps_alloc_count_new(void *block, size_t bytes);
/* Counts what was given back. */
void ps_alloc_count_gone(u64 blocks, u64 bytes);

/* @align: a power of two, or 0 for what malloc() would give. @bytes may be 0. Neither numbered nor counted. */
void *ps_raw_alloc(size_t align, size_t bytes, bool zero);
/* @block: from ps_raw_alloc(), not NULL. */
void ps_raw_free(void *block);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * Isolated pages, for the engines: see isolate.c. Isolating and putting back are in pagesim/migrate.h.
 */
#ifndef ENGINES_ISOLATE_H
#define ENGINES_ISOLATE_H

#include <pagesim/migrate.h>

/**
 * Adds to nr_isolated_anon or nr_isolated_file, whichever the page is, of its node. @pages: base pages, signed.
 * Context: the page is isolated. Fidelity: exact.
 */
void count_isolated(struct page *page, long pages);

/**
 * Nobody wants the page back: it leaves its list, is no longer counted as isolated and loses the isolator's reference.
 * Context: the page is isolated; may free it. Fidelity: exact, the end of unmap_and_move().
 */
void release_isolated_page(struct page *page);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * The quiesce protocol: the steps that migrate, exchange and split have in common, by which a page is brought to rest.
 *
 *   1. quiesce_lock      page lock, writeback, a hold on the anon_vma      nobody maps or unmaps behind our back unnoticed
 *   2. quiesce_unmap     every mapping becomes a migration entry           nobody reads or writes the contents
 *   3. (the engine)      freeze the references, act, unfreeze              nobody finds the page
 *   4. quiesce_restore   the entries become mappings of the page, or of the one that took its place
 *   5. quiesce_unlock    in reverse order of 1
 *
 * A step that fails has undone itself; who called it undoes the steps before by 4 and 5.
 */
#ifndef ENGINES_QUIESCE_H
#define ENGINES_QUIESCE_H

#include <pagesim/migrate_mode.h>
#include <pagesim/rmap.h>
#include <pagesim/types.h>

struct quiesce {
	struct page *page;
	struct anon_vma *anon_vma; /* held from lock to unlock; NULL for file pages and unmapped ones */
	bool was_mapped;           /* migration entries exist */
};

/**
 * @force: the lock, and in SYNC mode writeback, may be waited for.
 * Return: 0; -EAGAIN (locked by others); -EBUSY (under writeback).
 */
int quiesce_lock(struct quiesce *q, struct page *page, enum migrate_mode mode, bool force);
/** @batch: collects TLB flushes; NULL: each at once. Afterwards page_mapped() tells whether all went. */
void quiesce_unmap(struct quiesce *q, struct tlb_batch *batch);
/** @to: the page itself, to undo, or its successor. */
void quiesce_restore(struct quiesce *q, struct page *to);
void quiesce_unlock(struct quiesce *q);
/** References a page has when only its mapping (and its private data) and the isolating caller hold it. */
int quiesce_expected_refs(struct address_space *mapping, struct page *page);

#endif

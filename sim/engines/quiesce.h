/* SPDX-License-Identifier: MIT */
/*
 * The quiesce protocol: how a page is brought to rest, so that its frame, its size or its owner can change while everybody who
 * maps it goes on as if nothing had happened. Migrate, exchange and split are this dance, each with an act of its own in 5.
 *
 *   1. lock the page            quiesce_lock      nobody else truncates, moves, splits or maps it from the file
 *   2. mind writeback           quiesce_lock      no device reads the frame
 *   3. hold its anon_vma        quiesce_lock      unmapped, the page does not keep it alive any more; 6 finds the entries
 *                               or quiesce_hold   through it
 *   4. unmap                    quiesce_unmap     every mapping is a migration entry: nobody reads or writes the contents; who
 *                                                 wants to sleeps on the page lock, and takes no reference for that
 *   5. freeze, act, unfreeze    (the engine)      with the references at quiesce_expected_refs() nobody has the page, and
 *                                                 frozen, nobody gets it
 *   6. restore the entries      quiesce_restore   they become mappings of the page, or of what took its place
 *   7. let go, unlock           quiesce_unlock    3 and 1 in reverse; who slept wakes, and finds a mapping
 *
 * A step that fails has undone itself. Who gives up later goes on with 6, to the page itself, and 7: the page is as it was
 * before 1. Between 4 and 6 the page lock must not be dropped: check_machine() holds that every migration entry belongs to a
 * locked page (I2).
 *
 * Split has its page locked by the caller and begins with 3; it restores piece by piece.
 */
#ifndef ENGINES_QUIESCE_H
#define ENGINES_QUIESCE_H

#include <pagesim/migrate_mode.h>
#include <pagesim/rmap.h>
#include <pagesim/types.h>

/* One page at rest, or on its way there. On the stack of who does it; nobody else looks. */
struct quiesce {
	struct page *page;
	struct anon_vma *anon_vma; /* held from 3 to 7; NULL: a file page, or one that nobody maps */
	bool was_mapped;           /* migration entries exist */
	bool writeback;            /* quiesce_lock() failed for writeback, not for the lock */
};

/**
 * Steps 1 to 3.
 * @force: the lock, and in mode SYNC writeback, may be waited for. ASYNC waits for nothing, nor does who reclaims memory
 * (PF_MEMALLOC): it may hold page locks itself.
 * Return: 0; -EAGAIN (locked, or in mode SYNC under writeback: a later pass may wait); -EBUSY (under writeback).
 * Context: a reference to the page, no page lock unless not waiting; may sleep.
 * Fidelity: exact, the beginning of __unmap_and_move().
 */
int quiesce_lock(struct quiesce *q, struct page *page, enum migrate_mode mode, bool force);

/** The same with another page locked, in an order that everybody keeps who locks both: by frame number. */
int quiesce_lock_second(struct quiesce *q, struct page *page, enum migrate_mode mode, bool force);

/** Step 3 for a page that the caller has locked: then quiesce_unlock() is his too. Fidelity: exact, page_get_anon_vma(). */
void quiesce_hold(struct quiesce *q, struct page *page);

/**
 * Step 4, if it is mapped at all. page_mapped() tells afterwards whether all went: a pinned page refuses.
 * @batch: collects TLB flushes; NULL: each at once.
 * Context: steps 1 to 3; may sleep. Fidelity: exact, as __unmap_and_move() calls try_to_migrate().
 */
void quiesce_unmap(struct quiesce *q, struct tlb_batch *batch);

/**
 * Step 6. @to: the page itself, to undo, or its successor.
 * Context: both locked; may sleep. Fidelity: exact, remove_migration_ptes().
 */
void quiesce_restore(struct quiesce *q, struct page *to);

/** Step 7. Context: may free the anon_vma; may sleep. Fidelity: exact. */
void quiesce_unlock(struct quiesce *q);

/**
 * References of a page that only the isolating caller, its file (one per base page) and its private data hold.
 * Fidelity: exact, folio_expected_refs().
 */
int quiesce_expected_refs(struct address_space *mapping, struct page *page);

#endif

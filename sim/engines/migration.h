/* SPDX-License-Identifier: MIT */
/*
 * What the files of the migrate engine share. A call of migrate_pages() is a `struct migration`: what was asked, and what
 * came of it so far.
 *
 *   migrate.c         one page: unmap, move, undo; a list page by page (6.1); the call itself and its statistics
 *   migrate_batch.c   a list in batches (6.3)
 *   migrate_ops.c     step 5: another page takes over a page's identity and contents, by kind of file
 *
 * Counting. What is given up is counted in one array, base pages by reason; pgmigrate_fail is its sum. So every page
 * counted there has exactly one reason, that of its last attempt.
 */
#ifndef ENGINES_MIGRATION_H
#define ENGINES_MIGRATION_H

#include <pagesim/migrate.h>

#include "engines/quiesce.h"

/* What came of a call, as the vm events count it. Zero: nothing yet. */
struct migrate_stats {
	unsigned int nr_succeeded;                    /* base pages */
	unsigned int failed[PS_NR_MIGRATE_FAILURES];  /* base pages given up, by reason */
	unsigned int nr_thp_succeeded, nr_thp_failed; /* huge pages; split ones have failed */
	unsigned int nr_thp_split;
};

/* Pages that said -EAGAIN in one pass; they fail if it was the last. */
struct migrate_retries {
	unsigned int nr, nr_thp;                     /* pages; the huge ones of them */
	unsigned int failed[PS_NR_MIGRATE_FAILURES]; /* base pages by reason */
};

struct migration {
	new_page_t get_new_page;
	free_page_t put_new_page;
	void *arg;
	enum migrate_mode mode;
	enum migrate_reason reason;
	const struct migrate_recipe *recipe;
	struct list_head *failed; /* pages given up; they go back to the caller's list at the end */
	struct list_head split;   /* small pages of huge ones that could not move whole, not tried yet */
	struct migrate_stats stats;
	enum ps_migrate_failure why; /* the last page did not move */
};

/* ---- one page (migrate.c) */

/**
 * The page was freed by its users since it was isolated: it is let go, and counts as moved.
 * Return: whether it was. Fidelity: exact, the first lines of unmap_and_move().
 */
bool migrate_page_freed(struct page *page);

/**
 * Steps 2 to 4: a target, the locks, the unmapping.
 * @force: a lock, or writeback, may be waited for as far as the mode allows. @batch: collects TLB flushes; NULL: at once.
 * Return: 0, both pages locked, the old one not mapped, *q and *ret_newpage set. -ENOMEM (no target) and -EAGAIN: the page is
 * as before and still on its list. Other errors: as before, on m->failed. m->why says why.
 * Context: may sleep. Fidelity: exact, the first half of __unmap_and_move() and all of 6.3's migrate_folio_unmap().
 */
int migrate_page_unmap(struct migration *m, struct page *page, bool force, struct tlb_batch *batch, struct quiesce *q,
		       struct page **ret_newpage);

/**
 * Steps 5 to 7. Return: 0, the old page off its list, unlocked and dropped. Otherwise nothing has changed since
 * migrate_page_unmap(): the caller tries again or undoes. m->why says why.
 * Context: as migrate_page_unmap() left it; may sleep. Fidelity: exact, the second half of __unmap_and_move(), 6.3's
 * migrate_folio_move().
 */
int migrate_page_move(struct migration *m, struct quiesce *q, struct page *newpage);

/** Takes migrate_page_unmap() back: mapped as before, unlocked, the target given back. The page stays on its list. */
void migrate_page_undo(struct migration *m, struct quiesce *q, struct page *newpage);

/* ---- counting (migrate.c) */

/**
 * Counts what became of a page of `nr` base pages in one attempt; splits a huge page that has no target, if that may help.
 * @retries: takes -EAGAIN. @nr_failed: takes final failures, in pages of any size.
 * Return: false if memory ran out and no further page should be tried.
 * Fidelity: exact, the switch in migrate_pages(); no THP_MIGRATION without support for it.
 */
bool migration_account(struct migration *m, struct page *page, int error, unsigned int nr,
		       struct migrate_retries *retries, int *nr_failed);

/** No pass is left: what was to be tried again has failed. */
void migration_give_up(struct migration *m, const struct migrate_retries *retries, int *nr_failed);

/* ---- whole lists */

/**
 * Works through the list in batches, splits and pieces included. What did not move is in `from` or m->failed.
 * Return: pages that failed (a huge one is one), or -ENOMEM. Context: may sleep.
 * Fidelity: exact against 6.3's migrate_pages(), but that a huge page is split within a batch only if its lock is free;
 * 6.3 waited for it with other pages locked, and could deadlock (repaired in 6.11).
 */
int migrate_in_batches(struct migration *m, struct list_head *from);

/* ---- step 5 (migrate_ops.c); the first two serve exchange as well */

struct xa_state;
/**
 * Puts a page into the slots of its file, or of the swap cache, where another frame of that size was; tags stay.
 * Context: xa_lock; xas is at the first slot and loaded; the page says already what it is (PG_swapcache).
 */
void cache_store(struct xa_state *xas, struct page *page);
/**
 * A page of `mapping` (a file, or the swap cache) was in frame `from` and is in frame `to` now: what is counted by node and zone
 * follows. Context: both are locked.
 */
void account_cached_page(struct page *from, struct page *to, struct address_space *mapping, bool swapbacked,
			 bool dirty);

/**
 * Gives the page's identity and contents to newpage, in the way its kind of file does it.
 * Context: both locked, the old one not mapped; may sleep, and in writing a page out may unlock and lock it again.
 * Return: 0; -EAGAIN: another try may help; -EBUSY, -EIO, -EINVAL: none will. *ret_why is set on failure.
 * Fidelity: exact, move_to_new_folio() for LRU pages.
 */
int move_to_new_page(struct page *newpage, struct page *page, enum migrate_mode mode, enum ps_migrate_failure *ret_why);

#endif

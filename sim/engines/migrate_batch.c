/* SPDX-License-Identifier: MIT */
/*
 * The batches of 6.3: a shootdown of other CPUs' TLBs costs more than all else about moving a small page, and one can serve
 * many. So the list is cut into pieces of at most recipe->batch_pages base pages, and each goes through
 *
 *      from ──migrate_page_unmap──> unmapped + targets ──one flush──> migrate_page_move ──> gone
 *        │                                                                 │
 *        └── -EAGAIN: next pass                                            └── -EAGAIN: next pass, still unmapped
 *
 * A batch holds many page locks at once, which decides the rest:
 *   - it never waits for a lock, or for writeback: the holder may wait for one of ours. So the batch is asynchronous even for
 *     a caller who may wait, and what did not move is then tried alone, in the caller's mode (migrate_sync);
 *   - the two lists run in parallel: the n-th target belongs to the n-th unmapped page. What quiesce_lock and quiesce_unmap
 *     left lies in the target meanwhile, whose private data nobody else looks at.
 */
#include <string.h>

#include <pagesim/compound.h>
#include <pagesim/page.h>
#include <pagesim/runtime.h>
#include <pagesim/tlbflush.h>

#include "engines/migration.h"

#define WAS_MAPPED 1UL

/* Keeps a quiesced page's state in its target. Not in `mapping`, which who finds the page by its frame number may read. */
static void record(struct page *newpage, const struct quiesce *q)
{
	newpage->private_data = (unsigned long)q->anon_vma | (q->was_mapped ? WAS_MAPPED : 0);
}

static struct quiesce extract(struct page *newpage, struct page *page)
{
	unsigned long word = newpage->private_data;

	newpage->private_data = 0;
	return (struct quiesce){ .page = page,
				 .anon_vma = (struct anon_vma *)(word & ~WAS_MAPPED),
				 .was_mapped = word & WAS_MAPPED };
}

static struct page *pop(struct list_head *list)
{
	struct page *page = list_first_entry(list, struct page, lru);

	list_del(&page->lru);
	return page;
}

/*
 * Unmap every page of the list, flush once, move every page; each up to `passes` times. In a mode that waits the list is one
 * page.
 * Return: pages that failed, or -ENOMEM. Pages that may be tried again are on `from` or, if they got as far as being unmapped,
 * on m->failed like those that may not.
 * Fidelity: exact, migrate_pages_batch().
 */
static int migrate_batch(struct migration *m, struct list_head *from, unsigned int passes)
{
	struct migrate_retries retries = { .nr = 1 };
	struct tlb_batch tlb = { .pending = false };
	struct page *page, *next, *newpage;
	bool out_of_memory = false;
	unsigned int pass;
	int nr_failed = 0;
	LIST_HEAD(unmapped);
	LIST_HEAD(targets);

	for (pass = 0; pass < passes && retries.nr && !out_of_memory; pass++) {
		memset(&retries, 0, sizeof(retries));
		list_for_each_entry_safe(page, next, from, lru) {
			unsigned int nr = (unsigned int)compound_nr(page);
			struct quiesce q;
			int error = 0;

			cond_resched();
			if (!migrate_page_freed(page)) {
				error = migrate_page_unmap(m, page, pass > m->recipe->force_after, &tlb, &q, &newpage);
				if (!error) {
					record(newpage, &q);
					list_move_tail(&page->lru, &unmapped);
					list_add_tail(&newpage->lru, &targets);
					continue;
				}
			}
			if (!migration_account(m, page, error, nr, &retries, &nr_failed)) {
				/* No more; but what is unmapped already has its target. */
				out_of_memory = true;
				break;
			}
		}
	}
	migration_give_up(m, &retries, &nr_failed);

	tlb_batch_flush(&tlb);

	retries.nr = 1;
	for (pass = 0; pass < passes && retries.nr; pass++) {
		LIST_HEAD(kept);

		memset(&retries, 0, sizeof(retries));
		list_for_each_entry_safe(page, next, &unmapped, lru) {
			unsigned int nr = (unsigned int)compound_nr(page);
			struct quiesce q;
			int error;

			cond_resched();
			newpage = pop(&targets);
			q = extract(newpage, page);
			error = migrate_page_move(m, &q, newpage);
			if (error == -EAGAIN) {
				record(newpage, &q);
				list_add_tail(&newpage->lru, &kept);
			} else if (error) {
				migrate_page_undo(m, &q, newpage);
				list_move_tail(&page->lru, m->failed);
			}
			migration_account(m, page, error, nr, &retries, &nr_failed);
		}
		list_splice(&kept, &targets);
	}
	migration_give_up(m, &retries, &nr_failed);

	list_for_each_entry_safe(page, next, &unmapped, lru) {
		struct quiesce q;

		newpage = pop(&targets);
		q = extract(newpage, page);
		migrate_page_undo(m, &q, newpage);
		list_move_tail(&page->lru, m->failed);
	}
	return out_of_memory ? -ENOMEM : nr_failed;
}

/*
 * A batch for a caller who may wait: first asynchronously; whatever did not move then, for whichever reason, is tried alone,
 * waiting for what it waits for. Failures of the first attempt do not count, save huge pages it split.
 * Fidelity: exact, migrate_pages_sync().
 */
static int migrate_sync(struct migration *m, struct list_head *cut)
{
	const struct migrate_stats before = m->stats;
	const enum migrate_mode mode = m->mode;
	struct list_head *failed = m->failed;
	int ret, nr_failed;
	LIST_HEAD(again);
	LIST_HEAD(alone);

	m->mode = MIGRATE_ASYNC;
	m->failed = &again;
	ret = migrate_batch(m, cut, m->recipe->async_passes);
	m->mode = mode;
	m->failed = failed;
	if (ret < 0) {
		list_splice_tail(&again, m->failed);
		return ret;
	}
	nr_failed = (int)(m->stats.nr_thp_split - before.nr_thp_split);
	m->stats.nr_thp_failed = before.nr_thp_failed + (unsigned int)nr_failed;
	memcpy(m->stats.failed, before.failed, sizeof(before.failed));

	list_splice_tail_init(&again, cut);
	while (!list_empty(cut)) {
		list_move(cut->next, &alone);
		ret = migrate_batch(m, &alone, m->recipe->sync_passes);
		list_splice_tail_init(&alone, m->failed);
		if (ret < 0)
			return ret;
		nr_failed += ret;
	}
	return nr_failed;
}

/* The pieces of huge pages that were split, with little effort: one pass that waits for nothing. The whole page has failed, so
 * a piece that stays is no further failure, and that memory runs out does not end the call. */
static void migrate_pieces(struct migration *m)
{
	const enum migrate_mode mode = m->mode;
	LIST_HEAD(pieces);

	list_splice_init(&m->split, &pieces);
	m->mode = MIGRATE_ASYNC;
	migrate_batch(m, &pieces, 1);
	m->mode = mode;
	list_splice_tail(&pieces, m->failed);
}

/* Takes up to a batch off the front of the list, at least one page. */
static void cut_batch(struct list_head *from, unsigned int room, struct list_head *cut)
{
	unsigned int nr = 0;
	struct page *page;

	list_for_each_entry(page, from, lru) {
		unsigned int pages = (unsigned int)compound_nr(page);

		if (nr && nr + pages > room)
			break;
		nr += pages;
	}
	list_cut_before(cut, from, &page->lru);
}

int migrate_in_batches(struct migration *m, struct list_head *from)
{
	int ret, nr_failed = 0;

	while (!list_empty(from)) {
		LIST_HEAD(cut);

		cut_batch(from, m->recipe->batch_pages, &cut);
		ret = m->mode == MIGRATE_ASYNC ? migrate_batch(m, &cut, m->recipe->passes) : migrate_sync(m, &cut);
		list_splice_tail(&cut, m->failed);
		if (ret < 0)
			return ret;
		if (!list_empty(&m->split))
			migrate_pieces(m);
		nr_failed += ret;
	}
	return nr_failed;
}

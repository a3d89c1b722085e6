/* SPDX-License-Identifier: MIT */
/*
 * The migrate engine. One page's way (quiesce.h tells why each step is there):
 *
 *    1. nobody but us has it any more: done, it is freed                               migrate_page_freed
 *    2. allocate the destination                                                       migrate_page_unmap
 *    3. quiesce_lock: lock the source, mind writeback, hold its anon_vma;                     ║
 *       lock the destination, which nobody else knows                                         ║
 *    4. quiesce_unmap: migration entries everywhere                                           ║
 *    5. move_to_new_page: freeze the references, put the destination in the            migrate_page_move
 *       file's slot, unfreeze; flags; contents                                                ║
 *    6. the destination goes to its LRU; then the entries become mappings of it               ║
 *    7. unlock, drop the hold; the source's last reference frees it                           ║
 *
 * A page that fails in 3 or 4 is as it was before 2; one that fails in 5 goes there by migrate_page_undo. -EAGAIN means that
 * another pass may do better; every other error is final.
 *
 * Generation `6.1` takes each page through all steps before the next. Generation `6.3-batch` takes a batch through 2 to 4,
 * flushes the TLBs once, and takes it through 5 to 7 (migrate_batch.c).
 */
#include <pagesim/migrate.h>

#include <string.h>

#include <pagesim/buffer_head.h>
#include <pagesim/compound.h>
#include <pagesim/gfp.h>
#include <pagesim/lru.h>
#include <pagesim/machine.h>
#include <pagesim/mem.h>
#include <pagesim/movable.h>
#include <pagesim/page_alloc.h>
#include <pagesim/page_flags.h>
#include <pagesim/page_lock.h>
#include <pagesim/page_mapcount.h>
#include <pagesim/page_ref.h>
#include <pagesim/runtime.h>
#include <pagesim/split.h>
#include <pagesim/tracepoint.h>
#include <pagesim/vmstat.h>

#include "engines/isolate.h"
#include "engines/migration.h"

/* ---- steps 1 and 2: is it still there, and where to */

bool migrate_page_freed(struct page *page)
{
	if (page_count(page) != 1)
		return false;
	ClearPageActive(page);
	ClearPageUnevictable(page);
	release_isolated_page(page);
	return true;
}

struct page *alloc_migration_target(struct page *page, void *arg)
{
	struct migration_target_control *mtc = arg;
	nid_t nid = mtc->nid == NUMA_NO_NODE ? page_to_nid(page) : mtc->nid;
	gfp_t gfp = mtc->gfp_mask;
	unsigned int order = 0;
	struct page *target;

	if (PageTransHuge(page)) {
		/* As hard as a fault would try, no harder. */
		gfp = (gfp & ~(gfp_t)__GFP_RECLAIM) | GFP_TRANSHUGE;
		order = compound_order(page);
	}
	if (page_zonenum(page) == ZONE_MOVABLE)
		gfp |= __GFP_HIGHMEM;
	target = __alloc_pages(gfp, order, nid, mtc->nmask);
	if (target && order)
		prep_transhuge_page(target);
	return target;
}

static struct page *get_target(struct migration *m, struct page *page)
{
	struct ps_costs *costs = &this_machine()->costs;

	ps_charge(PageTransHuge(page) ? costs->alloc_huge_ns + costs->migrate_huge_ns
				      : costs->alloc_page_ns + costs->migrate_page_ns,
		  PS_TIME_MIGRATE);
	return m->get_new_page(page, m->arg);
}

static void give_back_target(struct migration *m, struct page *newpage)
{
	if (m->put_new_page)
		m->put_new_page(newpage, m->arg);
	else
		put_page(newpage);
}

/* ---- steps 2 to 4, and back */

int migrate_page_unmap(struct migration *m, struct page *page, bool force, struct tlb_batch *batch, struct quiesce *q,
		       struct page **ret_newpage)
{
	struct page *newpage = get_target(m, page);
	int error;

	m->why = PS_FAIL_NO_MEMORY;
	if (!newpage)
		return -ENOMEM;
	error = quiesce_lock(q, page, m->mode, force);
	m->why = q->writeback ? PS_FAIL_WRITEBACK : PS_FAIL_LOCKED;
	if (error)
		goto out_target;
	error = -EAGAIN;
	m->why = PS_FAIL_LOCKED;
	if (unlikely(!trylock_page(newpage)))
		goto out_unlock;
	if (unlikely(__PageMovable(page))) {
		/* No page table maps it. */
	} else if (unlikely(!page->mapping)) {
		/* Truncated, but the file system still keeps something on it. */
		m->why = PS_FAIL_BUFFERS;
		if (page_has_private(page)) {
			try_to_free_buffers(page);
			goto out_unlock_both;
		}
	} else {
		quiesce_unmap(q, batch);
	}
	/* Pinned, or a mapping raced in. */
	m->why = PS_FAIL_MAPPED;
	if (page_mapped(page))
		goto out_restore;
	*ret_newpage = newpage;
	return 0;

out_restore:
	quiesce_restore(q, page);
out_unlock_both:
	unlock_page(newpage);
out_unlock:
	quiesce_unlock(q);
out_target:
	if (error != -EAGAIN)
		list_move_tail(&page->lru, m->failed);
	give_back_target(m, newpage);
	return error;
}

void migrate_page_undo(struct migration *m, struct quiesce *q, struct page *newpage)
{
	quiesce_restore(q, q->page);
	unlock_page(newpage);
	quiesce_unlock(q);
	give_back_target(m, newpage);
}

/* ---- steps 5 to 7 */

int migrate_page_move(struct migration *m, struct quiesce *q, struct page *newpage)
{
	struct page *page = q->page;
	bool is_lru = !__PageMovable(page);
	int error = move_to_new_page(newpage, page, m->mode, &m->why);

	if (error)
		return error;
	/* On its list before it is mapped: an mlocked mapping then finds it there and moves it on. */
	if (likely(is_lru))
		lru_cache_add(newpage);
	if (q->was_mapped)
		lru_add_drain();
	quiesce_restore(q, newpage);
	unlock_page(newpage);
	quiesce_unlock(q);
	put_page(newpage);
	release_isolated_page(page);
	return 0;
}

/* ---- counting */

/*
 * Return: true if the huge page was split; its pieces wait in m->split.
 * In a batch other pages are locked already, so this one must not be waited for: the holder of its lock may wait for one of
 * theirs. (6.3 did wait; 6.11 repaired it.)
 */
static bool try_split(struct migration *m, struct page *page)
{
	int error;

	if (!m->recipe->batch || m->mode != MIGRATE_ASYNC)
		lock_page(page);
	else if (!trylock_page(page))
		return false;
	error = split_huge_page_to_list(page, &m->split);
	unlock_page(page);
	if (!error)
		list_move_tail(&page->lru, &m->split);
	return !error;
}

bool migration_account(struct migration *m, struct page *page, int error, unsigned int nr,
		       struct migrate_retries *retries, int *nr_failed)
{
	struct migrate_stats *stats = &m->stats;
	bool is_thp = nr > 1;

	if (!error) {
		stats->nr_succeeded += nr;
		stats->nr_thp_succeeded += is_thp;
		return true;
	}
	if (error == -EAGAIN) {
		retries->nr++;
		retries->nr_thp += is_thp;
		retries->failed[m->why] += nr;
		return true;
	}
	(*nr_failed)++;
	stats->nr_thp_failed += is_thp;
	/* A hint fault would rather leave a huge page than break it. */
	if (error == -ENOMEM && is_thp && m->reason != MR_NUMA_MISPLACED && try_split(m, page)) {
		stats->nr_thp_split++;
		return true;
	}
	stats->failed[m->why] += nr;
	return error != -ENOMEM;
}

void migration_give_up(struct migration *m, const struct migrate_retries *retries, int *nr_failed)
{
	int why;

	*nr_failed += (int)retries->nr;
	m->stats.nr_thp_failed += retries->nr_thp;
	for (why = 0; why < PS_NR_MIGRATE_FAILURES; why++)
		m->stats.failed[why] += retries->failed[why];
}

/* ---- page by page (generation 6.1) */

/* All steps for one page. Return: 0; -ENOMEM, -EAGAIN: it stays on its list; others: it is on m->failed. */
static int unmap_and_move(struct migration *m, struct page *page, bool force)
{
	struct page *newpage;
	struct quiesce q;
	int error;

	if (migrate_page_freed(page))
		return 0;
	error = migrate_page_unmap(m, page, force, NULL, &q, &newpage);
	if (error)
		return error;
	error = migrate_page_move(m, &q, newpage);
	if (error) {
		migrate_page_undo(m, &q, newpage);
		if (error != -EAGAIN)
			list_move_tail(&page->lru, m->failed);
	}
	return error;
}

/* Goes over the list again and again. Return: pages that failed, or -ENOMEM. */
static int migrate_list(struct migration *m, struct list_head *from, unsigned int passes)
{
	struct migrate_retries retries = { .nr = 1 };
	int nr_failed = 0;
	unsigned int pass;

	for (pass = 0; pass < passes && retries.nr; pass++) {
		struct page *page, *next;

		memset(&retries, 0, sizeof(retries));
		list_for_each_entry_safe(page, next, from, lru) {
			unsigned int nr = (unsigned int)compound_nr(page);
			int error;

			cond_resched();
			error = unmap_and_move(m, page, pass > m->recipe->force_after);
			if (!migration_account(m, page, error, nr, &retries, &nr_failed)) {
				migration_give_up(m, &retries, &nr_failed);
				return -ENOMEM;
			}
		}
	}
	migration_give_up(m, &retries, &nr_failed);
	return nr_failed;
}

/*
 * The list; then, in one pass, the pieces of the huge pages that were split. Such a page has failed as a whole, so a piece
 * that stays is no further failure.
 */
static int migrate_one_by_one(struct migration *m, struct list_head *from)
{
	int nr_failed = migrate_list(m, from, m->recipe->passes);
	LIST_HEAD(pieces);

	if (nr_failed < 0 || list_empty(&m->split))
		return nr_failed;
	list_splice_init(&m->split, &pieces);
	if (migrate_list(m, &pieces, 1) < 0)
		nr_failed = -ENOMEM;
	list_splice_tail(&pieces, m->failed);
	return nr_failed;
}

/* ---- the call */

static void publish(const struct migration *m)
{
	const struct migrate_stats *stats = &m->stats;
	u64 *failed = this_machine()->engines->failed;
	unsigned int sum = 0;
	int why;

	for (why = 0; why < PS_NR_MIGRATE_FAILURES; why++) {
		if (!stats->failed[why])
			continue;
		sum += stats->failed[why];
		ps_stat_add(&failed[why], stats->failed[why]);
	}
	count_vm_events(PGMIGRATE_SUCCESS, stats->nr_succeeded);
	count_vm_events(PGMIGRATE_FAIL, sum);
	count_vm_events(THP_MIGRATION_SUCCESS, stats->nr_thp_succeeded);
	count_vm_events(THP_MIGRATION_FAIL, stats->nr_thp_failed);
	count_vm_events(THP_MIGRATION_SPLIT, stats->nr_thp_split);
	trace_mm_migrate_pages(stats->nr_succeeded, sum, stats->nr_thp_succeeded, stats->nr_thp_failed,
			       stats->nr_thp_split, 0, m->mode, m->reason);
}

int migrate_pages(struct list_head *from, new_page_t get_new_page, free_page_t put_new_page, void *arg,
		  enum migrate_mode mode, enum migrate_reason reason, unsigned int *ret_succeeded)
{
	LIST_HEAD(failed);
	struct migration m = { .get_new_page = get_new_page,
			       .put_new_page = put_new_page,
			       .arg = arg,
			       .mode = mode,
			       .reason = reason,
			       .recipe = this_machine()->engines->recipe,
			       .failed = &failed };
	enum ps_time_class before = ps_work_begin(PS_TIME_MIGRATE);
	int ret;

	trace_mm_migrate_pages_start(mode, reason);
	ps_charge(this_machine()->costs.migrate_call_ns, PS_TIME_MIGRATE);
	INIT_LIST_HEAD(&m.split);

	ret = m.recipe->batch ? migrate_in_batches(&m, from) : migrate_one_by_one(&m, from);

	/* Back to the caller, who puts them where they were: pieces that were not tried any more, and what was given up. */
	list_splice(&m.split, from);
	list_splice(&failed, from);
	/* Everything moved in the end, if in pieces. */
	if (list_empty(from))
		ret = 0;
	publish(&m);
	if (ret_succeeded)
		*ret_succeeded = m.stats.nr_succeeded;
	ps_work_end(before);
	return ret;
}

/* ---- a hint fault's page */

static struct page *alloc_misplaced_dst_page(struct page *page, void *arg)
{
	nid_t nid = *(nid_t *)arg;
	gfp_t gfp = __GFP_THISNODE;
	unsigned int order = compound_order(page);
	struct page *target;

	if (order)
		gfp |= GFP_TRANSHUGE_LIGHT;
	else
		gfp |= (GFP_HIGHUSER_MOVABLE | __GFP_NOMEMALLOC | __GFP_NORETRY | __GFP_NOWARN) & ~(gfp_t)__GFP_RECLAIM;
	target = __alloc_pages(gfp, order, nid, NULL);
	if (target && order)
		prep_transhuge_page(target);
	return target;
}

static bool misplaced_page_may_move(struct page *page, const struct vm_area_struct *vma)
{
	if (!page_is_file_lru(page))
		return true;
	/* The text of a shared library is nobody's in particular: every process that runs it wants it near. */
	if (page_mapcount(page) != 1 && (vma->vm_flags & VM_EXEC))
		return false;
	/* Moving must not wait here, and not every file's dirty pages can be moved without. */
	return !PageDirty(page);
}

bool migrate_misplaced_page(struct page *page, struct vm_area_struct *vma, nid_t nid)
{
	unsigned int moved = 0;
	nid_t from = page_to_nid(page);
	LIST_HEAD(list);
	int left;

	if (!misplaced_page_may_move(page, vma) || isolate_page_for_migration(page, &list)) {
		put_page(page);
		return false;
	}
	put_page(page); /* isolation has its own */
	left = migrate_pages(&list, alloc_misplaced_dst_page, NULL, &nid, MIGRATE_ASYNC, MR_NUMA_MISPLACED, &moved);
	if (left)
		putback_movable_pages(&list);
	if (moved) {
		count_vm_events(NUMA_PAGE_MIGRATE, moved);
		if (!node_is_toptier(from) && node_is_toptier(nid))
			__mod_node_page_state(nid, PGPROMOTE_SUCCESS, moved);
	}
	return left == 0;
}

/* SPDX-License-Identifier: MIT */
/*
 * The migrate engine. One page's way:
 *
 *    1. nobody but us has it any more: done, it is freed
 *    2. allocate the destination
 *    3. quiesce_lock: lock the source, mind writeback, hold its anon_vma; lock the destination (nobody else knows it)
 *    4. quiesce_unmap: migration entries everywhere
 *    5. move_to_new_page: freeze the references, put the destination in the file's slot, unfreeze; flags; contents
 *    6. the destination goes to its LRU; then the entries become mappings of it (or of the source, if 5 failed)
 *    7. unlock, drop the hold; the source's last reference frees it
 *
 * A page that fails is left as it was before 2. -EAGAIN means that another pass may do better; every other error is final.
 *
 * Generation `6.1` takes each page through all steps before the next. Generation `6.3-batch` takes a batch through 2 to 4,
 * flushes the TLBs once, and takes it through 5 to 7; because it then holds many page locks at once, it never waits for one.
 */
#include <pagesim/migrate.h>

#include <string.h>

#include <pagesim/address_space.h>
#include <pagesim/alloc.h>
#include <pagesim/buffer_head.h>
#include <pagesim/bug.h>
#include <pagesim/compound.h>
#include <pagesim/contents.h>
#include <pagesim/fault.h>
#include <pagesim/gfp.h>
#include <pagesim/inode.h>
#include <pagesim/lru.h>
#include <pagesim/machine.h>
#include <pagesim/mem.h>
#include <pagesim/page_alloc.h>
#include <pagesim/page_flags.h>
#include <pagesim/page_lock.h>
#include <pagesim/page_mapcount.h>
#include <pagesim/page_ref.h>
#include <pagesim/pagemap.h>
#include <pagesim/runtime.h>
#include <pagesim/split.h>
#include <pagesim/tracepoint.h>
#include <pagesim/vmstat.h>
#include <pagesim/writeback.h>

#include "engines/quiesce.h"

/* ---- generations: a new one is a line here */

static const struct migrate_recipe generations[] = {
	{ .name = "6.1",
	  .what = "page by page, ten passes, one TLB flush per mapping",
	  .passes = 10,
	  .force_after = 2 },
	{ .name = "6.3-batch",
	  .what = "batches of 512 pages with one TLB flush; asynchronous first, stragglers one by one",
	  .passes = 10,
	  .force_after = 0,
	  .batch = true,
	  .batch_pages = 512,
	  .async_passes = 3,
	  .sync_passes = 7 },
};

const struct migrate_recipe *ps_generation_find(const char *name)
{
	unsigned int i;

	if (!name)
		return &generations[0];
	for (i = 0; i < ARRAY_SIZE(generations); i++)
		if (!strcmp(generations[i].name, name))
			return &generations[i];
	return NULL;
}

const struct migrate_recipe *ps_generation_at(unsigned int i)
{
	return i < ARRAY_SIZE(generations) ? &generations[i] : NULL;
}

static const char *const failure_names[PS_NR_MIGRATE_FAILURES] = {
	[PS_FAIL_NO_MEMORY] = "no memory on target",
	[PS_FAIL_LOCKED] = "page locked",
	[PS_FAIL_WRITEBACK] = "under writeback",
	[PS_FAIL_MAPPED] = "not unmapped (pinned)",
	[PS_FAIL_REFERENCES] = "extra references",
	[PS_FAIL_BUFFERS] = "buffers busy",
	[PS_FAIL_OTHER] = "other",
};

const char *ps_migrate_failure_name(enum ps_migrate_failure failure)
{
	return (unsigned int)failure < PS_NR_MIGRATE_FAILURES ? failure_names[failure] : "?";
}

static int hook_split_page(struct page *page)
{
	return split_huge_page(page);
}

int ps_engines_init(struct ps_machine *machine)
{
	machine->engines = ps_zalloc(sizeof(*machine->engines));
	if (!machine->engines)
		return -ENOMEM;
	machine->engines->recipe = ps_generation_find(NULL);
	if (machine->files)
		machine->files->hooks.split_page = hook_split_page;
	register_deferred_split_shrinker(&machine->engines->deferred_split_shrinker);
	return 0;
}

void ps_engines_destroy(struct ps_machine *machine)
{
	if (machine->engines)
		unregister_shrinker(&machine->engines->deferred_split_shrinker);
	ps_free(machine->engines);
	machine->engines = NULL;
}

/* ---- isolate and put back */

static enum node_stat_item isolated_item(struct page *page)
{
	return page_is_file_lru(page) ? NR_ISOLATED_FILE : NR_ISOLATED_ANON;
}

int isolate_page_for_migration(struct page *page, struct list_head *list)
{
	int error = isolate_lru_page(page);

	ps_charge(this_machine()->costs.lru_ns, PS_TIME_MIGRATE);
	if (error)
		return error;
	list_add_tail(&page->lru, list);
	__mod_node_page_state(page_to_nid(page), isolated_item(page), thp_nr_pages(page));
	return 0;
}

void putback_movable_pages(struct list_head *list)
{
	struct page *page, *next;

	list_for_each_entry_safe(page, next, list, lru) {
		list_del(&page->lru);
		__mod_node_page_state(page_to_nid(page), isolated_item(page), -thp_nr_pages(page));
		putback_lru_page(page);
	}
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

/* ---- step 5: the identity and the contents */

int migrate_page_move_mapping(struct address_space *mapping, struct page *newpage, struct page *page, int extra_count)
{
	int expected = quiesce_expected_refs(mapping, page) + extra_count;
	int nr = (int)compound_nr(page);
	nid_t from = page_to_nid(page), to = page_to_nid(newpage);
	bool dirty;

	if (!mapping) {
		/* Anonymous: nobody can find it but through its mappings, which are gone, or by its frame number. */
		if (page_count(page) != expected)
			return -EAGAIN;
		newpage->index = page->index;
		newpage->mapping = page->mapping;
		if (PageSwapBacked(page))
			__SetPageSwapBacked(newpage);
		return 0;
	}

	XA_STATE(xas, &mapping->i_pages, page_to_pgoff(page));

	xas_lock(&xas);
	xas_load(&xas);
	if (!page_ref_freeze(page, expected)) {
		xas_unlock(&xas);
		return -EAGAIN;
	}
	/* From here nobody can get at the page: no turning back. */
	newpage->index = page->index;
	newpage->mapping = page->mapping;
	page_ref_add(newpage, nr);
	if (PageSwapBacked(page))
		__SetPageSwapBacked(newpage);
	/* Dirty moves while the references are frozen and the new page cannot be found, so that tags and flag agree. */
	dirty = PageDirty(page);
	if (dirty) {
		ClearPageDirty(page);
		SetPageDirty(newpage);
	}
	xas_store(&xas, newpage);
	page_ref_unfreeze(page, expected - nr);
	xas_unlock(&xas);

	/* Another zone, of the same node or not: the sums per node are the same either way, those per zone are not. */
	if (page_zone(page) != page_zone(newpage)) {
		__mod_node_page_state(from, NR_FILE_PAGES, -nr);
		__mod_node_page_state(to, NR_FILE_PAGES, nr);
		if (PageSwapBacked(page)) {
			__mod_node_page_state(from, NR_SHMEM, -nr);
			__mod_node_page_state(to, NR_SHMEM, nr);
			if (PageTransHuge(page)) {
				__mod_node_page_state(from, NR_SHMEM_THPS, -nr);
				__mod_node_page_state(to, NR_SHMEM_THPS, nr);
			}
		}
		if (dirty && mapping_can_writeback(mapping)) {
			__mod_node_page_state(from, NR_FILE_DIRTY, -nr);
			__mod_node_page_state(to, NR_FILE_DIRTY, nr);
			__mod_zone_page_state(page_zone(page), NR_ZONE_WRITE_PENDING, -nr);
			__mod_zone_page_state(page_zone(newpage), NR_ZONE_WRITE_PENDING, nr);
		}
	}
	return 0;
}

/* As 6.1's folio functions, which do not ask what size of page has the flag: a huge page of tmpfs may be PG_reclaim. */
static void copy_flag(struct page *newpage, struct page *page, unsigned int flag)
{
	if (test_bit(flag, &page->flags))
		set_bit(flag, &newpage->flags);
}

void migrate_page_states(struct page *newpage, struct page *page)
{
	struct ps_faults *faults = this_machine()->faults;
	int cpupid;

	if (PageError(page))
		SetPageError(newpage);
	if (PageReferenced(page))
		SetPageReferenced(newpage);
	if (PageUptodate(page))
		SetPageUptodate(newpage);
	if (TestClearPageActive(page))
		SetPageActive(newpage);
	else if (TestClearPageUnevictable(page))
		SetPageUnevictable(newpage);
	if (PageWorkingset(page))
		SetPageWorkingset(newpage);
	if (!PageAnon(page))
		copy_flag(newpage, page, PG_checked);
	/* For anonymous pages the bit means AnonExclusive, which mapping them again sets. */
	if (!PageAnon(page) && PageMappedToDisk(page))
		SetPageMappedToDisk(newpage);
	/* What migrate_page_move_mapping did not move: anonymous pages. */
	if (PageDirty(page))
		SetPageDirty(newpage);
	/*
	 * The last accessor moves along, but between tiers the field means two different things: there it starts anew.
	 */
	cpupid = page_cpupid_xchg_last(page, -1);
	if (faults && (faults->numa_balancing & NUMA_BALANCING_MEMORY_TIERING) &&
	    node_is_toptier(page_to_nid(page)) != node_is_toptier(page_to_nid(newpage)))
		cpupid = -1;
	page_cpupid_xchg_last(newpage, cpupid);
	/* The source's last reference finds PG_writeback clear; readahead marks move. */
	if (!PageAnon(page))
		copy_flag(newpage, page, PG_readahead);
}

static void charge_copy(struct page *newpage, struct page *page)
{
	struct ps_machine *machine = this_machine();
	u64 bytes = (u64)compound_nr(page) << PAGE_SHIFT;
	nid_t from = page_to_nid(page), to = page_to_nid(newpage);

	if (!PageTransHuge(page))
		ps_charge(machine->costs.copy_page_ns, PS_TIME_COPY);
	ps_charge(ps_copy_ns(machine, numa_node_id(), from, to, bytes), PS_TIME_COPY);
	ps_node_read(machine, from, bytes);
	ps_node_written(machine, to, bytes);
	__atomic_fetch_add(&machine->engines->moved_bytes, bytes, __ATOMIC_RELAXED);
}

void migrate_page_copy(struct page *newpage, struct page *page)
{
	if (PageTransHuge(page))
		copy_huge_page(newpage, page, compound_nr(page));
	else
		copy_highpage(newpage, page);
	charge_copy(newpage, page);
	migrate_page_states(newpage, page);
}

int migrate_page(struct address_space *mapping, struct page *newpage, struct page *page, enum migrate_mode mode)
{
	int error = migrate_page_move_mapping(mapping, newpage, page, 0);

	if (error)
		return error;
	if (mode != MIGRATE_SYNC_NO_COPY)
		migrate_page_copy(newpage, page);
	else
		migrate_page_states(newpage, page);
	return 0;
}

int buffer_migrate_page(struct address_space *mapping, struct page *newpage, struct page *page, enum migrate_mode mode)
{
	struct buffer_head *head;
	int error;

	if (!page_has_buffers(page))
		return migrate_page(mapping, newpage, page, mode);
	if (page_count(page) != quiesce_expected_refs(mapping, page))
		return -EAGAIN;
	/* Locked buffers are under I/O into this very frame: it must not change its meaning. */
	head = page_buffers(page);
	if (!buffer_migrate_lock_buffers(head, mode))
		return -EAGAIN;
	error = migrate_page_move_mapping(mapping, newpage, page, 0);
	if (!error) {
		buffer_migrate_move(newpage, page);
		if (mode != MIGRATE_SYNC_NO_COPY)
			migrate_page_copy(newpage, page);
		else
			migrate_page_states(newpage, page);
	}
	buffer_migrate_unlock_buffers(head);
	return error;
}

/* A file system that cannot migrate: write the page out and release what it keeps, then it is a plain page. */
static int fallback_migrate_page(struct address_space *mapping, struct page *newpage, struct page *page,
				 enum migrate_mode mode)
{
	if (PageDirty(page)) {
		struct writeback_control wbc = { .nr_to_write = 1, .for_reclaim = true };

		if (mode != MIGRATE_SYNC && mode != MIGRATE_SYNC_NO_COPY)
			return -EBUSY;
		if (!mapping->a_ops->writepage)
			return -EINVAL;
		if (!clear_page_dirty_for_io(page))
			return -EAGAIN;
		if (mapping->a_ops->writepage(page, &wbc) < 0) {
			lock_page(page);
			return -EIO;
		}
		/* Writing unlocked it. It may be anything by now: another pass looks. */
		lock_page(page);
		return -EAGAIN;
	}
	if (page_has_private(page) && !try_to_release_page(page, GFP_KERNEL))
		return mode == MIGRATE_SYNC ? -EAGAIN : -EBUSY;
	return migrate_page(mapping, newpage, page, mode);
}

static int buffer_migrate_page_norefs(struct address_space *mapping, struct page *newpage, struct page *page,
				      enum migrate_mode mode)
{
	bool busy = false;

	if (page_has_buffers(page)) {
		spin_lock(&mapping->private_lock);
		busy = buffer_migrate_busy(page_buffers(page));
		spin_unlock(&mapping->private_lock);
	}
	return busy ? -EAGAIN : buffer_migrate_page(mapping, newpage, page, mode);
}

static int move_to_new_page(struct page *newpage, struct page *page, enum migrate_mode mode)
{
	struct address_space *mapping = page_mapping(page);
	int error;

	if (!mapping) {
		error = migrate_page(NULL, newpage, page, mode);
	} else {
		switch (mapping->a_ops->migrate_kind) {
		case MIGRATE_KIND_PLAIN:
			error = migrate_page(mapping, newpage, page, mode);
			break;
		case MIGRATE_KIND_BUFFERS:
			error = buffer_migrate_page(mapping, newpage, page, mode);
			break;
		case MIGRATE_KIND_BUFFERS_NOREFS:
			error = buffer_migrate_page_norefs(mapping, newpage, page, mode);
			break;
		case MIGRATE_KIND_CUSTOM:
			error = mapping->a_ops->migrate_page(mapping, newpage, page, mode);
			break;
		default:
			error = fallback_migrate_page(mapping, newpage, page, mode);
			break;
		}
	}
	/* Anonymous pages keep the word until they are freed: their type is read from it. */
	if (!error && !PageAnon(page))
		page->mapping = NULL;
	return error;
}

/* ---- one call's work */

struct migration {
	new_page_t get_new_page;
	free_page_t put_new_page;
	void *arg;
	enum migrate_mode mode;
	enum migrate_reason reason;
	struct list_head failed; /* given up: back to the caller's list at the end */
	struct list_head split;  /* small pages of huge ones that could not move whole */
	unsigned int nr_succeeded, nr_failed_pages;
	unsigned int nr_thp_succeeded, nr_thp_failed, nr_thp_split;
	int nr_failed;
	bool no_subpage_counting;    /* the second round: pieces of huge pages, counted already */
	enum ps_migrate_failure why; /* of the last page that failed */
};

/* One page between the two phases of a batch. */
struct pair {
	struct quiesce q;
	struct page *newpage;
};

static void discard_target(struct migration *m, struct page *newpage)
{
	if (m->put_new_page)
		m->put_new_page(newpage, m->arg);
	else
		put_page(newpage);
}

/* Steps 3 and 4. Return: 0 with both locked; -EAGAIN, -EBUSY with everything as before. */
static int migrate_page_unmap(struct migration *m, struct pair *pair, struct page *page, bool force,
			      struct tlb_batch *batch)
{
	int error = quiesce_lock(&pair->q, page, m->mode, force);

	if (error) {
		m->why = error == -EBUSY ? PS_FAIL_WRITEBACK : PS_FAIL_LOCKED;
		return error;
	}
	if (unlikely(!trylock_page(pair->newpage))) {
		m->why = PS_FAIL_LOCKED;
		quiesce_unlock(&pair->q);
		return -EAGAIN;
	}
	if (unlikely(!page->mapping)) {
		/* Truncated, but the file system still keeps something on it. */
		if (page_has_private(page)) {
			try_to_free_buffers(page);
			m->why = PS_FAIL_BUFFERS;
			unlock_page(pair->newpage);
			quiesce_unlock(&pair->q);
			return -EAGAIN;
		}
	} else {
		quiesce_unmap(&pair->q, batch);
	}
	return 0;
}

/* Steps 5 to 7. Return: as move_to_new_page; both pages are unlocked, the entries restored. */
static int migrate_page_move(struct migration *m, struct pair *pair)
{
	struct page *page = pair->q.page, *newpage = pair->newpage;
	bool was_mapped = pair->q.was_mapped;
	int error = -EAGAIN;

	m->why = PS_FAIL_MAPPED;
	if (!page_mapped(page)) {
		m->why = PS_FAIL_REFERENCES;
		error = move_to_new_page(newpage, page, m->mode);
	}
	if (!error) {
		/* On its list before it is mapped: an mlocked mapping then finds it there and moves it on. */
		lru_cache_add(newpage);
		if (was_mapped)
			lru_add_drain();
	}
	quiesce_restore(&pair->q, error ? page : newpage);
	unlock_page(newpage);
	quiesce_unlock(&pair->q);
	if (!error)
		put_page(newpage);
	return error;
}

/* The page is done with, one way or the other, unless it stays on the list for another pass. */
static void migrate_page_done(struct migration *m, struct page *page, int error)
{
	if (error != -EAGAIN)
		list_del(&page->lru);
	if (error == 0) {
		__mod_node_page_state(page_to_nid(page), isolated_item(page), -thp_nr_pages(page));
		put_page(page);
	} else if (error != -EAGAIN) {
		list_add_tail(&page->lru, &m->failed);
	}
}

static struct page *get_target(struct migration *m, struct page *page)
{
	struct ps_costs *costs = &this_machine()->costs;
	struct page *newpage;

	ps_charge(PageTransHuge(page) ? costs->alloc_huge_ns + costs->migrate_huge_ns
				      : costs->alloc_page_ns + costs->migrate_page_ns,
		  PS_TIME_MIGRATE);
	newpage = m->get_new_page(page, m->arg);
	if (!newpage)
		m->why = PS_FAIL_NO_MEMORY;
	return newpage;
}

/* All steps for one page. Return: 0 moved (or freed under us), -ENOMEM, -EAGAIN, or final failure. */
static int unmap_and_move(struct migration *m, struct page *page, bool force)
{
	struct pair pair = { .newpage = NULL };
	int error;

	if (page_count(page) == 1) {
		ClearPageActive(page);
		ClearPageUnevictable(page);
		migrate_page_done(m, page, 0);
		return 0;
	}
	pair.newpage = get_target(m, page);
	if (!pair.newpage)
		return -ENOMEM;
	error = migrate_page_unmap(m, &pair, page, force, NULL);
	if (!error)
		error = migrate_page_move(m, &pair);
	migrate_page_done(m, page, error);
	if (error)
		discard_target(m, pair.newpage);
	return error;
}

/*
 * Return: true if the huge page was split; its pieces wait in m->split.
 * Within a batch other pages are locked already, so this one must not be waited for: the holder of its lock may wait for one
 * of theirs. (6.3 did wait; 6.11 repaired it.)
 */
static bool try_split(struct migration *m, struct page *page)
{
	bool in_batch = m->mode == MIGRATE_ASYNC && this_machine()->engines->recipe->batch;
	int error;

	if (!in_batch)
		lock_page(page);
	else if (!trylock_page(page))
		return false;
	error = split_huge_page_to_list(page, &m->split);
	unlock_page(page);
	if (!error)
		list_move_tail(&page->lru, &m->split);
	return !error;
}

static void count_failure(struct migration *m, unsigned int nr)
{
	m->nr_failed_pages += nr;
	this_machine()->engines->failed[m->why] += nr;
}

/* What the outcome of one page means for the call. Return: -ENOMEM to stop, -EAGAIN to try it again, else 0. */
static int account(struct migration *m, struct page *page, int error, bool is_thp, unsigned int nr)
{
	switch (error) {
	case 0:
		m->nr_succeeded += nr;
		m->nr_thp_succeeded += is_thp;
		return 0;
	case -EAGAIN:
		return -EAGAIN;
	case -ENOMEM:
		if (is_thp) {
			m->nr_thp_failed++;
			/* A hint fault would rather leave the page than break it. */
			if (m->reason != MR_NUMA_MISPLACED && try_split(m, page)) {
				m->nr_thp_split++;
				return 0;
			}
		} else if (!m->no_subpage_counting) {
			m->nr_failed++;
		}
		count_failure(m, nr);
		return -ENOMEM;
	default:
		if (is_thp)
			m->nr_thp_failed++;
		else if (!m->no_subpage_counting)
			m->nr_failed++;
		count_failure(m, nr);
		return 0;
	}
}

/* Goes over the list again and again. Return: 0, or -ENOMEM. */
static int migrate_one_by_one(struct migration *m, struct list_head *from, unsigned int passes,
			      unsigned int force_after)
{
	unsigned int retry = 1, thp_retry = 1, retry_pages = 0, pass;

	for (pass = 0; pass < passes && (retry || thp_retry); pass++) {
		struct page *page, *next;

		retry = thp_retry = retry_pages = 0;
		list_for_each_entry_safe(page, next, from, lru) {
			bool is_thp = PageTransHuge(page);
			unsigned int nr = (unsigned int)compound_nr(page);
			int error;

			cond_resched();
			error = unmap_and_move(m, page, pass > force_after);
			error = account(m, page, error, is_thp, nr);
			if (error == -ENOMEM) {
				m->nr_thp_failed += thp_retry;
				m->nr_failed_pages += retry_pages;
				list_splice_init(&m->split, from);
				return -ENOMEM;
			}
			if (error == -EAGAIN) {
				if (is_thp)
					thp_retry++;
				else if (!m->no_subpage_counting)
					retry++;
				retry_pages += nr;
			}
		}
	}
	m->nr_failed += (int)retry;
	m->nr_thp_failed += thp_retry;
	if (retry_pages)
		count_failure(m, retry_pages);
	return 0;
}

/* ---- batches (generation 6.3-batch) */

struct batch {
	struct pair *pairs;
	unsigned int nr, room;
	struct tlb_batch tlb;
};

/* Undoes the pairs that could not be moved in any pass: mapped as before, targets given back. */
static void batch_undo(struct migration *m, struct batch *batch)
{
	unsigned int i;

	for (i = 0; i < batch->nr; i++) {
		struct pair *pair = &batch->pairs[i];

		quiesce_restore(&pair->q, pair->q.page);
		unlock_page(pair->newpage);
		quiesce_unlock(&pair->q);
		discard_target(m, pair->newpage);
	}
	batch->nr = 0;
}

/*
 * One batch: unmap every page of the list, flush once, move every page.
 * In a mode that waits, a batch is one page: waiting for a lock with others held is how 6.3 deadlocked at first.
 * Return: 0, -ENOMEM. Pages that said -EAGAIN to the last pass stay on the list and are counted in *ret_retry and
 * *ret_retry_pages.
 */
static int migrate_batch(struct migration *m, struct list_head *from, struct batch *batch, unsigned int passes,
			 unsigned int *ret_retry, unsigned int *ret_retry_pages)
{
	unsigned int retry = 1, retry_pages = 0, pass;
	struct page *page, *next;
	int ret = 0;

	for (pass = 0; pass < passes && retry && ret != -ENOMEM; pass++) {
		bool force = pass > 2 || m->mode != MIGRATE_ASYNC;

		retry = retry_pages = 0;
		list_for_each_entry_safe(page, next, from, lru) {
			bool is_thp = PageTransHuge(page);
			unsigned int nr = (unsigned int)compound_nr(page), i;
			struct pair *pair = &batch->pairs[batch->nr];
			int error;

			cond_resched();
			for (i = 0; i < batch->nr; i++)
				if (batch->pairs[i].q.page == page)
					break;
			if (i < batch->nr)
				continue; /* unmapped in an earlier pass */
			if (page_count(page) == 1) {
				ClearPageActive(page);
				ClearPageUnevictable(page);
				migrate_page_done(m, page, 0);
				account(m, page, 0, is_thp, nr);
				continue;
			}
			pair->newpage = get_target(m, page);
			error = pair->newpage ? migrate_page_unmap(m, pair, page, force, &batch->tlb) : -ENOMEM;
			if (!error && page_mapped(page)) {
				/* Pinned, or a mapping raced in: take it down again later. */
				m->why = PS_FAIL_MAPPED;
				quiesce_restore(&pair->q, page);
				unlock_page(pair->newpage);
				quiesce_unlock(&pair->q);
				error = -EAGAIN;
			}
			if (!error) {
				batch->nr++;
				continue;
			}
			if (pair->newpage)
				discard_target(m, pair->newpage);
			if (error != -EAGAIN && error != -ENOMEM)
				migrate_page_done(m, page, error);
			error = account(m, page, error, is_thp, nr);
			if (error == -EAGAIN) {
				retry++;
				retry_pages += nr;
			} else if (error == -ENOMEM) {
				/* No more; but what is unmapped already can still be moved. */
				ret = -ENOMEM;
				break;
			}
		}
	}
	*ret_retry = retry;
	*ret_retry_pages = retry_pages;

	tlb_batch_flush(&batch->tlb);

	/* The move passes: -EAGAIN keeps a pair locked and unmapped for the next. */
	for (pass = 0; pass < passes && batch->nr; pass++) {
		unsigned int kept = 0, i;

		for (i = 0; i < batch->nr; i++) {
			struct pair pair = batch->pairs[i];
			bool is_thp = PageTransHuge(pair.q.page);
			unsigned int nr = (unsigned int)compound_nr(pair.q.page);
			int error;

			m->why = PS_FAIL_REFERENCES;
			error = move_to_new_page(pair.newpage, pair.q.page, m->mode);
			if (error == -EAGAIN && pass + 1 < passes) {
				batch->pairs[kept++] = pair;
				continue;
			}
			page = pair.q.page;
			if (!error) {
				lru_cache_add(pair.newpage);
				if (pair.q.was_mapped)
					lru_add_drain();
			}
			quiesce_restore(&pair.q, error ? page : pair.newpage);
			unlock_page(pair.newpage);
			quiesce_unlock(&pair.q);
			if (error)
				discard_target(m, pair.newpage);
			else
				put_page(pair.newpage);
			migrate_page_done(m, page, error);
			if (account(m, page, error, is_thp, nr) == -EAGAIN) {
				(*ret_retry)++;
				*ret_retry_pages += nr;
			}
		}
		batch->nr = kept;
	}
	batch_undo(m, batch);
	return ret;
}

static int migrate_in_batches(struct migration *m, struct list_head *from, const struct migrate_recipe *recipe)
{
	struct batch batch = { .room = recipe->batch_pages };
	enum migrate_mode mode = m->mode;
	LIST_HEAD(done);
	int ret = 0;

	batch.pairs = ps_alloc(batch.room * sizeof(*batch.pairs));
	if (!batch.pairs)
		return migrate_one_by_one(m, from, recipe->passes, recipe->force_after);
	while (!list_empty(from) && ret != -ENOMEM) {
		unsigned int nr = 0, retry, retry_pages;
		struct page *page;
		LIST_HEAD(cut);

		list_for_each_entry(page, from, lru) {
			if (nr && nr + compound_nr(page) > recipe->batch_pages)
				break;
			nr += (unsigned int)compound_nr(page);
		}
		list_cut_before(&cut, from, &page->lru);
		m->mode = MIGRATE_ASYNC;
		ret = migrate_batch(m, &cut, &batch, mode == MIGRATE_ASYNC ? recipe->passes : recipe->async_passes,
				    &retry, &retry_pages);
		m->mode = mode;
		if (ret != -ENOMEM && retry && mode != MIGRATE_ASYNC) {
			/* The stragglers, one at a time, waiting for what they wait for. */
			ret = migrate_one_by_one(m, &cut, recipe->sync_passes, 0);
		} else if (retry) {
			m->nr_failed += m->no_subpage_counting ? 0 : (int)retry;
			count_failure(m, retry_pages);
		}
		list_splice_tail_init(&cut, &done);
	}
	list_splice(&done, from);
	ps_free(batch.pairs);
	return ret;
}

static int migrate_list(struct migration *m, struct list_head *from)
{
	const struct migrate_recipe *recipe = this_machine()->engines->recipe;

	if (recipe->batch)
		return migrate_in_batches(m, from, recipe);
	return migrate_one_by_one(m, from, recipe->passes, recipe->force_after);
}

int migrate_pages(struct list_head *from, new_page_t get_new_page, free_page_t put_new_page, void *arg,
		  enum migrate_mode mode, enum migrate_reason reason, unsigned int *ret_succeeded)
{
	struct migration m = { .get_new_page = get_new_page,
			       .put_new_page = put_new_page,
			       .arg = arg,
			       .mode = mode,
			       .reason = reason,
			       .why = PS_FAIL_OTHER };
	int ret;

	trace_mm_migrate_pages_start(mode, reason);
	ps_charge(this_machine()->costs.migrate_call_ns, PS_TIME_MIGRATE);
	INIT_LIST_HEAD(&m.failed);
	INIT_LIST_HEAD(&m.split);

	ret = migrate_list(&m, from);
	if (ret != -ENOMEM && !list_empty(&m.split)) {
		/* The pieces of split pages, as pages of their own. A piece that stays behind is no further failure. */
		list_splice_init(from, &m.failed);
		list_splice_init(&m.split, from);
		m.no_subpage_counting = true;
		ret = migrate_list(&m, from);
	}
	if (ret != -ENOMEM)
		ret = m.nr_failed + (int)m.nr_thp_failed;
	list_splice_init(&m.split, from);
	list_splice(&m.failed, from);
	/* Everything moved in the end, if in pieces. */
	if (list_empty(from))
		ret = 0;

	count_vm_events(PGMIGRATE_SUCCESS, m.nr_succeeded);
	count_vm_events(PGMIGRATE_FAIL, m.nr_failed_pages);
	count_vm_events(THP_MIGRATION_SUCCESS, m.nr_thp_succeeded);
	count_vm_events(THP_MIGRATION_FAIL, m.nr_thp_failed);
	count_vm_events(THP_MIGRATION_SPLIT, m.nr_thp_split);
	trace_mm_migrate_pages(m.nr_succeeded, m.nr_failed_pages, m.nr_thp_succeeded, m.nr_thp_failed, m.nr_thp_split,
			       0, mode, reason);
	if (ret_succeeded)
		*ret_succeeded = m.nr_succeeded;
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

static bool misplaced_page_may_move(struct page *page)
{
	/* A page of several mappings of a program's text or a shared page: nobody's in particular. */
	return !(page_mapcount(page) != 1 && page_is_file_lru(page));
}

bool migrate_misplaced_page(struct page *page, struct vm_area_struct *vma, nid_t nid)
{
	unsigned int moved = 0;
	nid_t from = page_to_nid(page);
	LIST_HEAD(list);
	int left;

	(void)vma;
	if (!misplaced_page_may_move(page) || (page_is_file_lru(page) && PageDirty(page)) ||
	    isolate_page_for_migration(page, &list)) {
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

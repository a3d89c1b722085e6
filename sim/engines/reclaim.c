/* SPDX-License-Identifier: MIT */
/*
 * How pages are taken. One round over a node (shrink_node) looks at a share of each list, 1/2^priority of it:
 *
 *    1. get_scan_count   how much of each list: none of the anonymous ones if they cannot be demoted; else by cost
 *    2. in portions of 32 pages:
 *         active list    taken off, their accessed bits cleared, put on the inactive list (shrink_active_list)
 *         inactive list  taken off, and each is tried (shrink_inactive_list):
 *           a. lock it; used since the last look? once: kept, marked; twice: to the active list
 *           b. it can be demoted: collected, and the whole collection migrated (demote_page_list)
 *           c. what could not be demoted is tried as if there were no lower tier (reclaim_page):
 *              anonymous: give it a slot of swap (prepare_swap); a huge page gets a cluster, or is split
 *              all: unmap; anonymous pages leave swap entries, lazily freed ones nothing
 *              dirty: write it; a file page only if that is kswapd's turn
 *              freeze the references at the cache's and ours, take it out of its cache: it is free
 *    3. give up what is on no list: the shrinkers' part (shrink_slab)
 *
 * A page off its list belongs to who took it: PG_lru is clear, page->lru is his, one reference is his.
 *
 * Locking: lru_lock to take and to put back; the page lock (tried, never waited for) to decide; inside it what unmapping
 * and migrating take. Nothing is held between portions.
 *
 * Source: the behaviour of Linux 6.1's mm/vmscan.c.
 */
#include <pagesim/reclaim.h>

#include <string.h>

#include <pagesim/address_space.h>
#include <pagesim/bug.h>
#include <pagesim/buffer_head.h>
#include <pagesim/compound.h>
#include <pagesim/fault.h>
#include <pagesim/lru.h>
#include <pagesim/machine.h>
#include <pagesim/migrate.h>
#include <pagesim/page_alloc.h>
#include <pagesim/page_flags.h>
#include <pagesim/page_lock.h>
#include <pagesim/page_mapcount.h>
#include <pagesim/page_ref.h>
#include <pagesim/pagemap.h>
#include <pagesim/rmap.h>
#include <pagesim/runtime.h>
#include <pagesim/shrinker.h>
#include <pagesim/split.h>
#include <pagesim/swap_cache.h>
#include <pagesim/vmstat.h>
#include <pagesim/writeback.h>

#include "engines/vmscan.h"

static void charge_reclaim(ps_ns_t ns)
{
	ps_charge(ns, PS_TIME_RECLAIM);
}

/* ---- may this node's anonymous pages be reclaimed? */

bool can_reclaim_anon_pages(nid_t nid)
{
	return get_nr_swap_pages() > 0 || can_demote(nid);
}

/* Is it worth knowing which of them are used? */
static bool can_age_anon_pages(nid_t nid)
{
	return total_swap_pages() > 0 || can_demote(nid);
}

bool can_demote(nid_t nid)
{
	struct ps_machine *machine = this_machine();

	return machine->reclaim->demotion_enabled && !nodes_empty(machine->nodes[nid].demotion_preferred);
}

static bool inactive_is_low(nid_t nid, enum lru_list inactive_lru)
{
	unsigned long inactive = node_page_state(nid, (enum node_stat_item)((int)NR_LRU_BASE + (int)inactive_lru));
	unsigned long active =
		node_page_state(nid, (enum node_stat_item)((int)NR_LRU_BASE + (int)inactive_lru + LRU_ACTIVE));
	unsigned long gb = (inactive + active) >> (30 - PAGE_SHIFT), ratio = 1;

	/* The more memory, the smaller a share of it is enough to see which pages are used: sqrt(10 per GiB). */
	if (gb)
		while ((ratio + 1) * (ratio + 1) <= 10 * gb)
			ratio++;
	return inactive * ratio < active;
}

/* ---- taking pages off a list and putting them back */

/* Takes pages from the tail until nr_to_scan base pages were looked at. Context: lru_lock. Return: base pages taken. */
static unsigned long isolate_lru_pages(unsigned long nr_to_scan, struct lruvec *lruvec, struct list_head *dst,
				       unsigned long *ret_scanned, const struct scan_control *sc, enum lru_list lru)
{
	struct list_head *src = &lruvec->lists[lru];
	unsigned long scanned = 0, total = 0, taken = 0;
	unsigned long zone_taken[MAX_NR_ZONES] = { 0 }, zone_skipped[MAX_NR_ZONES] = { 0 };
	LIST_HEAD(skipped);
	int zid;

	while (scanned < nr_to_scan && !list_empty(src)) {
		struct page *page = list_last_entry(src, struct page, lru);
		unsigned long nr = (unsigned long)thp_nr_pages(page);
		struct list_head *to = src;

		zid = page_zonenum(page);
		total += nr;
		if (zid > sc->reclaim_idx) {
			/* Of no use, and not looked at: else a list full of such pages would look hopeless. */
			zone_skipped[zid] += nr;
			list_move(&page->lru, &skipped);
			continue;
		}
		scanned += nr;
		/* The reference comes before the flag: who frees the page relies on finding the flag. */
		if (PageLRU(page) && get_page_unless_zero(page)) {
			if (TestClearPageLRU(page)) {
				taken += nr;
				zone_taken[zid] += nr;
				to = dst;
			} else {
				put_page(page); /* another isolator's, who waits for lru_lock */
			}
		}
		list_move(&page->lru, to);
	}
	if (!list_empty(&skipped)) {
		list_splice(&skipped, src);
		for (zid = 0; zid < MAX_NR_ZONES; zid++)
			if (zone_skipped[zid])
				__count_zid_vm_events(PGSCAN_SKIP, zid, (long)zone_skipped[zid]);
	}
	for (zid = 0; zid < MAX_NR_ZONES; zid++)
		if (zone_taken[zid])
			update_lru_size(lruvec, lru, zid, -(long)zone_taken[zid]);
	charge_reclaim((ps_ns_t)this_machine()->costs.lru_ns * (scanned + 1));
	*ret_scanned = total;
	return taken;
}

/*
 * Puts pages where their flags say and drops the taker's reference of each; the list ends empty, but for small pages whose
 * last reference that was, which the caller frees.
 * Context: lru_lock held (dropped now and then). Return: base pages put back.
 */
static unsigned long move_pages_to_lru(struct lruvec *lruvec, struct list_head *list)
{
	unsigned long moved = 0;
	LIST_HEAD(to_free);

	while (!list_empty(list)) {
		struct page *page = list_last_entry(list, struct page, lru);

		VM_BUG_ON_PAGE(PageLRU(page), page);
		list_del(&page->lru);
		if (unlikely(!page_evictable(page))) {
			spin_unlock(&lruvec->lru_lock);
			putback_lru_page(page);
			spin_lock(&lruvec->lru_lock);
			continue;
		}
		/* The flag comes before the reference goes: else who drops the last one would not look for the list. */
		SetPageLRU(page);
		if (unlikely(put_page_testzero(page))) {
			__clear_page_lru_flags(page);
			if (PageHead(page)) {
				spin_unlock(&lruvec->lru_lock);
				destroy_compound_page(page);
				spin_lock(&lruvec->lru_lock);
			} else {
				list_add(&page->lru, &to_free);
			}
			continue;
		}
		moved += (unsigned long)thp_nr_pages(page);
		add_page_to_lru_list(page, lruvec);
	}
	list_splice(&to_free, list);
	return moved;
}

/* ---- was it used? */

/*
 * Looks at, and clears, the accessed bits of a locked page. The anon_vma is held meanwhile: the page lock does not keep an
 * address space from going away.
 */
static int referenced_locked(struct page *page, u64 *ret_flags)
{
	struct anon_vma *anon_vma = NULL;
	int referenced = 0;

	*ret_flags = 0;
	if (PageAnon(page)) {
		anon_vma = page_get_anon_vma(page);
		if (!anon_vma)
			return 0;
	}
	referenced = page_referenced(page, ret_flags);
	if (anon_vma)
		put_anon_vma(anon_vma);
	return referenced;
}

enum page_references { PAGEREF_RECLAIM, PAGEREF_RECLAIM_CLEAN, PAGEREF_KEEP, PAGEREF_ACTIVATE };

/* What the uses of a page since the last look come to. */
static enum page_references page_check_references(struct page *page)
{
	u64 vm_flags;
	int ptes = referenced_locked(page, &vm_flags);
	bool marked = TestClearPageReferenced(page);

	/* Mlocked meanwhile: putting it back makes it unevictable. */
	if (vm_flags & VM_LOCKED)
		return PAGEREF_ACTIVATE;
	if (ptes) {
		/* Every page was used once, by the fault that brought it. The mark says that this has been seen. */
		SetPageReferenced(page);
		if (marked || ptes > 1)
			return PAGEREF_ACTIVATE;
		if ((vm_flags & VM_EXEC) && page_is_file_lru(page))
			return PAGEREF_ACTIVATE;
		return PAGEREF_KEEP;
	}
	if (marked && page_is_file_lru(page))
		return PAGEREF_RECLAIM_CLEAN;
	return PAGEREF_RECLAIM;
}

/* ---- active to inactive */

static void shrink_active_list(unsigned long nr_to_scan, struct lruvec *lruvec, struct scan_control *sc,
			       enum lru_list lru)
{
	nid_t nid = lruvec->pgdat->node_id;
	enum node_stat_item isolated = is_file_lru(lru) ? NR_ISOLATED_FILE : NR_ISOLATED_ANON;
	unsigned long taken, scanned;
	LIST_HEAD(hold);
	LIST_HEAD(active);
	LIST_HEAD(inactive);

	lru_add_drain();
	spin_lock(&lruvec->lru_lock);
	taken = isolate_lru_pages(nr_to_scan, lruvec, &hold, &scanned, sc, lru);
	__mod_node_page_state(nid, isolated, (long)taken);
	count_vm_events(PGREFILL, (long)scanned);
	spin_unlock(&lruvec->lru_lock);

	while (!list_empty(&hold)) {
		struct page *page = list_last_entry(&hold, struct page, lru);
		u64 vm_flags = 0;
		int referenced = 0;

		cond_resched();
		list_del(&page->lru);
		if (unlikely(!page_evictable(page))) {
			putback_lru_page(page);
			continue;
		}
		if (trylock_page(page)) {
			referenced = referenced_locked(page, &vm_flags);
			unlock_page(page);
		}
		/* Programs' text in use goes round once more; everything else must show its use on the inactive list. */
		if (referenced && (vm_flags & VM_EXEC) && page_is_file_lru(page)) {
			list_add(&page->lru, &active);
			continue;
		}
		ClearPageActive(page);
		SetPageWorkingset(page);
		list_add(&page->lru, &inactive);
	}

	spin_lock(&lruvec->lru_lock);
	move_pages_to_lru(lruvec, &active);
	count_vm_events(PGDEACTIVATE, (long)move_pages_to_lru(lruvec, &inactive));
	list_splice(&inactive, &active);
	__mod_node_page_state(nid, isolated, -(long)taken);
	spin_unlock(&lruvec->lru_lock);
	free_unref_page_list(&active);
}

void age_active_anon(struct pglist_data *pgdat, struct scan_control *sc)
{
	if (can_age_anon_pages(pgdat->node_id) && inactive_is_low(pgdat->node_id, LRU_INACTIVE_ANON))
		shrink_active_list(SWAP_CLUSTER_MAX, node_lruvec(pgdat), sc, LRU_ACTIVE_ANON);
}

/* ---- demotion */

struct demotion {
	struct migration_target_control mtc;
	nodemask_t allowed;
};

/*
 * The preferred node alone first, which wakes its kswapd if it is short, so that it demotes in its turn; else nodes further
 * down would fill with pages that are warmer than the ones in between.
 */
static struct page *alloc_demote_page(struct page *page, void *arg)
{
	struct demotion *d = arg;
	struct page *target;

	d->mtc.nmask = NULL;
	d->mtc.gfp_mask |= __GFP_THISNODE;
	target = alloc_migration_target(page, &d->mtc);
	if (target)
		return target;
	d->mtc.gfp_mask &= ~(gfp_t)__GFP_THISNODE;
	d->mtc.nmask = &d->allowed;
	return alloc_migration_target(page, &d->mtc);
}

/* Migrates a list one tier down; policies and cpusets of the owners do not count. Return: base pages moved. */
static unsigned long demote_page_list(struct list_head *list, struct pglist_data *pgdat)
{
	struct demotion d;
	unsigned int moved = 0;

	if (list_empty(list))
		return 0;
	d.mtc.nid = next_demotion_node(pgdat->node_id);
	if (d.mtc.nid == NUMA_NO_NODE)
		return 0;
	d.mtc.nmask = &d.allowed;
	/* Quickly, without any effort: a page that finds no room below is reclaimed instead. */
	d.mtc.gfp_mask = (GFP_HIGHUSER_MOVABLE & ~(gfp_t)__GFP_RECLAIM) | __GFP_NOWARN | __GFP_NOMEMALLOC | GFP_NOWAIT;
	d.allowed = node_allowed_demotion_targets(pgdat->node_id);
	migrate_pages(list, alloc_demote_page, NULL, &d, MIGRATE_ASYNC, MR_DEMOTION, &moved);
	count_vm_events(current_is_kswapd() ? PGDEMOTE_KSWAPD : PGDEMOTE_DIRECT, moved);
	return moved;
}

/* ---- trying each page of a portion */

struct reclaim_stat {
	unsigned long nr_dirty, nr_unqueued_dirty, nr_writeback, nr_immediate, nr_pageout, nr_activate;
	unsigned long nr_demoted; /* base pages that left by migration, which has uncounted them as isolated */
};

/* What becomes of a page that was tried. */
enum verdict {
	KEEP_UNLOCKED, /* stays on the inactive list; not locked (any more) */
	KEEP,          /* stays on the inactive list */
	ACTIVATE,      /* to the active list */
	FREE,          /* only our reference is left */
};

/*
 * Gives an anonymous page its place in swap. A huge one is written whole if there is a free cluster and a PMD maps it;
 * else it is split, and its pieces come by themselves. Return: FREE: it has one; ACTIVATE or KEEP.
 */
static enum verdict prepare_swap(struct page *page, struct list_head *list, const struct scan_control *sc)
{
	if (PageSwapCache(page))
		return FREE;
	if (!(sc->gfp & __GFP_IO) || page_maybe_dma_pinned(page))
		return KEEP;
	if (PageTransHuge(page)) {
		if (!can_split_huge_page(page))
			return ACTIVATE;
		/* Mapped in pieces, some of it may be free without any writing. */
		if (!head_compound_mapcount(page) && split_huge_page_to_list(page, list))
			return ACTIVATE;
	}
	if (add_to_swap(page))
		return FREE;
	if (!PageTransHuge(page) || split_huge_page_to_list(page, list))
		return ACTIVATE;
	count_vm_event(THP_SWPOUT_FALLBACK);
	return add_to_swap(page) ? FREE : ACTIVATE;
}

enum pageout { PAGE_KEEP, PAGE_ACTIVATE, PAGE_SUCCESS, PAGE_CLEAN };

/* Writes a dirty page to its file or its slot. Context: locked; unlocked if the outcome is PAGE_SUCCESS. */
static enum pageout pageout(struct page *page, struct address_space *mapping)
{
	struct writeback_control wbc = { .nr_to_write = SWAP_CLUSTER_MAX, .for_reclaim = true };
	int error;

	/* Somebody else looks at it: writing it would not free it. */
	if (page_count(page) - (page_has_private(page) ? 1 : 0) != 1 + (int)compound_nr(page))
		return PAGE_KEEP;
	if (!mapping)
		return PAGE_KEEP;
	if (!mapping->a_ops->writepage)
		return PAGE_ACTIVATE;
	if (!clear_page_dirty_for_io(page))
		return PAGE_CLEAN;
	SetPageReclaim(page);
	error = mapping->a_ops->writepage(page, &wbc);
	if (error < 0)
		mapping_set_error(mapping, error);
	if (error == AOP_WRITEPAGE_ACTIVATE) {
		ClearPageReclaim(page);
		return PAGE_ACTIVATE;
	}
	if (!PageWriteback(page))
		ClearPageReclaim(page);
	__mod_node_page_state(page_to_nid(page), NR_VMSCAN_WRITE, thp_nr_pages(page));
	return PAGE_SUCCESS;
}

/* May it be written now? A slot of swap needs no file system. */
static bool may_enter_fs(struct page *page, gfp_t gfp)
{
	return (gfp & __GFP_FS) || (PageSwapCache(page) && (gfp & __GFP_IO));
}

/* Dirty, and unmapped by now. Return: FREE: it is clean and may go on. */
static enum verdict write_dirty(struct page *page, struct address_space *mapping, enum page_references references,
				const struct scan_control *sc, struct reclaim_stat *stat)
{
	struct ps_kswapd *node = node_kswapd(page_pgdat(page));
	unsigned long nr = (unsigned long)thp_nr_pages(page);

	/*
	 * Page by page is a bad way to write: only kswapd does it, only when it met nothing but dirty pages, and only to a
	 * page that has come round a second time.
	 */
	if (page_is_file_lru(page) && (!current_is_kswapd() || !PageReclaim(page) || !READ_ONCE(node->dirty))) {
		__mod_node_page_state(page_to_nid(page), NR_VMSCAN_IMMEDIATE, (long)nr);
		SetPageReclaim(page);
		return ACTIVATE;
	}
	if (references == PAGEREF_RECLAIM_CLEAN || !may_enter_fs(page, sc->gfp) || !sc->may_writepage)
		return KEEP;
	switch (pageout(page, mapping)) {
	case PAGE_KEEP:
		return KEEP;
	case PAGE_ACTIVATE:
		return ACTIVATE;
	case PAGE_SUCCESS:
		stat->nr_pageout += nr;
		/* A disk that was done at once: it can go. */
		if (PageWriteback(page) || PageDirty(page) || !trylock_page(page))
			return KEEP_UNLOCKED;
		if (PageDirty(page) || PageWriteback(page))
			return KEEP;
		break;
	case PAGE_CLEAN:
		break;
	}
	return FREE;
}

/* Tries to free a page nobody used. Context: locked. Return: FREE with the page unlocked and one reference left. */
static enum verdict reclaim_page(struct page *page, struct list_head *list, enum page_references references,
				 const struct scan_control *sc, struct reclaim_stat *stat)
{
	struct address_space *mapping;
	enum verdict verdict;

	if (PageAnon(page) && PageSwapBacked(page)) {
		verdict = prepare_swap(page, list, sc);
		if (verdict != FREE)
			return verdict;
	} else if (PageSwapBacked(page) && PageTransHuge(page) && split_huge_page_to_list(page, list)) {
		return KEEP;
	}
	if (page_mapped(page)) {
		try_to_unmap(page, PageTransHuge(page) ? TTU_SPLIT_HUGE_PMD : 0);
		if (page_mapped(page))
			return ACTIVATE;
	}
	/* Nobody can pin it any more: if it is not by now, nobody writes to it behind our back. */
	if (page_maybe_dma_pinned(page))
		return ACTIVATE;
	if (PageDirty(page)) {
		verdict = write_dirty(page, page_mapping(page), references, sc, stat);
		if (verdict != FREE)
			return verdict;
	}
	/* Looked up after any sleep: the page may have been truncated before it was locked (again). */
	mapping = page_mapping(page);
	if (page_has_private(page)) {
		if (!try_to_release_page(page, sc->gfp))
			return ACTIVATE;
		if (!mapping && page_ref_count(page) == 1) {
			unlock_page(page);
			return FREE;
		}
	}
	if (PageAnon(page) && !PageSwapBacked(page)) {
		/* Lazily freed, and in no cache. */
		if (!page_ref_freeze(page, 1))
			return KEEP;
		count_vm_events(PGLAZYFREED, thp_nr_pages(page));
		page_ref_unfreeze(page, 1);
	} else if (!mapping || !remove_mapping(mapping, page)) {
		return KEEP;
	}
	unlock_page(page);
	return FREE;
}

/* Under writeback. Return: true: leave it for now. */
static bool skip_writeback(struct page *page, struct pglist_data *pgdat, struct reclaim_stat *stat)
{
	unsigned long nr = (unsigned long)thp_nr_pages(page);

	if (!PageWriteback(page))
		return false;
	if (current_is_kswapd() && PageReclaim(page) && READ_ONCE(node_kswapd(pgdat)->writeback)) {
		stat->nr_immediate += nr;
	} else {
		SetPageReclaim(page); /* the end of its writeback moves it to the tail */
		stat->nr_writeback += nr;
	}
	return true;
}

/*
 * Tries every page of the list. What stays is on it afterwards.
 * Return: base pages gone, by demotion or freed.
 */
static unsigned long shrink_page_list(struct list_head *list, struct pglist_data *pgdat, struct scan_control *sc,
				      struct reclaim_stat *stat)
{
	bool demote = !sc->no_demotion && can_demote(pgdat->node_id);
	unsigned long reclaimed = 0;
	LIST_HEAD(keep);
	LIST_HEAD(demoted);

	memset(stat, 0, sizeof(*stat));
retry:
	while (!list_empty(list)) {
		struct page *page = list_last_entry(list, struct page, lru);
		enum page_references references;
		enum verdict verdict = ACTIVATE;
		unsigned long nr;

		cond_resched();
		list_del(&page->lru);
		charge_reclaim(this_machine()->costs.reclaim_page_ns);
		if (!trylock_page(page)) {
			list_add(&page->lru, &keep);
			continue;
		}
		nr = (unsigned long)thp_nr_pages(page);
		sc->nr_scanned += nr;
		if (unlikely(!page_evictable(page)))
			goto decided;
		/* Dirty and writeback mean something for pages that can be written. */
		if (page_is_file_lru(page) && (PageDirty(page) || PageWriteback(page))) {
			stat->nr_dirty += nr;
			if (!PageWriteback(page))
				stat->nr_unqueued_dirty += nr;
		}
		if (skip_writeback(page, pgdat, stat))
			goto decided;

		references = page_check_references(page);
		if (references == PAGEREF_ACTIVATE)
			goto decided;
		verdict = KEEP;
		if (references == PAGEREF_KEEP)
			goto decided;
		if (demote) {
			list_add(&page->lru, &demoted);
			unlock_page(page);
			continue;
		}
		verdict = reclaim_page(page, list, references, sc, stat);
		if (nr > 1 && !PageHead(page)) {
			/* It was split: its other pieces come by themselves. */
			sc->nr_scanned -= nr - 1;
			nr = 1;
		}
	decided:
		switch (verdict) {
		case FREE:
			reclaimed += nr;
			put_page(page);
			continue;
		case ACTIVATE:
			/* It stays, so its slot would better be somebody's who goes. */
			if (PageSwapCache(page) && (vm_swap_full() || PageMlocked(page)))
				try_to_free_swap(page);
			VM_BUG_ON_PAGE(PageActive(page), page);
			if (!PageMlocked(page)) {
				SetPageActive(page);
				stat->nr_activate += nr;
			}
			unlock_page(page);
			break;
		case KEEP:
			unlock_page(page);
			break;
		case KEEP_UNLOCKED:
			break;
		}
		list_add(&page->lru, &keep);
	}

	if (demote) {
		unsigned long moved = demote_page_list(&demoted, pgdat);

		stat->nr_demoted += moved;
		reclaimed += moved;
		/* What found no room below is tried as if there were no below. */
		demote = false;
		if (!list_empty(&demoted)) {
			list_splice_init(&demoted, list);
			goto retry;
		}
	}
	list_splice(&keep, list);
	count_vm_events(PGACTIVATE, (long)stat->nr_activate);
	return reclaimed;
}

/* Remembers what reclaiming a kind of page has cost, so that the other kind is scanned more. Context: lru_lock. */
static void note_cost(struct pglist_data *pgdat, bool file, unsigned long nr)
{
	struct ps_kswapd *node = node_kswapd(pgdat);
	unsigned long size = 0;
	enum lru_list lru;

	node->cost[file] += nr;
	for_each_evictable_lru(lru) size +=
		node_page_state(pgdat->node_id, (enum node_stat_item)((int)NR_LRU_BASE + (int)lru));
	if (node->cost[0] + node->cost[1] > size / 4) {
		node->cost[0] /= 2;
		node->cost[1] /= 2;
	}
}

static unsigned long shrink_inactive_list(unsigned long nr_to_scan, struct lruvec *lruvec, struct scan_control *sc,
					  enum lru_list lru)
{
	struct pglist_data *pgdat = lruvec->pgdat;
	bool file = is_file_lru(lru);
	enum node_stat_item isolated = file ? NR_ISOLATED_FILE : NR_ISOLATED_ANON;
	unsigned long taken, scanned, reclaimed;
	struct reclaim_stat stat;
	LIST_HEAD(list);

	lru_add_drain();
	spin_lock(&lruvec->lru_lock);
	taken = isolate_lru_pages(nr_to_scan, lruvec, &list, &scanned, sc, lru);
	__mod_node_page_state(pgdat->node_id, isolated, (long)taken);
	count_vm_events(current_is_kswapd() ? PGSCAN_KSWAPD : PGSCAN_DIRECT, (long)scanned);
	count_vm_events(file ? PGSCAN_FILE : PGSCAN_ANON, (long)scanned);
	spin_unlock(&lruvec->lru_lock);
	if (!taken)
		return 0;

	reclaimed = shrink_page_list(&list, pgdat, sc, &stat);

	spin_lock(&lruvec->lru_lock);
	move_pages_to_lru(lruvec, &list);
	__mod_node_page_state(pgdat->node_id, isolated, -(long)(taken - stat.nr_demoted));
	count_vm_events(current_is_kswapd() ? PGSTEAL_KSWAPD : PGSTEAL_DIRECT, (long)reclaimed);
	count_vm_events(file ? PGSTEAL_FILE : PGSTEAL_ANON, (long)reclaimed);
	note_cost(pgdat, file, stat.nr_pageout);
	spin_unlock(&lruvec->lru_lock);
	free_unref_page_list(&list);

	sc->nr.dirty += stat.nr_dirty;
	sc->nr.unqueued_dirty += stat.nr_unqueued_dirty;
	sc->nr.writeback += stat.nr_writeback;
	sc->nr.immediate += stat.nr_immediate;
	sc->nr.taken += taken;
	if (file)
		sc->nr.file_taken += taken;
	return reclaimed;
}

/* ---- what somebody else has isolated */

static unsigned long reclaim_page_list(struct list_head *list, struct pglist_data *pgdat)
{
	struct scan_control sc = { .gfp = GFP_KERNEL, .may_writepage = true, .no_demotion = true };
	struct reclaim_stat stat;
	unsigned long reclaimed = shrink_page_list(list, pgdat, &sc, &stat);

	while (!list_empty(list)) {
		struct page *page = list_last_entry(list, struct page, lru);

		list_del(&page->lru);
		putback_lru_page(page);
	}
	return reclaimed;
}

unsigned long reclaim_pages(struct list_head *list)
{
	bool was_reclaiming = current->flags & PF_MEMALLOC;
	unsigned long reclaimed = 0;

	/* What it allocates must not make it reclaim again. */
	current->flags |= PF_MEMALLOC;
	while (!list_empty(list)) {
		nid_t nid = page_to_nid(list_last_entry(list, struct page, lru));
		LIST_HEAD(batch);

		/* Neighbours of one node together. */
		while (!list_empty(list)) {
			struct page *page = list_last_entry(list, struct page, lru);

			if (page_to_nid(page) != nid)
				break;
			ClearPageActive(page);
			list_move(&page->lru, &batch);
		}
		reclaimed += reclaim_page_list(&batch, NODE_DATA(nid));
	}
	if (!was_reclaiming)
		current->flags &= ~PF_MEMALLOC;
	return reclaimed;
}

/* ---- how much of each list */

/* What the node looks like before a round. */
static void prepare_scan_count(struct pglist_data *pgdat, struct scan_control *sc)
{
	nid_t nid = pgdat->node_id;
	unsigned long file, free, anon, high = 0;
	int i;

	spin_lock(&node_lruvec(pgdat)->lru_lock);
	sc->cost[0] = node_kswapd(pgdat)->cost[0];
	sc->cost[1] = node_kswapd(pgdat)->cost[1];
	spin_unlock(&node_lruvec(pgdat)->lru_lock);

	for (i = 0; i < 2; i++)
		sc->may_deactivate[i] =
			sc->force_deactivate || inactive_is_low(nid, i ? LRU_INACTIVE_FILE : LRU_INACTIVE_ANON);

	/* Plenty of cache that was used once: take that and leave the rest alone. */
	file = node_page_state(nid, NR_INACTIVE_FILE);
	sc->cache_trim_mode = file >> sc->priority && !sc->may_deactivate[1];

	/* Next to no cache left: what little there is turns over so fast that it looks worth scanning. It is not. */
	for (i = 0; i < MAX_NR_ZONES; i++)
		if (managed_zone(&pgdat->node_zones[i]))
			high += high_wmark_pages(&pgdat->node_zones[i]);
	free = nr_free_pages_node(nid);
	file += node_page_state(nid, NR_ACTIVE_FILE);
	anon = node_page_state(nid, NR_INACTIVE_ANON);
	sc->file_is_tiny = file + free <= high && !sc->may_deactivate[0] && anon >> sc->priority;
}

static void get_scan_count(struct pglist_data *pgdat, const struct scan_control *sc, unsigned long *nr)
{
	unsigned long swappiness = this_machine()->reclaim->swappiness;
	unsigned long fraction[2] = { 1, 1 }, denominator = 1;
	enum lru_list lru;

	if (!can_reclaim_anon_pages(pgdat->node_id)) {
		fraction[0] = 0;
	} else if (!sc->priority && swappiness) {
		/* Last resort: everything alike. */
	} else if (sc->file_is_tiny) {
		fraction[1] = 0;
	} else if (sc->cache_trim_mode) {
		fraction[0] = 0;
	} else {
		unsigned long total = sc->cost[0] + sc->cost[1];
		unsigned long cost[2] = { total + sc->cost[0], total + sc->cost[1] };

		total = cost[0] + cost[1];
		fraction[0] = swappiness * (total + 1) / (cost[0] + 1);
		fraction[1] = (200 - swappiness) * (total + 1) / (cost[1] + 1);
		denominator = ps_max(fraction[0] + fraction[1], 1ul);
	}
	for_each_evictable_lru(lru) nr[lru] =
		(lruvec_lru_size(node_lruvec(pgdat), lru, sc->reclaim_idx) >> sc->priority) *
		fraction[is_file_lru(lru)] / denominator;
}

static unsigned long shrink_list(enum lru_list lru, unsigned long nr_to_scan, struct lruvec *lruvec,
				 struct scan_control *sc)
{
	if (!is_active_lru(lru))
		return shrink_inactive_list(nr_to_scan, lruvec, sc, lru);
	if (sc->may_deactivate[is_file_lru(lru)])
		shrink_active_list(nr_to_scan, lruvec, sc, lru);
	else
		sc->skipped_deactivate = true;
	return 0;
}

static void shrink_lruvec(struct lruvec *lruvec, struct scan_control *sc)
{
	unsigned long nr[NR_LRU_LISTS] = { 0 }, targets[NR_LRU_LISTS];
	/* The first round of direct reclaim takes its whole portion: kswapd does not keep up. */
	bool whole = !current_is_kswapd() && sc->priority == DEF_PRIORITY;
	unsigned long reclaimed = 0;
	enum lru_list lru;

	get_scan_count(lruvec->pgdat, sc, nr);
	memcpy(targets, nr, sizeof(nr));
	while (nr[LRU_INACTIVE_ANON] || nr[LRU_ACTIVE_FILE] || nr[LRU_INACTIVE_FILE]) {
		unsigned long nr_anon, nr_file, done;
		int small, big, i;

		for_each_evictable_lru(lru)
		{
			unsigned long portion = ps_min(nr[lru], SWAP_CLUSTER_MAX);

			if (!portion)
				continue;
			nr[lru] -= portion;
			reclaimed += shrink_list(lru, portion, lruvec, sc);
		}
		cond_resched();
		if (reclaimed < sc->nr_to_reclaim || whole)
			continue;

		/*
		 * Enough. But the two kinds were to be scanned in proportion: the one with less left stops here, the other goes
		 * on until the same share of its target is scanned.
		 */
		nr_file = nr[LRU_INACTIVE_FILE] + nr[LRU_ACTIVE_FILE];
		nr_anon = nr[LRU_INACTIVE_ANON] + nr[LRU_ACTIVE_ANON];
		if (!nr_file || !nr_anon)
			break;
		small = nr_file > nr_anon ? LRU_INACTIVE_ANON : LRU_INACTIVE_FILE;
		big = small == LRU_INACTIVE_ANON ? LRU_INACTIVE_FILE : LRU_INACTIVE_ANON;
		done = 100 - ps_min(nr_file, nr_anon) * 100 / (targets[small] + targets[small + LRU_ACTIVE] + 1);
		nr[small] = nr[small + LRU_ACTIVE] = 0;
		for (i = big; i <= big + LRU_ACTIVE; i++) {
			unsigned long scanned = targets[i] - nr[i], want = targets[i] * done / 100;

			nr[i] = want - ps_min(want, scanned);
		}
	}
	sc->nr_reclaimed += reclaimed;
	age_active_anon(lruvec->pgdat, sc);
}

/* ---- a node */

/* For a large block: go on until there is enough around it to compact? */
static bool should_continue_reclaim(struct pglist_data *pgdat, unsigned long reclaimed, const struct scan_control *sc)
{
	unsigned long inactive;
	int zid;

	if (!sc->order || (sc->order <= PAGE_ALLOC_COSTLY_ORDER && sc->priority >= DEF_PRIORITY - 2))
		return false;
	if (!reclaimed)
		return false;
	for (zid = 0; zid <= sc->reclaim_idx; zid++) {
		struct zone *zone = &pgdat->node_zones[zid];
		unsigned long mark =
			sc->order > PAGE_ALLOC_COSTLY_ORDER ? low_wmark_pages(zone) : min_wmark_pages(zone);

		if (!managed_zone(zone))
			continue;
		if (zone_watermark_ok(zone, sc->order, min_wmark_pages(zone), sc->reclaim_idx, 0) ||
		    zone_watermark_ok(zone, 0, mark + compact_gap(sc->order), sc->reclaim_idx, 0))
			return false;
	}
	inactive = node_page_state(pgdat->node_id, NR_INACTIVE_FILE);
	if (can_reclaim_anon_pages(pgdat->node_id))
		inactive += node_page_state(pgdat->node_id, NR_INACTIVE_ANON);
	return inactive > compact_gap(sc->order);
}

void shrink_node(struct pglist_data *pgdat, struct scan_control *sc)
{
	struct ps_kswapd *node = node_kswapd(pgdat);
	bool reclaimable = false;
	unsigned long before;

	do {
		before = sc->nr_reclaimed;
		memset(&sc->nr, 0, sizeof(sc->nr));
		prepare_scan_count(pgdat, sc);
		shrink_lruvec(node_lruvec(pgdat), sc);
		shrink_slab(sc->gfp, pgdat->node_id, sc->priority);
		reclaimable |= sc->nr_reclaimed > before;
		if (current_is_kswapd()) {
			if (sc->nr.writeback && sc->nr.writeback == sc->nr.taken)
				WRITE_ONCE(node->writeback, true);
			/* Nothing but dirty pages, and nobody writes them: then kswapd must. */
			if (sc->nr.unqueued_dirty == sc->nr.file_taken)
				WRITE_ONCE(node->dirty, true);
		}
	} while (should_continue_reclaim(pgdat, sc->nr_reclaimed - before, sc));
	if (reclaimable)
		atomic_set(&node->failures, 0);
}

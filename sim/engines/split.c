/* SPDX-License-Identifier: MIT */
/*
 * The split engine. A huge page, locked and held once by the caller:
 *
 *    1. hold and lock its anon_vma, or its file's i_mmap; make xarray nodes for the small slots
 *    2. look whether anybody else holds it: then do not even unmap it
 *    3. unmap: anonymous mappings become migration entries (huge PMDs are split into them), file mappings go
 *    4. lock the file's slots; take the page off the deferred queue under that queue's lock and
 *    5. freeze the references at exactly the caller's and the cache's; if that fails, undo 3
 *    6. build each tail: flags, mapping, index; then, and only then, let it be found: not a tail any more, count set
 *    7. the head becomes a small page; unfreeze it
 *    8. restore the mappings; unlock and drop all pieces but the caller's
 *
 * The order in 6 is what keeps a lockless lookup from seeing a half-built page: its count is zero until everything else is
 * true of it.
 */
#include <pagesim/split.h>

#include <pagesim/address_space.h>
#include <pagesim/bitops.h>
#include <pagesim/bug.h>
#include <pagesim/compound.h>
#include <pagesim/gfp.h>
#include <pagesim/gup.h>
#include <pagesim/inode.h>
#include <pagesim/lru.h>
#include <pagesim/machine.h>
#include <pagesim/mm.h>
#include <pagesim/mmzone.h>
#include <pagesim/page_flags.h>
#include <pagesim/page_lock.h>
#include <pagesim/page_mapcount.h>
#include <pagesim/page_ref.h>
#include <pagesim/pagemap.h>
#include <pagesim/rmap.h>
#include <pagesim/runtime.h>
#include <pagesim/shrinker.h>
#include <pagesim/swap_cache.h>
#include <pagesim/vmstat.h>
#include <pagesim/xarray.h>

/* References the page cache or the swap cache holds. */
static int cache_refs(struct page *head)
{
	return PageAnon(head) && !PageSwapCache(head) ? 0 : (int)compound_nr(head);
}

bool can_split_huge_page(struct page *page)
{
	struct page *head = compound_head(page);

	return total_mapcount(head) == page_count(head) - cache_refs(head) - 1;
}

static void unmap_huge_page(struct page *head)
{
	unsigned int flags = TTU_RMAP_LOCKED | TTU_SPLIT_HUGE_PMD | TTU_SYNC;

	if (PageAnon(head))
		try_to_migrate(head, flags, NULL);
	else
		try_to_unmap(head, flags | TTU_IGNORE_MLOCK);
}

static void remap_pages(struct page *head, unsigned long nr)
{
	unsigned long i;

	/* File pages are faulted in again. */
	if (!PageAnon(head))
		return;
	for (i = 0; i < nr; i++) {
		remove_migration_ptes(head + i, head + i, true);
		if (PageCompound(head))
			break; /* undone: it is whole */
	}
}

/* Flags a piece takes over from the whole. */
static const unsigned long cloned_flags = 1UL << PG_referenced | 1UL << PG_swapbacked | 1UL << PG_mlocked |
					  1UL << PG_uptodate | 1UL << PG_active | 1UL << PG_workingset |
					  1UL << PG_locked | 1UL << PG_swapcache | 1UL << PG_unevictable |
					  1UL << PG_dirty | 1UL << PG_arch_1;

/* Context: lru_lock. The tail's count is 0. */
static void build_tail(struct page *head, unsigned long i, struct list_head *list)
{
	struct page *tail = head + i;

	VM_BUG_ON_PAGE(page_ref_count(tail) != 0, tail);
	/* Not atomically: nobody can have the tail. */
	tail->flags = (tail->flags & ~((1UL << NR_PAGEFLAGS) - 1)) | (head->flags & cloned_flags);
	tail->mapping = head->mapping;
	tail->index = head->index + i;
	if (!PageSwapCache(head))
		tail->private_data = 0;
	page_cpupid_xchg_last(tail, page_cpupid_last(head));
	smp_wmb();
	clear_compound_head(tail);
	page_ref_unfreeze(tail, 1 + (cache_refs(head) ? 1 : 0));
	if (list) {
		get_page(tail);
		list_add_tail(&tail->lru, list);
	} else {
		/* The head is on its list and frozen, so its neighbours may be changed. */
		if (PageUnevictable(tail))
			tail->mlock_count = 0;
		else
			list_add_tail(&tail->lru, &head->lru);
		SetPageLRU(tail);
	}
}

/* Steps 6 to 8. Context: frozen; xa_lock of the file held (released here). */
static void split_frozen(struct page *page, struct page *head, struct address_space *mapping, pgoff_t end,
			 struct list_head *list)
{
	unsigned long nr = compound_nr(head), i;
	struct lruvec *lruvec = page_lruvec(head);
	bool swapcache = PageAnon(head) && PageSwapCache(head);
	swp_entry_t swap = page_swap_entry(head);
	struct address_space *swap_space = swapcache ? swap_address_space(swap) : NULL;

	if (swap_space)
		xa_lock(&swap_space->i_pages);
	spin_lock(&lruvec->lru_lock);
	for (i = nr - 1; i >= 1; i--) {
		build_tail(head, i, list);
		if (head[i].index >= end) {
			/* Beyond the end of the file: it leaves the cache. */
			__delete_from_page_cache(head + i, NULL);
			put_page(head + i);
		} else if (mapping) {
			__xa_store(&mapping->i_pages, head[i].index, head + i, 0);
		} else if (swap_space) {
			__xa_store(&swap_space->i_pages, swp_offset(swap) + i, head + i, 0);
		}
	}
	clear_bit(PG_head, &head->flags);
	spin_unlock(&lruvec->lru_lock);
	if (mapping) {
		page_ref_unfreeze(head, 2);
		xa_unlock(&mapping->i_pages);
	} else if (swap_space) {
		page_ref_unfreeze(head, 2);
		xa_unlock(&swap_space->i_pages);
	} else {
		page_ref_unfreeze(head, 1);
	}
	remap_pages(head, nr);
	if (swap_space)
		split_swap_cluster(swap);
	for (i = 0; i < nr; i++) {
		if (head + i == page)
			continue;
		unlock_page(head + i);
		/* A piece that nobody maps any more has no use for its slot. */
		free_page_and_swap_cache(head + i);
	}
}

int split_huge_page_to_list(struct page *page, struct list_head *list)
{
	struct page *head = compound_head(page);
	struct address_space *mapping = NULL;
	struct anon_vma *anon_vma = NULL;
	struct deferred_split *queue = get_deferred_split_queue(head);
	unsigned long nr = compound_nr(head);
	enum ps_time_class before;
	pgoff_t end = U64_MAX;
	struct xa_state xas;
	int error;

	VM_BUG_ON_PAGE(!PageLocked(head), head);
	VM_BUG_ON_PAGE(!PageHead(head), head);
	ps_charge(this_machine()->costs.split_huge_ns, PS_TIME_MIGRATE);

	if (PageWriteback(head))
		return -EBUSY;
	before = ps_work_begin(PS_TIME_MIGRATE);
	error = -EBUSY;
	if (PageAnon(head)) {
		anon_vma = page_get_anon_vma(head);
		if (!anon_vma)
			goto out;
		anon_vma_lock_write(anon_vma);
	} else {
		if (!head->mapping)
			goto out;
		mapping = head->mapping;
		xas = xa_state_at(&mapping->i_pages, head->index, 0);
		xas_split_alloc(&xas, head, compound_order(head), GFP_KERNEL);
		error = xas_error(&xas);
		if (error)
			goto out;
		end = i_size_pages(mapping->host);
		i_mmap_lock_read(mapping);
	}
	error = -EBUSY;
	if (!can_split_huge_page(head))
		goto out_unlock;
	unmap_huge_page(head);

	if (mapping) {
		xas_lock(&xas);
		xas_reset(&xas);
		if (xas_load(&xas) != head)
			goto out_remap;
	}
	spin_lock(&queue->split_queue_lock);
	if (!page_ref_freeze(head, 1 + cache_refs(head))) {
		spin_unlock(&queue->split_queue_lock);
		goto out_remap;
	}
	if (!list_empty(page_deferred_list(head))) {
		queue->split_queue_len--;
		list_del_init(page_deferred_list(head));
	}
	spin_unlock(&queue->split_queue_lock);
	if (mapping) {
		xas_split(&xas, head, compound_order(head));
		if (PageSwapBacked(head))
			__mod_node_page_state(page_to_nid(head), NR_SHMEM_THPS, -(long)nr);
		else
			__mod_node_page_state(page_to_nid(head), NR_FILE_THPS, -(long)nr);
	}
	split_frozen(page, head, mapping, end, list);
	error = 0;
	goto out_unlock;

out_remap:
	if (mapping)
		xas_unlock(&xas);
	remap_pages(head, nr);
out_unlock:
	if (anon_vma) {
		anon_vma_unlock_write(anon_vma);
		put_anon_vma(anon_vma);
	}
	if (mapping)
		i_mmap_unlock_read(mapping);
out:
	if (mapping)
		xas_destroy(&xas);
	count_vm_event(error ? THP_SPLIT_PAGE_FAILED : THP_SPLIT_PAGE);
	ps_work_end(before);
	return error;
}

unsigned long split_huge_pages_range(struct mm_struct *mm, u64 start, u64 end)
{
	unsigned long split = 0;
	u64 addr;

	mmap_read_lock(mm);
	for (addr = start; addr < end; addr += PAGE_SIZE) {
		struct vm_area_struct *vma = vma_lookup(mm, addr);
		struct page *page = NULL;

		if (!vma)
			break;
		if (follow_page(vma, addr, FOLL_GET | FOLL_DUMP, &page) || !page)
			continue;
		if (PageTransCompound(page) && can_split_huge_page(page) && trylock_page(compound_head(page))) {
			struct page *head = compound_head(page);

			split += !split_huge_page(page);
			/* The lock stays with the piece that was named, or with the page that stayed whole. */
			unlock_page(PageCompound(page) ? head : page);
		}
		put_page(page);
		cond_resched();
	}
	mmap_read_unlock(mm);
	return split;
}

static unsigned long deferred_split_count(struct shrinker *shrinker, struct shrink_control *sc)
{
	(void)shrinker;
	return READ_ONCE(NODE_DATA(sc->nid)->deferred_split_queue.split_queue_len);
}

unsigned long deferred_split_scan(struct shrinker *shrinker, struct shrink_control *sc)
{
	struct deferred_split *queue = &NODE_DATA(sc->nid)->deferred_split_queue;
	struct list_head *pos, *next;
	unsigned long split = 0;
	bool left;
	LIST_HEAD(list);

	/* Take pages off the queue with a reference, so that they live without its lock. */
	spin_lock(&queue->split_queue_lock);
	list_for_each_safe(pos, next, &queue->split_queue)
	{
		struct page *page = container_of(pos, struct page, deferred_list) - 2;

		if (get_page_unless_zero(page)) {
			list_move(page_deferred_list(page), &list);
		} else {
			/* Being freed: it must not find itself on our list. */
			list_del_init(page_deferred_list(page));
			queue->split_queue_len--;
		}
		if (!--sc->nr_to_scan)
			break;
	}
	spin_unlock(&queue->split_queue_lock);

	list_for_each_safe(pos, next, &list)
	{
		struct page *page = container_of(pos, struct page, deferred_list) - 2;

		if (trylock_page(page)) {
			split += !split_huge_page(page);
			unlock_page(page);
		}
		put_page(page);
	}
	spin_lock(&queue->split_queue_lock);
	list_splice_tail(&list, &queue->split_queue);
	left = !list_empty(&queue->split_queue);
	spin_unlock(&queue->split_queue_lock);
	return split || left ? split : SHRINK_STOP;
}

void register_deferred_split_shrinker(struct shrinker *shrinker)
{
	shrinker->count_objects = deferred_split_count;
	shrinker->scan_objects = deferred_split_scan;
	shrinker->seeks = DEFAULT_SEEKS;
	shrinker->flags = SHRINKER_NUMA_AWARE;
	register_shrinker(shrinker, "thp-deferred_split");
}

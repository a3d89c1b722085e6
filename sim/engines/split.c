/* SPDX-License-Identifier: MIT */
/*
 * The split engine: a huge page becomes pieces of one smaller order, small pages by default. The quiesce protocol
 * (engines/quiesce.h) for a page that the caller has locked and holds once; who gives up goes on with 8:
 *
 *    1. refuse what has no pieces of that order; make xarray nodes for their slots
 *    2. hold its anon_vma                              quiesce_hold
 *    3. lock that, or the file's i_mmap                quiesce_lock_rmap
 *    4. look whether anybody else holds it: then do not even unmap it
 *    5. unmap: anonymous mappings become migration entries (huge PMDs are split into them), file mappings go    quiesce_unmap
 *    6. lock the file's slots; take the page off the deferred queue under that queue's lock, and freeze the references at exactly
 *       the caller's and the cache's
 *    7. act: build each piece from the last to the second: flags, mapping, index, its own tails; then, and only then, let it be
 *       found: not a tail any more, count set. The head shrinks to the first piece; unfreeze it
 *    8. restore the mappings of the pieces, or of the whole; unlock and drop all pieces but the caller's; let go of 3 and 2
 *                                                      quiesce_restore_pieces, quiesce_release
 *
 * The order in 7 is what keeps a lockless lookup from seeing a half-built page: its count is zero until everything else is
 * true of it.
 *
 *      order 3 to order 1       H t t t t t t t         index      0 1 2 3 4 5 6 7
 *                               H t H t H t H t         slots      0 . 2 . 4 . 6 .      (. points to the slot before it)
 *
 * Pieces of an order above 0 are compound pages that PTEs map. An anonymous page has none of order 1: the deferred split queue links
 * pages through their second tail, and so it is in Linux. Sources: split_huge_page_to_list() of 6.1; to an order
 * split_huge_page_to_list_to_order() of 6.9.
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

#include "engines/quiesce.h"

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

/* Flags a piece takes over from the whole. */
static const unsigned long cloned_flags = 1UL << PG_referenced | 1UL << PG_swapbacked | 1UL << PG_mlocked |
					  1UL << PG_uptodate | 1UL << PG_active | 1UL << PG_workingset |
					  1UL << PG_locked | 1UL << PG_swapcache | 1UL << PG_unevictable |
					  1UL << PG_dirty | 1UL << PG_arch_1;

/* What a piece of the whole is told of its size: only its order says what lies behind it. */
static void set_piece_order(struct page *piece, unsigned int order)
{
	prep_compound_page(piece, order);
	prep_transhuge_page(piece);
}

/* Makes @head + @i a page of @order. Context: lru_lock. Its count is 0. */
static void build_piece(struct page *head, unsigned long i, unsigned int order, struct list_head *list)
{
	struct page *piece = head + i;

	VM_BUG_ON_PAGE(page_ref_count(piece) != 0, piece);
	/* Not atomically: nobody can have the piece. */
	piece->flags = (piece->flags & ~((1UL << NR_PAGEFLAGS) - 1)) | (head->flags & cloned_flags);
	piece->mapping = head->mapping;
	piece->index = head->index + i;
	if (!PageSwapCache(head))
		piece->private_data = 0;
	page_cpupid_xchg_last(piece, page_cpupid_last(head));
	smp_wmb();
	clear_compound_head(piece);
	if (order)
		set_piece_order(piece, order);
	page_ref_unfreeze(piece, 1 + (cache_refs(head) ? 1 << order : 0));
	if (list) {
		get_page(piece);
		list_add_tail(&piece->lru, list);
	} else {
		/* The head is on its list and frozen, so its neighbours may be changed. */
		if (PageUnevictable(piece))
			piece->mlock_count = 0;
		else
			list_add_tail(&piece->lru, &head->lru);
		SetPageLRU(piece);
	}
}

/* The head becomes the first piece. Context: frozen, all other pieces are built. */
static void shrink_head(struct page *head, unsigned int order)
{
	if (!order) {
		clear_bit(PG_head, &head->flags);
		return;
	}
	head[1].compound_order = (unsigned char)order;
	head[1].compound_nr = 1U << order;
	/* The second tail may have become another piece: then there is no queue any more to be on. */
	if (order == 1)
		set_compound_page_dtor(head, COMPOUND_PAGE_DTOR);
}

/* Steps 7 and 8. Context: frozen; xa_lock of the file held (released here). */
static void split_frozen(struct quiesce *q, struct page *page, unsigned int order, pgoff_t end, struct list_head *list)
{
	struct page *head = q->page;
	unsigned long nr = compound_nr(head), piece_nr = 1UL << order, i;
	struct address_space *mapping = q->mapping;
	struct lruvec *lruvec = page_lruvec(head);
	bool swapcache = PageAnon(head) && PageSwapCache(head);
	swp_entry_t swap = page_swap_entry(head);
	struct address_space *swap_space = swapcache ? swap_address_space(swap) : NULL;
	const int cached = cache_refs(head) ? (int)piece_nr : 0;

	if (swap_space)
		xa_lock(&swap_space->i_pages);
	spin_lock(&lruvec->lru_lock);
	for (i = nr - piece_nr; i >= piece_nr; i -= piece_nr) {
		build_piece(head, i, order, list);
		if (head[i].index >= end) {
			/* Beyond the end of the file: it leaves the cache, with a reference for each of its small pages. */
			__delete_from_page_cache(head + i, NULL);
			page_ref_sub(head + i, (int)piece_nr - 1);
			put_page(head + i);
		} else if (mapping) {
			__xa_store(&mapping->i_pages, head[i].index, head + i, 0);
		} else if (swap_space) {
			__xa_store(&swap_space->i_pages, swp_offset(swap) + i, head + i, 0);
		}
	}
	shrink_head(head, order);
	spin_unlock(&lruvec->lru_lock);
	page_ref_unfreeze(head, 1 + cached);
	if (mapping)
		xa_unlock(&mapping->i_pages);
	if (swap_space) {
		xa_unlock(&swap_space->i_pages);
		split_swap_cluster(swap);
	}
	quiesce_restore_pieces(q, head, nr);
	for (i = 0; i < nr; i += piece_nr) {
		if (head + i == compound_head(page))
			continue;
		unlock_page(head + i);
		/* A piece that nobody maps any more has no use for its slot. */
		free_page_and_swap_cache(head + i);
	}
}

/* Are there pieces of that order? Return: 0 or -EINVAL. */
static int check_order(struct page *head, unsigned int order)
{
	if (order >= compound_order(head))
		return -EINVAL;
	if (!order)
		return 0;
	/* The swap cache has a slot for each small page, or for a whole cluster. */
	return PageAnon(head) && (order == 1 || PageSwapCache(head)) ? -EINVAL : 0;
}

int split_huge_page_to_list_to_order(struct page *page, struct list_head *list, unsigned int order)
{
	struct page *head = compound_head(page);
	struct address_space *mapping = NULL;
	struct deferred_split *queue = get_deferred_split_queue(head);
	unsigned long nr = compound_nr(head);
	/* 6.1 says EBUSY of a page that somebody holds; it is EAGAIN since there are orders to split to. */
	const int held = order ? -EAGAIN : -EBUSY;
	const bool huge = compound_order(head) == HPAGE_PMD_ORDER;
	enum ps_time_class before;
	pgoff_t end = U64_MAX;
	struct xa_state xas;
	struct quiesce q;
	int error;

	VM_BUG_ON_PAGE(!PageLocked(head), head);
	VM_BUG_ON_PAGE(!PageHead(head), head);
	error = check_order(head, order);
	if (error)
		return error;
	ps_charge(this_machine()->costs.split_huge_ns, PS_TIME_MIGRATE);

	if (PageWriteback(head))
		return -EBUSY;
	before = ps_work_begin(PS_TIME_MIGRATE);
	error = -EBUSY;
	quiesce_hold(&q, head);
	if (PageAnon(head)) {
		if (!q.anon_vma)
			goto out;
	} else {
		if (!head->mapping)
			goto out;
		mapping = head->mapping;
		xas = xa_state_at(&mapping->i_pages, head->index, order);
		xas_split_alloc(&xas, head, compound_order(head), GFP_KERNEL);
		error = xas_error(&xas);
		if (error)
			goto out;
		end = i_size_pages(mapping->host);
	}
	quiesce_lock_rmap(&q, mapping);
	error = held;
	if (!can_split_huge_page(head))
		goto out;
	quiesce_unmap(&q, NULL);

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
	if (compound_order(head) > 1 && !list_empty(page_deferred_list(head))) {
		queue->split_queue_len--;
		list_del_init(page_deferred_list(head));
	}
	spin_unlock(&queue->split_queue_lock);
	if (mapping) {
		xas_split(&xas, head, compound_order(head));
		if (huge)
			__mod_node_page_state(page_to_nid(head), PageSwapBacked(head) ? NR_SHMEM_THPS : NR_FILE_THPS,
					      -(long)nr);
	}
	split_frozen(&q, page, order, end, list);
	error = 0;
	goto out;

out_remap:
	if (mapping)
		xas_unlock(&xas);
	quiesce_restore_pieces(&q, head, nr);
out:
	quiesce_release(&q);
	if (mapping)
		xas_destroy(&xas);
	if (huge)
		count_vm_event(error ? THP_SPLIT_PAGE_FAILED : THP_SPLIT_PAGE);
	ps_work_end(before);
	return error;
}

unsigned long split_huge_pages_range(struct mm_struct *mm, u64 start, u64 end, unsigned int order)
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
		if (compound_order(compound_head(page)) > order && can_split_huge_page(page) &&
		    trylock_page(compound_head(page))) {
			split += !split_huge_page_to_list_to_order(page, NULL, order);
			/* The lock stays with the piece that was named, or with the page that stayed whole. */
			unlock_page(compound_head(page));
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

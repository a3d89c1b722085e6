/* SPDX-License-Identifier: MIT */
/*
 * Mapping, unmapping and finding: the mapcount rules of anonymous and file pages, and the walk from a page to the entries
 * that map it.
 *
 * A small page counts its PTEs in _mapcount. A huge page counts its PMD mappings once, in compound_mapcount, and each of
 * its small pages counts its own PTEs besides; a small page is mapped if either count says so. When the last mapping of
 * a small page of a huge one goes while others stay, the huge page holds memory nobody uses, and is queued for splitting.
 *
 * 6.1 knows whether PTEs and PMDs map a huge page at once only where a PMD was split (PageDoubleMap). Elsewhere (a page
 * migrated while both mapped it) it takes the last PTE of a small page for its last mapping, and queues the page though a
 * PMD still maps it. The queue follows 6.1; the counters are exact.
 */
#include <pagesim/rmap.h>

#include <pagesim/address_space.h>
#include <pagesim/bug.h>
#include <pagesim/compound.h>
#include <pagesim/cost.h>
#include <pagesim/lru.h>
#include <pagesim/machine.h>
#include <pagesim/pagemap.h>
#include <pagesim/page_flags.h>
#include <pagesim/page_mapcount.h>
#include <pagesim/page_ref.h>
#include <pagesim/runtime.h>
#include <pagesim/swap_cache.h>
#include <pagesim/vmstat.h>
#include <pagesim/writeback.h>

#include "rmap/rmap_state.h"

/* ---- adding and removing one mapping */

static void set_anon_rmap(struct page *page, struct vm_area_struct *vma, u64 addr, bool exclusive)
{
	struct anon_vma *anon_vma = vma->anon_vma;

	VM_BUG_ON(!anon_vma);
	if (!PageAnon(page)) {
		/* A page that others may map too belongs to the oldest of the family: every sharer's VMA is chained to it. */
		if (!exclusive)
			anon_vma = anon_vma->root;
		WRITE_ONCE(page->mapping, (struct address_space *)((unsigned long)anon_vma | PAGE_MAPPING_ANON));
		page->index = linear_page_index(vma, addr);
	}
	if (exclusive)
		SetPageAnonExclusive(page);
}

static void account_anon(struct page *page, long pages)
{
	__mod_node_page_state(page_to_nid(page), NR_ANON_MAPPED, pages);
}

static void account_thps(struct page *page, long pages)
{
	__mod_node_page_state(page_to_nid(page), NR_ANON_THPS, pages);
}

void page_add_new_anon_rmap(struct page *page, struct vm_area_struct *vma, u64 addr, bool compound)
{
	__SetPageSwapBacked(page);
	if (compound) {
		atomic_set(compound_mapcount_ptr(page), 0);
		nr_pages_mapped_add(page, COMPOUND_MAPPED);
		atomic_set(compound_pincount_ptr(page), 0);
	} else {
		atomic_set(&page->_mapcount, 0);
	}
	account_anon(page, compound ? thp_nr_pages(page) : 1);
	if (compound)
		account_thps(page, thp_nr_pages(page));
	set_anon_rmap(page, vma, addr, true);
}

static void mlock_vma_page(struct page *page, struct vm_area_struct *vma, bool compound)
{
	if (unlikely(vma->vm_flags & VM_LOCKED) && (compound || !PageTransCompound(page)))
		mlock_page(page);
}

static void munlock_vma_page(struct page *page, struct vm_area_struct *vma, bool compound)
{
	if (unlikely(vma->vm_flags & VM_LOCKED) && (compound || !PageTransCompound(page)))
		munlock_page(page);
}

/*
 * One mapping more, or less: the counts, and what they say of small pages that were not mapped before, or are not any more.
 * The sum in nr_pages_mapped decides, for it changes in one step: mappings of a huge page by PTEs and by PMDs come and go
 * under different locks.
 */
static bool count_pte(struct page *page, long *ret_mapped)
{
	bool first = atomic_inc_and_test(&page->_mapcount);

	*ret_mapped = first;
	if (first && PageCompound(page))
		*ret_mapped = nr_pages_mapped_add(compound_head(page), 1) < COMPOUND_MAPPED;
	return first;
}

static bool uncount_pte(struct page *page, long *ret_unmapped)
{
	bool last = atomic_add_negative(-1, &page->_mapcount);

	*ret_unmapped = last;
	if (last && PageCompound(page))
		*ret_unmapped = nr_pages_mapped_add(compound_head(page), -1) < COMPOUND_MAPPED;
	return last;
}

static bool count_pmd(struct page *page, long *ret_mapped)
{
	bool first = atomic_inc_and_test(compound_mapcount_ptr(page));
	int sum;

	*ret_mapped = 0;
	if (first) {
		sum = nr_pages_mapped_add(page, COMPOUND_MAPPED);
		/* Else somebody has taken the last PMD mapping away and not yet said so: nothing was unmapped, then. */
		if (likely(sum < 2 * COMPOUND_MAPPED))
			*ret_mapped = thp_nr_pages(page) - (sum & (COMPOUND_MAPPED - 1));
	}
	return first;
}

static bool uncount_pmd(struct page *page, long *ret_unmapped)
{
	bool last = atomic_add_negative(-1, compound_mapcount_ptr(page));
	int sum;

	*ret_unmapped = 0;
	if (last) {
		sum = nr_pages_mapped_add(page, -COMPOUND_MAPPED);
		if (likely(sum < COMPOUND_MAPPED))
			*ret_unmapped = thp_nr_pages(page) - sum;
	}
	return last;
}

void page_add_anon_rmap(struct page *page, struct vm_area_struct *vma, u64 addr, unsigned int flags)
{
	bool compound = flags & RMAP_COMPOUND;
	bool first;
	long nr;

	if (compound) {
		first = count_pmd(page, &nr);
		if (first)
			account_thps(page, thp_nr_pages(page));
	} else {
		first = count_pte(page, &nr) && nr;
	}
	if (nr)
		account_anon(page, nr);
	VM_BUG_ON_PAGE(!first && (flags & RMAP_EXCLUSIVE), page);
	if (first)
		set_anon_rmap(page, vma, addr, flags & RMAP_EXCLUSIVE);
	mlock_vma_page(page, vma, compound);
}

void page_add_file_rmap(struct page *page, struct vm_area_struct *vma, bool compound)
{
	long nr;

	if (!compound)
		count_pte(page, &nr);
	else if (count_pmd(page, &nr) && PageSwapBacked(page))
		__mod_node_page_state(page_to_nid(page), NR_SHMEM_PMDMAPPED, thp_nr_pages(page));
	if (nr)
		__mod_node_page_state(page_to_nid(page), NR_FILE_MAPPED, nr);
	mlock_vma_page(page, vma, compound);
}

static void remove_file_rmap(struct page *page, bool compound)
{
	long nr;

	if (!compound)
		uncount_pte(page, &nr);
	else if (uncount_pmd(page, &nr) && PageSwapBacked(page))
		__mod_node_page_state(page_to_nid(page), NR_SHMEM_PMDMAPPED, -thp_nr_pages(page));
	if (nr)
		__mod_node_page_state(page_to_nid(page), NR_FILE_MAPPED, -nr);
}

static void remove_anon_rmap(struct page *page, bool compound)
{
	long nr;

	if (!compound) {
		if (!uncount_pte(page, &nr))
			return;
		if (nr)
			account_anon(page, -1);
		if (PageTransCompound(page) && !(!nr && PageDoubleMap(compound_head(page))))
			deferred_split_huge_page(compound_head(page));
		return;
	}
	if (!uncount_pmd(page, &nr))
		return;
	account_thps(page, -thp_nr_pages(page));
	if (nr)
		account_anon(page, -nr);
	if (TestClearPageDoubleMap(page) && nr && nr < thp_nr_pages(page))
		deferred_split_huge_page(page);
}

void page_remove_rmap(struct page *page, struct vm_area_struct *vma, bool compound)
{
	if (PageAnon(page))
		remove_anon_rmap(page, compound);
	else
		remove_file_rmap(page, compound);
	munlock_vma_page(page, vma, compound);
}

int page_try_dup_anon_rmap(struct page *page, bool compound)
{
	VM_BUG_ON_PAGE(!PageAnon(page), page);
	/* What is exclusive and pinned must stay the owner's: the device writes there. */
	if (PageAnonExclusive(page)) {
		if (page_maybe_dma_pinned(page))
			return -EBUSY;
		ClearPageAnonExclusive(page);
	}
	if (compound)
		atomic_inc(compound_mapcount_ptr(page));
	else
		atomic_inc(&page->_mapcount);
	return 0;
}

int page_try_share_anon_rmap(struct page *page)
{
	VM_BUG_ON_PAGE(!PageAnon(page) || !PageAnonExclusive(page), page);
	/* The entry is gone and flushed: whoever pins from now on takes the slow path and sees the page shared. */
	if (page_maybe_dma_pinned(page))
		return -EBUSY;
	ClearPageAnonExclusive(page);
	return 0;
}

void page_move_anon_rmap(struct page *page, struct vm_area_struct *vma)
{
	struct page *head = compound_head(page);

	VM_BUG_ON_PAGE(!PageLocked(head), page);
	WRITE_ONCE(head->mapping, (struct address_space *)((unsigned long)vma->anon_vma | PAGE_MAPPING_ANON));
	SetPageAnonExclusive(page);
}

/* ---- one page in one VMA */

static u64 vma_pgoff_address(pgoff_t pgoff, unsigned int nr_pages, const struct vm_area_struct *vma)
{
	u64 addr;

	if (pgoff >= vma->vm_pgoff) {
		addr = vma->vm_start + ((pgoff - vma->vm_pgoff) << PAGE_SHIFT);
		return addr < vma->vm_start || addr >= vma->vm_end ? U64_MAX : addr;
	}
	/* The head lies before the VMA, a tail may lie in it. */
	if (pgoff + nr_pages - 1 >= vma->vm_pgoff)
		return vma->vm_start;
	return U64_MAX;
}

/* Offset of this very page of a compound one. */
static pgoff_t page_offset_of(struct page *page)
{
	struct page *head = compound_head(page);

	return head->index + (pgoff_t)(page - head);
}

u64 vma_address(struct page *page, struct vm_area_struct *vma)
{
	return vma_pgoff_address(page_offset_of(page), PageHead(page) ? compound_nr(page) : 1, vma);
}

void page_vma_mapped_walk_init(struct page_vma_mapped_walk *walk, struct page *page, struct vm_area_struct *vma,
			       u64 address, unsigned int flags)
{
	*walk = (struct page_vma_mapped_walk){
		.pfn = page_to_pfn(page),
		.nr_pages = PageHead(page) ? compound_nr(page) : 1,
		.pgoff = page_offset_of(page),
		.vma = vma,
		.address = address,
		.flags = flags,
	};
}

void page_vma_mapped_walk_done(struct page_vma_mapped_walk *walk)
{
	if (walk->ptl)
		spin_unlock(walk->ptl);
	walk->ptl = NULL;
	walk->pte = NULL;
}

/* First address after the part of the VMA that the page may be mapped in. */
static u64 walk_end(const struct page_vma_mapped_walk *walk)
{
	const struct vm_area_struct *vma = walk->vma;
	u64 end = vma->vm_start + ((walk->pgoff + walk->nr_pages - vma->vm_pgoff) << PAGE_SHIFT);

	return end < vma->vm_start || end > vma->vm_end ? vma->vm_end : end;
}

static bool pfn_in_walk(const struct page_vma_mapped_walk *walk, pfn_t pfn)
{
	return pfn - walk->pfn < walk->nr_pages;
}

static bool check_pte(const struct page_vma_mapped_walk *walk)
{
	pte_t pte = *walk->pte;

	if (walk->flags & PVMW_MIGRATION)
		return is_pte_migration_entry(pte) && pfn_in_walk(walk, swp_offset(pte_to_swp_entry(pte)));
	return pte_present(pte) && !pte_special(pte) && pfn_in_walk(walk, pte_pfn(pte));
}

static bool check_pmd(const struct page_vma_mapped_walk *walk, pmd_t pmd)
{
	pfn_t pfn, nr = hpage_pmd_nr(&walk->vma->vm_mm->pt);

	if (walk->flags & PVMW_MIGRATION) {
		if (!is_pmd_migration_entry(pmd))
			return false;
		pfn = swp_offset(pmd_to_swp_entry(pmd));
	} else {
		if (!pmd_trans_huge(pmd) || pmd_special(pmd))
			return false;
		pfn = pmd_pfn(pmd);
	}
	return pfn + nr > walk->pfn && pfn < walk->pfn + walk->nr_pages;
}

/* Could the PTE matter? A cheap look without the lock, unless the caller must not miss an entry in flight. */
static bool worth_locking(const struct page_vma_mapped_walk *walk, const pte_t *pte)
{
	pte_t entry = ptep_get(pte);

	if (walk->flags & PVMW_SYNC)
		return true;
	if (walk->flags & PVMW_MIGRATION)
		return is_swap_pte(entry);
	return !pte_none(entry);
}

bool page_vma_mapped_walk(struct page_vma_mapped_walk *walk)
{
	struct mm_struct *mm = walk->vma->vm_mm;
	u64 end = walk_end(walk);

	/* A PMD that maps the page whole is the only entry there is. */
	if (walk->pmd && !walk->pte) {
		page_vma_mapped_walk_done(walk);
		return false;
	}
	if (walk->pte)
		goto next_pte;

	while (walk->address < end) {
		pmd_t pmd;

		walk->pmd = pmd_find(&mm->pt, walk->address);
		if (!walk->pmd)
			goto next_table;
		pmd = pmdp_get(walk->pmd);
		if (pmd_leaf_or_swap(pmd)) {
			walk->ptl = pmd_lock(&mm->pt, walk->pmd);
			pmd = *walk->pmd;
			if (likely(pmd_leaf_or_swap(pmd))) {
				if (check_pmd(walk, pmd))
					return true;
				page_vma_mapped_walk_done(walk);
				goto next_table;
			}
			/* Split under us: go on with its PTEs. */
			page_vma_mapped_walk_done(walk);
		}
		if (!pmd_table(pmd)) {
			/*
			 * Nothing here now. A racing zap of the huge PMD may have cleared it and not yet dropped the mapcount: with
			 * PVMW_SYNC wait for it by passing through its lock.
			 */
			if ((walk->flags & PVMW_SYNC) && walk->nr_pages >= hpage_pmd_nr(&mm->pt)) {
				spinlock_t *ptl = pmd_lock(&mm->pt, walk->pmd);

				spin_unlock(ptl);
			}
			goto next_table;
		}
		walk->pte = pte_offset_map(&mm->pt, pmd, walk->address);
		for (;;) {
			if (!walk->ptl && worth_locking(walk, walk->pte)) {
				walk->ptl = pte_lockptr(&mm->pt, pmd);
				spin_lock(walk->ptl);
			}
			if (walk->ptl && check_pte(walk))
				return true;
		next_pte:
			walk->address += PAGE_SIZE;
			if (walk->address >= end) {
				page_vma_mapped_walk_done(walk);
				return false;
			}
			if (!(walk->address & ~pmd_mask(&mm->pt))) {
				page_vma_mapped_walk_done(walk);
				break;
			}
			walk->pte++;
			pmd = *walk->pmd;
		}
		continue;
	next_table:
		walk->pmd = NULL;
		walk->address = pmd_addr_end(&mm->pt, walk->address, end);
	}
	return false;
}

/* ---- all VMAs of a page */

static bool visit(struct page *page, struct vm_area_struct *vma, struct rmap_walk_control *control)
{
	u64 addr = vma_address(page, vma);

	if (addr == U64_MAX)
		return true;
	ps_charge_work(this_machine()->costs.rmap_step_ns);
	if (!control->rmap_one(page, vma, addr, control->arg))
		return false;
	return !control->done || !control->done(page);
}

static void rmap_walk_anon(struct page *page, struct rmap_walk_control *control, bool locked)
{
	unsigned long word = (unsigned long)READ_ONCE(compound_head(page)->mapping);
	struct interval_tree_node *node;
	struct anon_vma *anon_vma;
	pgoff_t first = page_offset_of(page), last = first + (PageHead(page) ? compound_nr(page) : 1) - 1;

	VM_BUG_ON_PAGE((word & PAGE_MAPPING_FLAGS) != PAGE_MAPPING_ANON, page);
	anon_vma = (struct anon_vma *)(word - PAGE_MAPPING_ANON);
	if (!locked)
		anon_vma_lock_read(anon_vma);
	interval_tree_foreach(node, &anon_vma->rb_root, first, last)
	{
		struct anon_vma_chain *avc = container_of(node, struct anon_vma_chain, rb);

		if (!visit(page, avc->vma, control))
			break;
	}
	if (!locked)
		anon_vma_unlock_read(anon_vma);
}

static void rmap_walk_file(struct page *page, struct rmap_walk_control *control, bool locked)
{
	struct address_space *mapping = page_mapping(page);
	struct interval_tree_node *node;
	pgoff_t first = page_to_pgoff(page), last = first + (PageHead(page) ? compound_nr(page) : 1) - 1;

	if (!mapping)
		return;
	if (!locked)
		i_mmap_lock_read(mapping);
	interval_tree_foreach(node, &mapping->i_mmap, first, last)
	{
		struct vm_area_struct *vma = container_of(node, struct vm_area_struct, shared);

		if (!visit(page, vma, control))
			break;
	}
	if (!locked)
		i_mmap_unlock_read(mapping);
}

static void walk(struct page *page, struct rmap_walk_control *control, bool locked)
{
	if (PageAnon(page))
		rmap_walk_anon(page, control, locked);
	else
		rmap_walk_file(page, control, locked);
}

void rmap_walk(struct page *page, struct rmap_walk_control *control)
{
	walk(page, control, false);
}

void rmap_walk_locked(struct page *page, struct rmap_walk_control *control)
{
	walk(page, control, true);
}

/* ---- who used it, who may write it */

struct referenced_arg {
	int referenced;
	u64 vm_flags;
};

static bool referenced_one(struct page *page, struct vm_area_struct *vma, u64 addr, void *opaque)
{
	struct referenced_arg *arg = opaque;
	struct page_vma_mapped_walk walk;
	int referenced = 0;

	page_vma_mapped_walk_init(&walk, page, vma, addr, 0);
	while (page_vma_mapped_walk(&walk)) {
		if (vma->vm_flags & VM_LOCKED) {
			page_vma_mapped_walk_done(&walk);
			arg->vm_flags |= VM_LOCKED;
			return false;
		}
		/* The TLB is not flushed for this: a stale accessed bit costs accuracy, not correctness. */
		if (walk.pte) {
			referenced += ptep_test_and_clear_young(walk.pte);
		} else {
			referenced += pmdp_test_and_clear_young(walk.pmd);
		}
	}
	if (referenced) {
		arg->referenced++;
		arg->vm_flags |= vma->vm_flags;
	}
	return true;
}

int page_referenced(struct page *page, u64 *ret_flags)
{
	struct referenced_arg arg = { 0 };
	struct rmap_walk_control control = { .arg = &arg, .rmap_one = referenced_one };

	*ret_flags = 0;
	if (!page_mapped(page) || !compound_head(page)->mapping)
		return 0;
	rmap_walk(page, &control);
	*ret_flags = arg.vm_flags;
	return arg.referenced;
}

static bool mkclean_one(struct page *page, struct vm_area_struct *vma, u64 addr, void *opaque)
{
	struct page_vma_mapped_walk walk;
	int *cleaned = opaque;

	if (!(vma->vm_flags & VM_SHARED))
		return true;
	page_vma_mapped_walk_init(&walk, page, vma, addr, PVMW_SYNC);
	while (page_vma_mapped_walk(&walk)) {
		if (walk.pte) {
			pte_t entry = *walk.pte;

			if (!pte_dirty(entry) && !pte_write(entry))
				continue;
			entry = ptep_get_and_clear(walk.pte);
			flush_tlb_page(&vma->vm_mm->pt, walk.address);
			set_pte_at(walk.pte, pte_mkclean(pte_wrprotect(entry)));
		} else {
			pmd_t entry = *walk.pmd;

			if (!pmd_dirty(entry) && !pmd_write(entry))
				continue;
			entry = pmdp_invalidate(walk.pmd);
			flush_tlb_range(&vma->vm_mm->pt, walk.address, walk.address + pmd_size(&vma->vm_mm->pt));
			set_pmd_at(walk.pmd, pmd_mkclean(pmd_wrprotect(entry)));
		}
		(*cleaned)++;
	}
	return true;
}

int page_mkclean(struct page *page)
{
	int cleaned = 0;
	struct rmap_walk_control control = { .arg = &cleaned, .rmap_one = mkclean_one };

	VM_BUG_ON_PAGE(!PageLocked(page), page);
	if (page_mapped(page) && page_mapping(page))
		rmap_walk(page, &control);
	return cleaned;
}

/* ---- unmapping */

/*
 * An anonymous page's entry is gone and flushed; what takes its place? A lazily freed page that nobody wrote to leaves
 * nothing; every other one its swap entry. Return: false: neither may be, the entry is back.
 */
static bool unmap_anon(struct page_vma_mapped_walk *walk, struct page *page, struct page *subpage, pte_t pte,
		       bool exclusive)
{
	struct mm_struct *mm = walk->vma->vm_mm;
	swp_entry_t entry = page_swap_entry(subpage);
	pte_t swp;

	if (!PageSwapBacked(page)) {
		int refs, maps;

		smp_mb(); /* pairs with get_user_pages: it takes its reference, then looks at the entry again */
		refs = page_ref_count(page);
		maps = total_mapcount(page);
		smp_rmb(); /* who dirtied the page through a reference has dropped it after that */
		if (refs == 1 + maps && !PageDirty(page)) {
			add_mm_counter(mm, MM_ANONPAGES, -1);
			return true;
		}
		/* Somebody wrote to it: it is wanted again. */
		SetPageSwapBacked(page);
		goto put_back;
	}
	if (swap_duplicate(entry))
		goto put_back;
	if (exclusive && page_try_share_anon_rmap(subpage)) {
		swap_free(entry);
		goto put_back;
	}
	add_mm_counter(mm, MM_ANONPAGES, -1);
	add_mm_counter(mm, MM_SWAPENTS, 1);
	swp = swp_entry_to_pte(entry);
	if (exclusive)
		swp = pte_swp_mkexclusive(swp);
	if (pte_soft_dirty(pte))
		swp = pte_swp_mksoft_dirty(swp);
	set_pte_at(walk->pte, swp);
	return true;

put_back:
	set_pte_at(walk->pte, pte);
	return false;
}

static bool unmap_one(struct page *page, struct vm_area_struct *vma, u64 addr, void *opaque)
{
	unsigned int flags = *(unsigned int *)opaque;
	struct mm_struct *mm = vma->vm_mm;
	struct page_vma_mapped_walk walk;

	if (flags & TTU_SPLIT_HUGE_PMD)
		split_huge_pmd_address(vma, addr, false, page);
	page_vma_mapped_walk_init(&walk, page, vma, addr, flags & TTU_SYNC ? PVMW_SYNC : 0);
	while (page_vma_mapped_walk(&walk)) {
		struct page *subpage;
		bool exclusive;
		pte_t pte;

		VM_BUG_ON(!walk.pte);
		if (unlikely(vma->vm_flags & VM_LOCKED) && !(flags & TTU_IGNORE_MLOCK)) {
			/* It was missed when it was mapped. Reclaim leaves it alone from now on. */
			mlock_vma_page(page, vma, false);
			page_vma_mapped_walk_done(&walk);
			return false;
		}
		subpage = pfn_to_page(pte_pfn(*walk.pte));
		exclusive = PageAnon(page) && PageAnonExclusive(subpage);
		pte = ptep_get_and_clear(walk.pte);
		flush_tlb_page(&mm->pt, walk.address);
		if (pte_dirty(pte))
			set_page_dirty(page);
		if (!PageAnon(page)) {
			add_mm_counter(mm, PageSwapBacked(page) ? MM_SHMEMPAGES : MM_FILEPAGES, -1);
		} else if (!unmap_anon(&walk, page, subpage, pte, exclusive)) {
			page_vma_mapped_walk_done(&walk);
			return false;
		}
		page_remove_rmap(subpage, vma, false);
		if (unlikely(vma->vm_flags & VM_LOCKED))
			mlock_page_drain_local();
		put_page(page);
	}
	return true;
}

static int not_mapped(struct page *page)
{
	return !page_mapped(page);
}

void try_to_unmap(struct page *page, unsigned int flags)
{
	struct rmap_walk_control control = { .arg = &flags, .rmap_one = unmap_one, .done = not_mapped };

	VM_BUG_ON_PAGE(!PageLocked(page), page);
	VM_BUG_ON_PAGE(PageAnon(page) && PageSwapBacked(page) && !PageSwapCache(page), page);
	walk(page, &control, flags & TTU_RMAP_LOCKED);
}

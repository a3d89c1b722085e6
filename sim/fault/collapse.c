/* SPDX-License-Identifier: MIT */
/*
 * Collapse of anonymous memory, and who drives collapse.
 *
 *    1. scan       look at every PTE under its lock: is it worth it, and where do most of the pages lie?
 *    2. allocate   the huge page, without mmap_lock: this may take long
 *    3. swap in    what is not there, under mmap_lock for reading
 *    4. detach     mmap_lock for writing, the anon_vma for writing: no fault, no rmap walk. Then the table is taken out of the
 *                  PMD and the TLBs are flushed: no CPU reaches the pages, and a GUP without locks finds none
 *    5. isolate    each page: locked (tried), its references explained by its mappings alone, off its LRU. From here on the
 *                  page locks keep rmap away, and the anon_vma is let go
 *    6. copy       page by page into the huge page; the small page loses its mapping and its reference
 *    7. attach     the huge PMD, with the old table deposited behind it
 *
 * Nothing is frozen: in 5 nobody but the mappings has a reference, and with the entries out of reach nobody can get one.
 * A failure in 5 puts the table back as it was; 6 cannot fail.
 *
 * Locking: mmap_lock ⊃ anon_vma root ⊃ PMD lock, PTE lock; page locks are tried only, under the PTE lock.
 * Source: the behaviour of Linux 6.1's mm/khugepaged.c.
 */
#include "fault/collapse.h"

#include <string.h>

#include <pagesim/address_space.h>
#include <pagesim/alloc.h>
#include <pagesim/bug.h>
#include <pagesim/compound.h>
#include <pagesim/contents.h>
#include <pagesim/fault.h>
#include <pagesim/gfp.h>
#include <pagesim/inode.h>
#include <pagesim/lru.h>
#include <pagesim/machine.h>
#include <pagesim/page_alloc.h>
#include <pagesim/page_flags.h>
#include <pagesim/page_lock.h>
#include <pagesim/page_mapcount.h>
#include <pagesim/page_ref.h>
#include <pagesim/rmap.h>
#include <pagesim/runtime.h>
#include <pagesim/swap_cache.h>
#include <pagesim/vmstat.h>

#include "fault/vm_fault.h"

static const char *const result_names[NR_SCAN_RESULTS] = {
	[SCAN_FAIL] = "failed",
	[SCAN_SUCCEED] = "succeeded",
	[SCAN_PMD_NULL] = "pmd_null",
	[SCAN_PMD_NONE] = "pmd_none",
	[SCAN_PMD_MAPPED] = "page_pmd_mapped",
	[SCAN_EXCEED_NONE_PTE] = "exceed_none_pte",
	[SCAN_EXCEED_SWAP_PTE] = "exceed_swap_pte",
	[SCAN_EXCEED_SHARED_PTE] = "exceed_shared_pte",
	[SCAN_PTE_NON_PRESENT] = "pte_non_present",
	[SCAN_PTE_MAPPED_HUGEPAGE] = "pte_mapped_hugepage",
	[SCAN_PAGE_RO] = "no_writable_page",
	[SCAN_LACK_REFERENCED_PAGE] = "lack_referenced_page",
	[SCAN_PAGE_NULL] = "page_null",
	[SCAN_PAGE_COUNT] = "not_suitable_page_count",
	[SCAN_PAGE_LRU] = "page_not_in_lru",
	[SCAN_PAGE_LOCK] = "page_locked",
	[SCAN_PAGE_ANON] = "page_not_anon",
	[SCAN_PAGE_COMPOUND] = "page_compound",
	[SCAN_ANY_PROCESS] = "no_process_for_page",
	[SCAN_VMA_NULL] = "vma_null",
	[SCAN_VMA_CHECK] = "vma_check_failed",
	[SCAN_ADDRESS_RANGE] = "not_suitable_address_range",
	[SCAN_DEL_PAGE_LRU] = "could_not_delete_page_from_lru",
	[SCAN_ALLOC_HUGE_PAGE_FAIL] = "alloc_huge_page_failed",
	[SCAN_TRUNCATED] = "truncated",
	[SCAN_PAGE_HAS_PRIVATE] = "page_has_private",
};

const char *ps_scan_result_name(enum scan_result result)
{
	return (unsigned int)result < NR_SCAN_RESULTS ? result_names[result] : "?";
}

/* ---- shared with the file's half */

void collapse_scan_begin(struct collapse_control *cc)
{
	memset(cc->node_load, 0, sizeof(cc->node_load));
	nodes_clear(cc->alloc_nmask);
}

/* The first of the nodes that most of the pages are on; all of those may give the huge page. */
static nid_t find_target_node(struct collapse_control *cc)
{
	nid_t nid, target = 0;
	u32 most = 0;

	for (nid = 0; nid < MAX_NUMNODES; nid++) {
		if (cc->node_load[nid] > most) {
			most = cc->node_load[nid];
			target = nid;
		}
	}
	for_each_node_mask(nid, this_machine()->memory_nodes)
	{
		if (cc->node_load[nid] == most)
			node_set(nid, cc->alloc_nmask);
	}
	return node_isset(target, cc->alloc_nmask) ? target : first_node(cc->alloc_nmask);
}

/* khugepaged tries as hard as khugepaged/defrag lets it, which is on unless switched off. */
struct page *collapse_alloc_page(struct collapse_control *cc)
{
	nid_t nid = find_target_node(cc);
	struct page *page;

	ps_charge(this_machine()->costs.alloc_huge_ns, PS_TIME_SYSCALL);
	page = __alloc_pages(GFP_TRANSHUGE, HPAGE_PMD_ORDER, nid, &cc->alloc_nmask);
	if (!page) {
		count_vm_event(THP_COLLAPSE_ALLOC_FAILED);
		return NULL;
	}
	prep_transhuge_page(page);
	count_vm_event(THP_COLLAPSE_ALLOC);
	return page;
}

void collapse_copy_page(struct page *dst, struct page *src)
{
	struct ps_machine *machine = this_machine();
	nid_t to = page_to_nid(dst);

	if (src) {
		copy_highpage(dst, src);
		ps_charge(ps_copy_ns(machine, numa_node_id(), page_to_nid(src), to, PAGE_SIZE), PS_TIME_COPY);
		ps_node_read(machine, page_to_nid(src), PAGE_SIZE);
	} else {
		clear_highpage(dst);
		ps_charge(ps_zero_ns(machine, numa_node_id(), to, PAGE_SIZE), PS_TIME_COPY);
	}
	ps_node_written(machine, to, PAGE_SIZE);
}

enum scan_result find_pmd_or_thp_or_none(struct mm_struct *mm, u64 addr, pmd_t **ret_pmd)
{
	pmd_t entry;

	*ret_pmd = pmd_find(&mm->pt, addr);
	if (!*ret_pmd)
		return SCAN_PMD_NULL;
	entry = pmdp_get(*ret_pmd);
	if (pmd_none(entry))
		return SCAN_PMD_NONE;
	if (pmd_trans_huge(entry))
		return SCAN_PMD_MAPPED;
	return pmd_table(entry) ? SCAN_SUCCEED : SCAN_PMD_NULL;
}

/*
 * The lock was released: is the VMA still there and still fit?
 * Return: SCAN_SUCCEED with the VMA in *ret_vma. Context: mmap_lock.
 */
static enum scan_result hugepage_vma_revalidate(struct mm_struct *mm, u64 addr, bool expect_anon,
						const struct collapse_control *cc, struct vm_area_struct **ret_vma)
{
	struct vm_area_struct *vma = find_vma(mm, addr);

	if (!vma)
		return SCAN_VMA_NULL;
	if (!transhuge_vma_suitable(vma, addr))
		return SCAN_ADDRESS_RANGE;
	if (!hugepage_vma_check(vma, false, cc->is_khugepaged))
		return SCAN_VMA_CHECK;
	if (expect_anon && (!vma->anon_vma || !vma_is_anonymous(vma)))
		return SCAN_PAGE_ANON;
	*ret_vma = vma;
	return SCAN_SUCCEED;
}

/* ---- anonymous memory */

/* Does nobody but the mappings, and the swap cache, have a reference? Of the whole of a compound page. */
static bool is_refcount_suitable(struct page *head)
{
	int expected = total_mapcount(head);

	if (PageSwapCache(head))
		expected += (int)compound_nr(head);
	return page_count(head) == expected;
}

/* One of the limits khugepaged keeps to. Return: true if this one more is too many; counted. */
static bool exceeds(const struct collapse_control *cc, unsigned int seen, unsigned int limit, enum vm_event_item event)
{
	if (!cc->is_khugepaged || seen <= limit)
		return false;
	count_vm_event(event);
	return true;
}

/* @sign: 1 taken off the LRU, -1 given back. */
static void count_isolated(struct page *page, long sign)
{
	__mod_node_page_state(page_to_nid(page), page_is_file_lru(page) ? NR_ISOLATED_FILE : NR_ISOLATED_ANON,
			      sign * thp_nr_pages(page));
}

static void release_pte_page(struct page *page)
{
	count_isolated(page, -1);
	unlock_page(page);
	putback_lru_page(page);
}

/* Gives back what __collapse_huge_page_isolate had taken of the PTEs before `end`. */
static void release_pte_pages(pte_t *pte, pte_t *end, struct list_head *compound_pages)
{
	struct page *page, *next;

	for (; pte < end; pte++) {
		page = vm_normal_page(*pte);
		if (page && !PageCompound(page))
			release_pte_page(page);
	}
	list_for_each_entry_safe(page, next, compound_pages, lru) {
		list_del(&page->lru);
		release_pte_page(page);
	}
}

/* Locks and isolates one page of the table. Context: PTE lock. */
static enum scan_result isolate_pte_page(struct page *page, struct list_head *compound_pages)
{
	bool compound = PageCompound(page);
	struct page *seen;

	page = compound_head(page);
	if (compound)
		list_for_each_entry(seen, compound_pages, lru) {
			if (seen == page)
				return SCAN_SUCCEED;
		}
	/* The lock keeps a split of a huge page away that this mapping belongs to. */
	if (!trylock_page(page))
		return SCAN_PAGE_LOCK;
	/* The table is out of reach, so whoever wants a reference now has to have had one already. */
	if (!is_refcount_suitable(page)) {
		unlock_page(page);
		return SCAN_PAGE_COUNT;
	}
	if (isolate_lru_page(page)) {
		unlock_page(page);
		return SCAN_DEL_PAGE_LRU;
	}
	count_isolated(page, 1);
	if (compound)
		list_add_tail(&page->lru, compound_pages);
	return SCAN_SUCCEED;
}

/* Step 5. Context: the table is detached, its lock held. On failure nothing is isolated. */
static enum scan_result __collapse_huge_page_isolate(struct page_tables *pt, pte_t *table, struct collapse_control *cc,
						     struct list_head *compound_pages)
{
	const struct ps_faults *faults = this_machine()->faults;
	unsigned int none = 0, shared = 0, referenced = 0;
	enum scan_result result;
	bool writable = false;
	pte_t *pte;

	for (pte = table; pte < table + hpage_pmd_nr(pt); pte++) {
		struct page *page;

		if (pte_none(*pte) || is_zero_pte(*pte)) {
			result = SCAN_EXCEED_NONE_PTE;
			if (exceeds(cc, ++none, faults->khugepaged.max_ptes_none, THP_SCAN_EXCEED_NONE_PTE))
				goto out;
			continue;
		}
		result = SCAN_PTE_NON_PRESENT;
		if (!pte_present(*pte))
			goto out;
		page = vm_normal_page(*pte);
		result = SCAN_PAGE_NULL;
		if (!page)
			goto out;
		VM_BUG_ON_PAGE(!PageAnon(page), page);
		result = SCAN_EXCEED_SHARED_PTE;
		if (page_mapcount(page) > 1 &&
		    exceeds(cc, ++shared, faults->khugepaged.max_ptes_shared, THP_SCAN_EXCEED_SHARED_PTE))
			goto out;
		result = isolate_pte_page(page, compound_pages);
		if (result != SCAN_SUCCEED)
			goto out;
		referenced += pte_young(*pte) || PageReferenced(page);
		writable |= pte_write(*pte);
	}
	result = SCAN_PAGE_RO;
	if (!writable)
		goto out;
	result = SCAN_LACK_REFERENCED_PAGE;
	if (cc->is_khugepaged && !referenced)
		goto out;
	return SCAN_SUCCEED;
out:
	release_pte_pages(table, pte, compound_pages);
	return result;
}

/* Step 6. Context: the table is detached, its pages are locked and isolated; takes its lock. Leaves it empty. */
static void __collapse_huge_page_copy(struct vm_area_struct *vma, pte_t *table, spinlock_t *ptl, struct page *hpage,
				      struct list_head *compound_pages)
{
	struct page *page, *next;
	unsigned int i, nr = hpage_pmd_nr(&vma->vm_mm->pt);

	for (i = 0; i < nr; i++) {
		page = vm_normal_page(table[i]);
		if (!page) {
			collapse_copy_page(hpage + i, NULL);
			add_mm_counter(vma->vm_mm, MM_ANONPAGES, 1);
			if (!pte_none(table[i])) {
				spin_lock(ptl);
				ptep_get_and_clear(&table[i]);
				spin_unlock(ptl);
			}
			continue;
		}
		collapse_copy_page(hpage + i, page);
		if (!PageCompound(page))
			release_pte_page(page);
		spin_lock(ptl);
		ptep_get_and_clear(&table[i]);
		page_remove_rmap(page, vma, false);
		spin_unlock(ptl);
		free_page_and_swap_cache(page);
	}
	list_for_each_entry_safe(page, next, compound_pages, lru) {
		list_del(&page->lru);
		count_isolated(page, -1);
		unlock_page(page);
		free_swap_cache(page);
		putback_lru_page(page);
	}
}

/*
 * Brings back what is in swap, and waits for what is being migrated.
 * Context: mmap_lock for reading. Return: SCAN_SUCCEED, SCAN_FAIL.
 */
static enum scan_result __collapse_huge_page_swapin(struct vm_area_struct *vma, u64 haddr, pmd_t *pmd)
{
	struct page_tables *pt = &vma->vm_mm->pt;
	u64 addr, end = haddr + pmd_size(pt);
	bool swapped_in = false;

	for (addr = haddr; addr < end; addr += PAGE_SIZE) {
		pmd_t entry = pmdp_get(pmd);

		if (!pmd_table(entry) || !is_swap_pte(ptep_get(pte_offset_map(pt, entry, addr))))
			continue;
		if (handle_mm_fault(vma, addr, 0) & VM_FAULT_ERROR)
			return SCAN_FAIL;
		swapped_in = true;
	}
	/* Pages just read in are held by the batch that will put them on the LRU. */
	if (swapped_in)
		lru_add_drain();
	return SCAN_SUCCEED;
}

/* Steps 4 to 7. Context: mmap_lock for writing. Return: SCAN_SUCCEED: the huge page is mapped and the caller's no more. */
static enum scan_result collapse_under_write_lock(struct vm_area_struct *vma, u64 addr, pmd_t *pmd, struct page *hpage,
						  struct collapse_control *cc)
{
	struct page_tables *pt = &vma->vm_mm->pt;
	spinlock_t *pmd_ptl, *pte_ptl;
	LIST_HEAD(compound_pages);
	enum scan_result result;
	pmd_t entry, table_pmd;
	pte_t *table;

	anon_vma_lock_write(vma->anon_vma);
	pmd_ptl = pmd_lock(pt, pmd);
	table_pmd = pmdp_get_and_clear(pmd);
	flush_tlb_range(pt, addr, addr + pmd_size(pt));
	spin_unlock(pmd_ptl);
	table = pmd_pte_table(table_pmd);

	pte_ptl = pte_lockptr(pt, table_pmd);
	spin_lock(pte_ptl);
	result = __collapse_huge_page_isolate(pt, table, cc, &compound_pages);
	spin_unlock(pte_ptl);
	if (result != SCAN_SUCCEED) {
		spin_lock(pmd_ptl);
		BUG_ON(!pmd_none(*pmd));
		pmd_populate(pt, pmd, table);
		spin_unlock(pmd_ptl);
		anon_vma_unlock_write(vma->anon_vma);
		return result;
	}
	anon_vma_unlock_write(vma->anon_vma);

	__collapse_huge_page_copy(vma, table, pte_ptl, hpage, &compound_pages);
	__SetPageUptodate(hpage);
	entry = pmd_mkdirty(pfn_pmd_huge(page_to_pfn(hpage), vma->vm_page_prot));
	if (vma->vm_flags & VM_WRITE)
		entry = pmd_mkwrite(entry);

	spin_lock(pmd_ptl);
	BUG_ON(!pmd_none(*pmd));
	page_add_new_anon_rmap(hpage, vma, addr, true);
	lru_cache_add_inactive_or_unevictable(hpage, vma->vm_flags & VM_LOCKED);
	pgtable_trans_huge_deposit(pt, pmd, table);
	set_pmd_at(pmd, entry);
	spin_unlock(pmd_ptl);
	return SCAN_SUCCEED;
}

/* Steps 2 to 7. Context: mmap_lock for reading, released. */
static enum scan_result collapse_huge_page(struct mm_struct *mm, u64 addr, unsigned int unmapped,
					   struct collapse_control *cc)
{
	struct vm_area_struct *vma;
	enum scan_result result;
	struct page *hpage;
	pmd_t *pmd, *now;

	mmap_read_unlock(mm);
	hpage = collapse_alloc_page(cc);
	if (!hpage)
		return SCAN_ALLOC_HUGE_PAGE_FAIL;

	mmap_read_lock(mm);
	result = hugepage_vma_revalidate(mm, addr, true, cc, &vma);
	if (result == SCAN_SUCCEED)
		result = find_pmd_or_thp_or_none(mm, addr, &pmd);
	if (result == SCAN_SUCCEED && unmapped)
		result = __collapse_huge_page_swapin(vma, addr, pmd);
	mmap_read_unlock(mm);
	if (result != SCAN_SUCCEED)
		goto out;

	mmap_write_lock(mm);
	result = hugepage_vma_revalidate(mm, addr, true, cc, &vma);
	if (result == SCAN_SUCCEED)
		result = find_pmd_or_thp_or_none(mm, addr, &now);
	/* A table that went and came again is another one. */
	if (result == SCAN_SUCCEED && now != pmd)
		result = SCAN_FAIL;
	if (result == SCAN_SUCCEED)
		result = collapse_under_write_lock(vma, addr, pmd, hpage, cc);
	mmap_write_unlock(mm);
	if (result == SCAN_SUCCEED)
		return result;
out:
	put_page(hpage);
	return result;
}

/* Step 1, one entry. Context: PTE lock. */
struct pmd_scan {
	unsigned int unmapped, none, shared, referenced;
	bool writable;
};

static enum scan_result scan_pte(pte_t pte, struct collapse_control *cc, struct pmd_scan *scan)
{
	const struct ps_faults *faults = this_machine()->faults;
	struct page *page;

	if (is_swap_pte(pte))
		return exceeds(cc, ++scan->unmapped, faults->khugepaged.max_ptes_swap, THP_SCAN_EXCEED_SWAP_PTE)
			       ? SCAN_EXCEED_SWAP_PTE
			       : SCAN_SUCCEED;
	if (pte_none(pte) || is_zero_pte(pte))
		return exceeds(cc, ++scan->none, faults->khugepaged.max_ptes_none, THP_SCAN_EXCEED_NONE_PTE)
			       ? SCAN_EXCEED_NONE_PTE
			       : SCAN_SUCCEED;
	scan->writable |= pte_write(pte);
	page = vm_normal_page(pte);
	if (!page)
		return SCAN_PAGE_NULL;
	if (page_mapcount(page) > 1 &&
	    exceeds(cc, ++scan->shared, faults->khugepaged.max_ptes_shared, THP_SCAN_EXCEED_SHARED_PTE))
		return SCAN_EXCEED_SHARED_PTE;
	page = compound_head(page);
	collapse_scan_note(cc, page_to_nid(page));
	if (!PageLRU(page))
		return SCAN_PAGE_LRU;
	if (PageLocked(page))
		return SCAN_PAGE_LOCK;
	if (!PageAnon(page))
		return SCAN_PAGE_ANON;
	/* Looked at again under the page lock; now it only saves the trouble. */
	if (!is_refcount_suitable(page))
		return SCAN_PAGE_COUNT;
	scan->referenced += pte_young(pte) || PageReferenced(page);
	return SCAN_SUCCEED;
}

/* All steps. Context: mmap_lock for reading; *mmap_locked tells whether it still is. */
static enum scan_result hpage_collapse_scan_pmd(struct vm_area_struct *vma, u64 addr, bool *mmap_locked,
						struct collapse_control *cc)
{
	struct mm_struct *mm = vma->vm_mm;
	struct page_tables *pt = &mm->pt;
	struct pmd_scan scan = { 0 };
	enum scan_result result;
	unsigned int i, nr = hpage_pmd_nr(pt);
	spinlock_t *ptl;
	pte_t *table;
	pmd_t *pmd;

	result = find_pmd_or_thp_or_none(mm, addr, &pmd);
	if (result != SCAN_SUCCEED)
		return result;
	collapse_scan_begin(cc);
	ps_charge((ps_ns_t)this_machine()->costs.scan_pte_ns * nr, PS_TIME_SCAN);
	table = pte_offset_map_lock(pt, pmd, addr, &ptl);
	for (i = 0; i < nr && result == SCAN_SUCCEED; i++)
		result = scan_pte(table[i], cc, &scan);
	if (result == SCAN_SUCCEED && !scan.writable)
		result = SCAN_PAGE_RO;
	if (result == SCAN_SUCCEED && cc->is_khugepaged &&
	    (!scan.referenced || (scan.unmapped && scan.referenced < nr / 2)))
		result = SCAN_LACK_REFERENCED_PAGE;
	pte_unmap_unlock(table, ptl);
	if (result == SCAN_SUCCEED) {
		*mmap_locked = false;
		result = collapse_huge_page(mm, addr, scan.unmapped, cc);
	}
	return result;
}

/* ---- who drives it */

/* One huge page's worth. Context: mmap_lock for reading; *mmap_locked tells whether it still is. */
static enum scan_result collapse_one(struct vm_area_struct *vma, u64 addr, bool *mmap_locked,
				     struct collapse_control *cc)
{
	struct mm_struct *mm = vma->vm_mm;
	enum scan_result result;
	struct inode *inode;
	pgoff_t pgoff;

	if (vma_is_anonymous(vma))
		return hpage_collapse_scan_pmd(vma, addr, mmap_locked, cc);
	inode = vma->vm_mapping->host;
	pgoff = linear_page_index(vma, addr);
	ihold(inode);
	mmap_read_unlock(mm);
	*mmap_locked = false;
	result = hpage_collapse_scan_file(mm, addr, inode->i_mapping, pgoff, cc);
	iput(inode);
	if (result == SCAN_PTE_MAPPED_HUGEPAGE) {
		mmap_write_lock(mm);
		result = collapse_pte_mapped_thp(mm, addr, !cc->is_khugepaged);
		mmap_write_unlock(mm);
	}
	return result;
}

/* What madvise says of the last failure: whether trying again may help. */
static int madvise_collapse_errno(enum scan_result result)
{
	switch (result) {
	case SCAN_ALLOC_HUGE_PAGE_FAIL:
		return -ENOMEM;
	case SCAN_PAGE_COUNT:
	case SCAN_PAGE_LOCK:
	case SCAN_PAGE_LRU:
	case SCAN_DEL_PAGE_LRU:
		return -EAGAIN;
	default:
		return -EINVAL;
	}
}

/* Failures that say nothing about the next huge page's worth. */
static bool may_go_on_after(enum scan_result result)
{
	switch (result) {
	case SCAN_PMD_NULL:
	case SCAN_PTE_NON_PRESENT:
	case SCAN_PAGE_RO:
	case SCAN_LACK_REFERENCED_PAGE:
	case SCAN_PAGE_NULL:
	case SCAN_PAGE_COUNT:
	case SCAN_PAGE_LOCK:
	case SCAN_PAGE_COMPOUND:
	case SCAN_PAGE_LRU:
	case SCAN_DEL_PAGE_LRU:
		return true;
	default:
		return false;
	}
}

int madvise_collapse(struct vm_area_struct *vma, u64 start, u64 end)
{
	struct mm_struct *mm = vma->vm_mm;
	enum scan_result last_fail = SCAN_FAIL;
	struct collapse_control *cc;
	u64 size = pmd_size(&mm->pt), thps = 0, hstart, hend, addr;
	bool mmap_locked = true;

	if (!hugepage_vma_check(vma, false, false))
		return -EINVAL;
	cc = ps_zalloc(sizeof(*cc));
	if (!cc)
		return -ENOMEM;
	lru_add_drain_all();
	hstart = (start + size - 1) & ~(size - 1);
	hend = end & ~(size - 1);
	for (addr = hstart; addr < hend; addr += size) {
		enum scan_result result;

		if (!mmap_locked) {
			cond_resched();
			mmap_read_lock(mm);
			mmap_locked = true;
			result = hugepage_vma_revalidate(mm, addr, false, cc, &vma);
			if (result != SCAN_SUCCEED) {
				last_fail = result;
				break;
			}
			hend = ps_min(hend, vma->vm_end & ~(size - 1));
		}
		result = collapse_one(vma, addr, &mmap_locked, cc);
		if (result == SCAN_SUCCEED || result == SCAN_PMD_MAPPED) {
			thps++;
			continue;
		}
		last_fail = result;
		if (!may_go_on_after(result))
			break;
	}
	if (!mmap_locked)
		mmap_read_lock(mm);
	ps_free(cc);
	/* A range that ends before its first huge page begins is none at all: there hend - hstart is no size. */
	return thps * size == hend - hstart ? 0 : madvise_collapse_errno(last_fail);
}

enum scan_result khugepaged_scan_range(struct mm_struct *mm, u64 addr)
{
	struct collapse_control *cc = ps_zalloc(sizeof(*cc));
	struct vm_area_struct *vma;
	enum scan_result result;
	bool mmap_locked = true;

	if (!cc)
		return SCAN_FAIL;
	cc->is_khugepaged = true;
	addr &= pmd_mask(&mm->pt);
	lru_add_drain_all();
	mmap_read_lock(mm);
	result = hugepage_vma_revalidate(mm, addr, false, cc, &vma);
	if (result == SCAN_SUCCEED)
		result = collapse_one(vma, addr, &mmap_locked, cc);
	if (mmap_locked)
		mmap_read_unlock(mm);
	ps_free(cc);
	return result;
}

/* SPDX-License-Identifier: MIT */
/*
 * fork: the child gets a copy of every VMA and, for memory that cannot simply be faulted in again, of every entry. Pages are
 * shared; private ones are write-protected on both sides, and whoever writes first copies.
 *
 * An exclusive page that may be pinned cannot be shared: the device's writes must keep reaching the parent. It is copied at
 * once for the child.
 */
#include <pagesim/mmap.h>

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
#include <pagesim/mempolicy.h>
#include <pagesim/page_flags.h>
#include <pagesim/page_mapcount.h>
#include <pagesim/page_ref.h>
#include <pagesim/rmap.h>
#include <pagesim/runtime.h>
#include <pagesim/swap.h>
#include <pagesim/vmstat.h>
#include <pagesim/zap.h>

#include "fault/vm_fault.h"

/* One table's worth of the copy. `spare` is a page for a copy that could not be allocated under the locks. */
struct copy {
	struct vm_area_struct *dst, *src;
	struct page *spare;
};

/* Context: both page-table locks. Return: 0, or -EAGAIN for want of a spare page. */
static int copy_present_page(struct copy *copy, pte_t *dst_pte, u64 addr, struct page *page)
{
	struct page *fresh = copy->spare;
	struct vm_area_struct *vma = copy->dst;
	pte_t pte;

	if (!fresh)
		return -EAGAIN;
	copy->spare = NULL;
	copy_highpage(fresh, page);
	__SetPageUptodate(fresh);
	page_add_new_anon_rmap(fresh, vma, addr, false);
	lru_cache_add_inactive_or_unevictable(fresh, vma->vm_flags & VM_LOCKED);
	add_mm_counter(vma->vm_mm, MM_ANONPAGES, 1);
	pte = pte_mkdirty(pfn_pte(page_to_pfn(fresh), vma->vm_page_prot));
	if (vma->vm_flags & VM_WRITE)
		pte = pte_mkwrite(pte);
	set_pte_at(dst_pte, pte);
	return 0;
}

static int copy_present_pte(struct copy *copy, pte_t *dst_pte, pte_t *src_pte, u64 addr)
{
	struct vm_area_struct *src = copy->src;
	pte_t pte = *src_pte;
	struct page *page = vm_normal_page(pte);

	if (page) {
		get_page(page);
		if (PageAnon(page)) {
			if (page_try_dup_anon_rmap(page, false)) {
				put_page(page);
				return copy_present_page(copy, dst_pte, addr, page);
			}
		} else {
			page_add_file_rmap(page, copy->dst, false);
		}
		add_mm_counter(copy->dst->vm_mm, mm_counter_of(page), 1);
	}
	if (is_cow_mapping(src->vm_flags) && pte_write(pte)) {
		pte = pte_wrprotect(pte);
		ptep_set_wrprotect(src_pte);
	}
	if (vma_is_shared(src))
		pte = pte_mkclean(pte);
	set_pte_at(dst_pte, pte_mkold(pte));
	return 0;
}

/* The slot has one more user, and the page that comes back from it belongs to nobody alone. */
static void copy_swap_pte(struct copy *copy, pte_t *dst_pte, pte_t *src_pte)
{
	pte_t pte = *src_pte;
	int error = swap_duplicate(pte_to_swp_entry(pte));

	VM_BUG_ON(error);
	if (pte_swp_exclusive(pte)) {
		pte = pte_swp_clear_exclusive(pte);
		set_pte_at(src_pte, pte);
	}
	add_mm_counter(copy->dst->vm_mm, MM_SWAPENTS, 1);
	set_pte_at(dst_pte, pte);
}

static void copy_migration_pte(struct copy *copy, pte_t *dst_pte, pte_t *src_pte)
{
	pte_t pte = *src_pte;
	swp_entry_t entry = pte_to_swp_entry(pte);
	struct page *page = pfn_swap_entry_to_page(entry);

	add_mm_counter(copy->dst->vm_mm, mm_counter_of(page), 1);
	if (!is_readable_migration_entry(entry) && is_cow_mapping(copy->src->vm_flags)) {
		/* Shared from now on: neither side may find it writable or exclusive when it comes back. */
		u64 keep = pte.val & (_SWP_SOFT_DIRTY | _SWP_YOUNG | _SWP_DIRTY);

		pte = swp_entry_to_pte(swp_entry(SWP_MIGRATION_READ, swp_offset(entry)));
		pte.val |= keep;
		set_pte_at(src_pte, pte);
	}
	set_pte_at(dst_pte, pte);
}

static int copy_pte_range(struct copy *copy, pmd_t *dst_pmd, pmd_t *src_pmd, u64 addr, u64 end)
{
	struct page_tables *dst = &copy->dst->vm_mm->pt, *src = &copy->src->vm_mm->pt;
	int error;

	do {
		spinlock_t *dst_ptl, *src_ptl;
		pte_t *dst_pte, *src_pte;

		error = 0;
		if (pte_alloc(dst, dst_pmd))
			return -ENOMEM;
		dst_pte = pte_offset_map_lock(dst, dst_pmd, addr, &dst_ptl);
		src_pte = pte_offset_map(src, *src_pmd, addr);
		src_ptl = pte_lockptr(src, *src_pmd);
		spin_lock_nested(src_ptl, 1);
		for (; addr < end; addr += PAGE_SIZE, dst_pte++, src_pte++) {
			pte_t pte = *src_pte;

			if (pte_none(pte))
				continue;
			if (pte_present(pte)) {
				error = copy_present_pte(copy, dst_pte, src_pte, addr);
				if (error)
					break;
			} else if (is_pte_migration_entry(pte)) {
				copy_migration_pte(copy, dst_pte, src_pte);
			} else {
				copy_swap_pte(copy, dst_pte, src_pte);
			}
			ps_charge(this_machine()->costs.map_pte_ns, PS_TIME_SYSCALL);
		}
		spin_unlock(src_ptl);
		pte_unmap_unlock(dst_pte, dst_ptl);
		if (error == -EAGAIN) {
			copy->spare = alloc_pages_vma(GFP_HIGHUSER_MOVABLE, 0, copy->src, addr, false);
			if (!copy->spare)
				return -ENOMEM;
		}
	} while (error == -EAGAIN);
	if (copy->spare)
		put_page(copy->spare);
	copy->spare = NULL;
	return 0;
}

/* Return: 0 copied; -EAGAIN not a leaf (any more), copy its PTEs; -ENOMEM. */
static int copy_huge_pmd(struct copy *copy, pmd_t *dst_pmd, pmd_t *src_pmd, u64 addr)
{
	struct mm_struct *dst_mm = copy->dst->vm_mm, *src_mm = copy->src->vm_mm;
	struct page_tables *dst = &dst_mm->pt, *src = &src_mm->pt;
	spinlock_t *dst_ptl, *src_ptl;
	struct page *page;
	pte_t *table;
	pmd_t pmd;

	/* A huge file page is faulted in again at no cost. */
	if (!vma_is_anonymous(copy->dst))
		return 0;
	table = pte_alloc_one(dst);
	if (!table)
		return -ENOMEM;
	dst_ptl = pmd_lock(dst, dst_pmd);
	src_ptl = pmd_lockptr(src, src_pmd);
	spin_lock_nested(src_ptl, 1);
	pmd = *src_pmd;
	if (!pmd_leaf_or_swap(pmd)) {
		spin_unlock(src_ptl);
		spin_unlock(dst_ptl);
		pte_free(dst, table);
		return -EAGAIN;
	}
	if (is_pmd_migration_entry(pmd)) {
		swp_entry_t entry = pmd_to_swp_entry(pmd);

		if (!is_readable_migration_entry(entry)) {
			u64 keep = pmd.val & (_SWP_SOFT_DIRTY | _SWP_YOUNG | _SWP_DIRTY);

			pmd = swp_entry_to_pmd(swp_entry(SWP_MIGRATION_READ, swp_offset(entry)));
			pmd.val |= keep;
			set_pmd_at(src_pmd, pmd);
		}
		add_mm_counter(dst_mm, MM_ANONPAGES, hpage_pmd_nr(dst));
	} else if (is_huge_zero_pmd(pmd)) {
		mm_get_huge_zero_page(dst_mm);
	} else {
		page = pfn_to_page(pmd_pfn(pmd));
		get_page(page);
		if (page_try_dup_anon_rmap(page, true)) {
			/* May be pinned: small pages decide one by one. */
			put_page(page);
			spin_unlock(src_ptl);
			spin_unlock(dst_ptl);
			pte_free(dst, table);
			__split_huge_pmd(copy->src, src_pmd, addr, false, NULL);
			return -EAGAIN;
		}
		add_mm_counter(dst_mm, MM_ANONPAGES, hpage_pmd_nr(dst));
	}
	mm_inc_nr_ptes(dst);
	pgtable_trans_huge_deposit(dst, dst_pmd, table);
	if (pmd_present(pmd)) {
		pmdp_set_wrprotect(src_pmd);
		pmd = pmd_mkold(pmd_wrprotect(pmd));
	}
	set_pmd_at(dst_pmd, pmd);
	spin_unlock(src_ptl);
	spin_unlock(dst_ptl);
	return 0;
}

static int copy_page_range(struct vm_area_struct *dst, struct vm_area_struct *src)
{
	struct page_tables *spt = &src->vm_mm->pt;
	struct copy copy = { .dst = dst, .src = src };
	u64 addr = src->vm_start;
	pmd_t *src_pmd;

	while ((src_pmd = pmd_next(spt, &addr, src->vm_end))) {
		u64 next = pmd_addr_end(spt, addr, src->vm_end);
		pmd_t *dst_pmd = pmd_alloc(&dst->vm_mm->pt, addr);
		int error = -EAGAIN;

		if (!dst_pmd)
			return -ENOMEM;
		if (pmd_leaf_or_swap(pmdp_get(src_pmd)))
			error = copy_huge_pmd(&copy, dst_pmd, src_pmd, addr);
		if (error == -EAGAIN && pmd_table(pmdp_get(src_pmd)))
			error = copy_pte_range(&copy, dst_pmd, src_pmd, addr, next);
		if (error == -ENOMEM)
			return error;
		addr = next;
	}
	return 0;
}

static bool vma_needs_copy(const struct vm_area_struct *src)
{
	return src->anon_vma != NULL;
}

static int copy_vmas(struct mm_struct *mm, struct mm_struct *oldmm)
{
	struct vm_area_struct *src;

	for_each_vma(oldmm, src) {
		struct address_space *mapping = src->vm_mapping;
		struct vm_area_struct *vma;
		int error;

		if (src->vm_flags & VM_DONTCOPY)
			continue;
		vma = vm_area_dup(src);
		if (!vma)
			return -ENOMEM;
		vma->vm_mm = mm;
		vma->vm_flags &= ~VM_LOCKED;
		error = anon_vma_fork(vma, src);
		if (error) {
			vm_area_free(vma);
			return error;
		}
		if (mapping) {
			ihold(mapping->host);
			i_mmap_lock_write(mapping);
			vma->shared.start = vma->vm_pgoff;
			vma->shared.last = vma->vm_pgoff + vma_pages(vma) - 1;
			interval_tree_insert(&vma->shared, &mapping->i_mmap);
			i_mmap_unlock_write(mapping);
		}
		vma_link_tree(vma);
		if (vma_needs_copy(src)) {
			error = copy_page_range(vma, src);
			if (error)
				return error;
		}
	}
	return 0;
}

int dup_mm(struct mm_struct *oldmm, struct mm_struct **ret_mm)
{
	struct mm_struct *mm = mm_alloc(oldmm->machine);
	int error;

	if (!mm)
		return -ENOMEM;
	ps_charge(this_machine()->costs.syscall_ns, PS_TIME_SYSCALL);
	mmap_write_lock(oldmm);
	down_write_nested(&mm->mmap_lock, 1);
	error = copy_vmas(mm, oldmm);
	up_write(&mm->mmap_lock);
	/* The parent's writable translations must go before anybody relies on the sharing. */
	flush_tlb_mm(&oldmm->pt);
	mmap_write_unlock(oldmm);
	if (error) {
		mmput(mm);
		return error;
	}
	*ret_mm = mm;
	return 0;
}

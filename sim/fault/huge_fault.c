/* SPDX-License-Identifier: MIT */
/*
 * Faults on huge pages: first touch, the huge zero page, copy on write, NUMA hints.
 *
 * A huge page is never copied for a write: if it cannot be taken over, its PMD is split and one small page is copied.
 */
#include <pagesim/fault.h>

#include <pagesim/address_space.h>
#include <pagesim/bug.h>
#include <pagesim/compound.h>
#include <pagesim/contents.h>
#include <pagesim/inode.h>
#include <pagesim/lru.h>
#include <pagesim/machine.h>
#include <pagesim/mempolicy.h>
#include <pagesim/page_alloc.h>
#include <pagesim/page_flags.h>
#include <pagesim/page_lock.h>
#include <pagesim/page_ref.h>
#include <pagesim/rmap.h>
#include <pagesim/runtime.h>
#include <pagesim/shmem.h>
#include <pagesim/swap_cache.h>
#include <pagesim/vmstat.h>

#include "fault/vm_fault.h"

bool transhuge_vma_suitable(const struct vm_area_struct *vma, u64 addr)
{
	const struct page_tables *pt = &vma->vm_mm->pt;
	u64 haddr = addr & pmd_mask(pt);

	/* In a file the huge page's place is fixed: the mapping must agree with it. */
	if (!vma_is_anonymous(vma) && (((vma->vm_start >> PAGE_SHIFT) - vma->vm_pgoff) & (hpage_pmd_nr(pt) - 1)))
		return false;
	return haddr >= vma->vm_start && haddr + pmd_size(pt) <= vma->vm_end;
}

/* shmem_is_huge() of a mapping; @force: as if the mount said so. */
static bool shmem_vma_huge(const struct vm_area_struct *vma, bool force)
{
	const struct inode *inode = vma->vm_mapping->host;

	if (force)
		return inode->files->shmem_enabled != SHMEM_HUGE_DENY;
	return shmem_is_huge(inode, vma->vm_pgoff, vma->vm_flags & VM_HUGEPAGE ? SHMEM_HINT_HUGEPAGE : SHMEM_HINT_NONE);
}

bool hugepage_vma_check(const struct vm_area_struct *vma, bool in_fault, bool enforce_sysfs)
{
	struct ps_faults *faults = this_machine()->faults;

	if (vma->vm_flags & VM_NOHUGEPAGE)
		return false;
	if (!in_fault && !transhuge_vma_suitable(vma, vma->vm_end - pmd_size(&vma->vm_mm->pt)))
		return false;
	/* What shared memory may do, its own settings say. */
	if (!in_fault && vma->vm_mapping && shmem_mapping(vma->vm_mapping))
		return shmem_vma_huge(vma, !enforce_sysfs);
	if (enforce_sysfs &&
	    (faults->thp_enabled == THP_NEVER || (faults->thp_enabled != THP_ALWAYS && !(vma->vm_flags & VM_HUGEPAGE))))
		return false;
	if (!vma_is_anonymous(vma))
		return false;
	/* Never faulted into: there is nothing to collapse. */
	return vma->anon_vma || in_fault;
}

/* How hard to try for a huge page, by /sys/kernel/mm/transparent_hugepage/defrag. */
static gfp_t vma_thp_gfp_mask(const struct vm_area_struct *vma)
{
	bool advised = vma->vm_flags & VM_HUGEPAGE;

	switch (this_machine()->faults->thp_defrag) {
	case THP_DEFRAG_ALWAYS:
		return GFP_TRANSHUGE | (advised ? 0 : __GFP_NORETRY);
	case THP_DEFRAG_DEFER:
		return GFP_TRANSHUGE_LIGHT | __GFP_KSWAPD_RECLAIM;
	case THP_DEFRAG_DEFER_MADVISE:
		return GFP_TRANSHUGE_LIGHT | (advised ? __GFP_DIRECT_RECLAIM : __GFP_KSWAPD_RECLAIM);
	case THP_DEFRAG_MADVISE:
		return GFP_TRANSHUGE_LIGHT | (advised ? __GFP_DIRECT_RECLAIM : 0);
	default:
		return GFP_TRANSHUGE_LIGHT;
	}
}

/* ---- the huge zero page */

struct page *mm_get_huge_zero_page(struct mm_struct *mm)
{
	struct ps_faults *faults = mm->machine->faults;
	unsigned int order = mm->pt.bits;

	if (mm->huge_zero)
		return faults->huge_zero_page;
	if (!faults->huge_zero_page) {
		struct page *page = alloc_pages((GFP_TRANSHUGE | __GFP_ZERO) & ~(gfp_t)__GFP_MOVABLE, order);

		if (!page) {
			count_vm_event(THP_ZERO_PAGE_ALLOC_FAILED);
			return NULL;
		}
		if (faults->huge_zero_page) {
			__free_pages(page, order);
		} else {
			faults->huge_zero_page = page;
			count_vm_event(THP_ZERO_PAGE_ALLOC);
		}
	}
	/* Another thread of this address space may have come first while we allocated. */
	if (!mm->huge_zero) {
		mm->huge_zero = true;
		faults->huge_zero_users++;
	}
	return faults->huge_zero_page;
}

void mm_put_huge_zero_page(struct mm_struct *mm)
{
	if (mm->huge_zero)
		mm->machine->faults->huge_zero_users--;
	mm->huge_zero = false;
}

unsigned long shrink_huge_zero_page(struct ps_machine *machine)
{
	struct ps_faults *faults = machine->faults;
	struct page *page = faults->huge_zero_page;

	if (!page || faults->huge_zero_users)
		return 0;
	faults->huge_zero_page = NULL;
	__free_pages(page, machine->pt_bits);
	return 1UL << machine->pt_bits;
}

unsigned long shrink_huge_zero_page_count(struct shrinker *shrinker, struct shrink_control *sc)
{
	const struct ps_faults *faults = container_of(shrinker, struct ps_faults, huge_zero_shrinker);

	(void)sc;
	return faults->huge_zero_page && !faults->huge_zero_users ? HPAGE_PMD_NR : 0;
}

unsigned long shrink_huge_zero_page_scan(struct shrinker *shrinker, struct shrink_control *sc)
{
	(void)shrinker;
	(void)sc;
	return shrink_huge_zero_page(this_machine());
}

static vm_fault_t map_huge_zero(struct vm_fault *vmf)
{
	struct vm_area_struct *vma = vmf->vma;
	struct page_tables *pt = &vma->vm_mm->pt;
	pte_t *table = pte_alloc_one(pt);
	struct page *zero;
	spinlock_t *ptl;

	if (!table)
		return VM_FAULT_OOM;
	zero = mm_get_huge_zero_page(vma->vm_mm);
	if (!zero) {
		pte_free(pt, table);
		count_vm_event(THP_FAULT_FALLBACK);
		return VM_FAULT_FALLBACK;
	}
	ptl = pmd_lock(pt, vmf->pmd);
	if (pmd_none(*vmf->pmd)) {
		pgtable_trans_huge_deposit(pt, vmf->pmd, table);
		set_pmd_at(vmf->pmd, pmd_mkspecial(pfn_pmd_huge(page_to_pfn(zero), vma->vm_page_prot)));
		mm_inc_nr_ptes(pt);
		table = NULL;
		fault_count(PS_FAULT_ZERO);
	}
	spin_unlock(ptl);
	pte_free(pt, table);
	return 0;
}

/* ---- first touch */

vm_fault_t do_huge_pmd_anonymous_page(struct vm_fault *vmf)
{
	struct vm_area_struct *vma = vmf->vma;
	struct mm_struct *mm = vma->vm_mm;
	struct ps_machine *machine = this_machine();
	u64 haddr = vmf->address & pmd_mask(&mm->pt);
	unsigned long nr = hpage_pmd_nr(&mm->pt);
	struct page *page;
	spinlock_t *ptl;
	pte_t *table;
	pmd_t entry;

	if (!transhuge_vma_suitable(vma, haddr))
		return VM_FAULT_FALLBACK;
	if (anon_vma_prepare(vma))
		return VM_FAULT_OOM;
	if (!(vmf->flags & FAULT_FLAG_WRITE) && !machine->faults->no_zero_page)
		return map_huge_zero(vmf);

	ps_charge(machine->costs.alloc_huge_ns, PS_TIME_FAULT);
	page = alloc_pages_vma(vma_thp_gfp_mask(vma), mm->pt.bits, vma, haddr, true);
	if (!page) {
		count_vm_event(THP_FAULT_FALLBACK);
		return VM_FAULT_FALLBACK;
	}
	prep_transhuge_page(page);
	table = pte_alloc_one(&mm->pt);
	if (!table) {
		put_page(page);
		return VM_FAULT_OOM;
	}
	clear_huge_page(page, nr);
	ps_charge(ps_zero_ns(machine, numa_node_id(), page_to_nid(page), nr << PAGE_SHIFT), PS_TIME_COPY);
	ps_node_written(machine, page_to_nid(page), nr << PAGE_SHIFT);
	__SetPageUptodate(page);

	ptl = pmd_lock(&mm->pt, vmf->pmd);
	if (!pmd_none(*vmf->pmd)) {
		spin_unlock(ptl);
		put_page(page);
		pte_free(&mm->pt, table);
		return 0;
	}
	entry = pmd_mkdirty(pfn_pmd_huge(page_to_pfn(page), vma->vm_page_prot));
	if (vma->vm_flags & VM_WRITE)
		entry = pmd_mkwrite(entry);
	page_add_new_anon_rmap(page, vma, haddr, true);
	lru_cache_add_inactive_or_unevictable(page, vma->vm_flags & VM_LOCKED);
	pgtable_trans_huge_deposit(&mm->pt, vmf->pmd, table);
	set_pmd_at(vmf->pmd, entry);
	add_mm_counter(mm, MM_ANONPAGES, (long)nr);
	mm_inc_nr_ptes(&mm->pt);
	spin_unlock(ptl);
	count_vm_event(THP_FAULT_ALLOC);
	fault_count(PS_FAULT_THP);
	return 0;
}

/* ---- write */

vm_fault_t do_huge_pmd_wp_page(struct vm_fault *vmf)
{
	struct vm_area_struct *vma = vmf->vma;
	struct page_tables *pt = &vma->vm_mm->pt;
	bool unshare = vmf->flags & FAULT_FLAG_UNSHARE;
	bool reuse;
	spinlock_t *ptl;
	struct page *page;
	pmd_t entry;

	/* A shared file page is mapped writable small page by small page: each must be dirtied. */
	if (!vma_is_anonymous(vma) || is_huge_zero_pmd(vmf->orig_pmd))
		goto fallback;
	ptl = pmd_lock(pt, vmf->pmd);
	if (!pmd_same(*vmf->pmd, vmf->orig_pmd)) {
		spin_unlock(ptl);
		return 0;
	}
	page = pfn_to_page(pmd_pfn(vmf->orig_pmd));
	reuse = PageAnonExclusive(page);
	if (!reuse) {
		if (!trylock_page(page)) {
			get_page(page);
			spin_unlock(ptl);
			lock_page(page);
			ptl = pmd_lock(pt, vmf->pmd);
			if (!pmd_same(*vmf->pmd, vmf->orig_pmd)) {
				spin_unlock(ptl);
				unlock_page(page);
				put_page(page);
				return 0;
			}
			put_page(page);
		}
		reuse = PageAnonExclusive(page);
		if (!reuse && PageSwapCache(page))
			try_to_free_swap(page);
		/* Only our mapping's reference: nobody else has it, nobody can get it. */
		if (!reuse && page_ref_count(page) == 1) {
			page_move_anon_rmap(page, vma);
			reuse = true;
		}
		unlock_page(page);
	}
	if (reuse) {
		if (!unshare) {
			entry = pmd_mkdirty(pmd_mkyoung(vmf->orig_pmd));
			if (vma->vm_flags & VM_WRITE)
				entry = pmd_mkwrite(entry);
			pmdp_set_access_flags(vmf->pmd, entry);
			flush_tlb_fix_spurious_fault(pt, vmf->address);
		}
		spin_unlock(ptl);
		fault_count(PS_FAULT_REUSE);
		return 0;
	}
	spin_unlock(ptl);
fallback:
	__split_huge_pmd(vma, vmf->pmd, vmf->address, false, NULL);
	return VM_FAULT_FALLBACK;
}

void huge_pmd_set_accessed(struct vm_fault *vmf)
{
	struct page_tables *pt = &vmf->vma->vm_mm->pt;
	spinlock_t *ptl = pmd_lock(pt, vmf->pmd);
	pmd_t entry = vmf->orig_pmd;

	if (pmd_same(*vmf->pmd, entry)) {
		entry = pmd_mkyoung(entry);
		if (vmf->flags & FAULT_FLAG_WRITE)
			entry = pmd_mkdirty(entry);
		pmdp_set_access_flags(vmf->pmd, entry);
		flush_tlb_fix_spurious_fault(pt, vmf->address);
	}
	spin_unlock(ptl);
}

/* ---- NUMA hints */

vm_fault_t do_huge_pmd_numa_page(struct vm_fault *vmf)
{
	struct vm_area_struct *vma = vmf->vma;
	struct mm_struct *mm = vma->vm_mm;
	u64 haddr = vmf->address & pmd_mask(&mm->pt);
	nid_t page_nid, target;
	bool moved, failed = false;
	struct page *page;
	spinlock_t *ptl;
	pmd_t entry;

	ps_charge(this_machine()->costs.hint_fault_ns, PS_TIME_FAULT);
	fault_count(PS_FAULT_HINT);
	ptl = pmd_lock(&mm->pt, vmf->pmd);
	if (!pmd_same(*vmf->pmd, vmf->orig_pmd)) {
		spin_unlock(ptl);
		return 0;
	}
	page = pfn_to_page(pmd_pfn(vmf->orig_pmd));
	page_nid = page_to_nid(page);
	target = numa_migrate_prep(page, vma, haddr, page_nid);
	if (target == NUMA_NO_NODE) {
		put_page(page);
		goto out_map;
	}
	spin_unlock(ptl);
	moved = this_machine()->faults->numa.migrate(page, vma, target);
	if (moved) {
		task_numa_fault(mm, target, hpage_pmd_nr(&mm->pt), true, false);
		return 0;
	}
	failed = true;
	ptl = pmd_lock(&mm->pt, vmf->pmd);
	if (!pmd_same(*vmf->pmd, vmf->orig_pmd)) {
		spin_unlock(ptl);
		goto out;
	}
out_map:
	entry = pmd_mkyoung(pmd_modify(vmf->orig_pmd, vma->vm_page_prot));
	if (pmd_write(vmf->orig_pmd))
		entry = pmd_mkwrite(entry);
	set_pmd_at(vmf->pmd, entry);
	spin_unlock(ptl);
out:
	task_numa_fault(mm, page_nid, hpage_pmd_nr(&mm->pt), false, failed);
	return 0;
}

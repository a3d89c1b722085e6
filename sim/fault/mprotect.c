/* SPDX-License-Identifier: MIT */
/*
 * Changing what a mapping allows: mprotect(2), the hint entries of NUMA balancing, and clearing soft-dirty.
 *
 * Taking a right away is done at once, entry by entry, with a flush. Giving one back is mostly left to the next fault, which
 * knows whether the page must be copied first.
 */
#include <pagesim/mprotect.h>

#include <pagesim/address_space.h>
#include <pagesim/bug.h>
#include <pagesim/compound.h>
#include <pagesim/fault.h>
#include <pagesim/lru.h>
#include <pagesim/machine.h>
#include <pagesim/mmap.h>
#include <pagesim/page_flags.h>
#include <pagesim/page_ref.h>
#include <pagesim/rmap.h>
#include <pagesim/runtime.h>
#include <pagesim/vmstat.h>

#include "fault/vm_fault.h"

bool pte_can_be_writable(const struct vm_area_struct *vma, pte_t pte)
{
	struct page *page;

	if (pte_protnone(pte) || !pte_dirty(pte))
		return false;
	if (!(vma->vm_flags & VM_SOFTDIRTY) && !pte_soft_dirty(pte))
		return false;
	if (vma_is_shared(vma))
		return true;
	page = vm_normal_page(pte);
	return page && PageAnon(page) && PageAnonExclusive(page);
}

/* Should a NUMA scan put a hint on this page? Notes the time in slow-tier pages. */
static bool numa_wants_hint(struct vm_area_struct *vma, struct page *page, bool huge, nid_t target)
{
	struct ps_faults *faults = this_machine()->faults;
	bool toptier = node_is_toptier(page_to_nid(page));

	/* A page shared by copy on write is not anybody's in particular. */
	if (!huge && is_cow_mapping(vma->vm_flags) && page_count(page) != 1)
		return false;
	if (!huge && page_is_file_lru(page) && PageDirty(page))
		return false;
	if (!huge && page_to_nid(page) == target)
		return false;
	if (!(faults->numa_balancing & NUMA_BALANCING_NORMAL) && toptier)
		return false;
	if ((faults->numa_balancing & NUMA_BALANCING_MEMORY_TIERING) && !toptier)
		xchg_page_access_time(page, (int)(ps_now() / 1000000));
	return true;
}

static long change_pte_range(struct vm_area_struct *vma, pmd_t *pmd, u64 addr, u64 end, pgprot_t prot,
			     unsigned int flags)
{
	struct page_tables *pt = &vma->vm_mm->pt;
	bool numa = flags & MM_CP_PROT_NUMA;
	/* Memory of one thread only can be wanted nowhere but where that thread is. */
	bool alone = numa && !vma_is_shared(vma) && atomic_read(&vma->vm_mm->mm_users) == 1;
	nid_t target = alone ? numa_node_id() : NUMA_NO_NODE;
	long pages = 0;
	spinlock_t *ptl;
	pte_t *ptep = pte_offset_map_lock(pt, pmd, addr, &ptl);

	for (; addr < end; addr += PAGE_SIZE, ptep++) {
		pte_t old = ptep_get(ptep), entry;

		if (pte_present(old)) {
			if (numa) {
				struct page *page = vm_normal_page(old);

				if (!page || pte_protnone(old) || !numa_wants_hint(vma, page, false, target))
					continue;
			}
			old = ptep_get_and_clear(ptep);
			entry = pte_modify(old, prot);
			/* A hint takes nothing away: whether it could be written is remembered in the entry. */
			if (numa && pte_write(old))
				entry = pte_mkwrite(entry);
			if ((flags & MM_CP_TRY_CHANGE_WRITABLE) && !pte_write(entry) && pte_can_be_writable(vma, entry))
				entry = pte_mkwrite(entry);
			set_pte_at(ptep, entry);
			pages++;
		} else if (is_pte_migration_entry(old)) {
			swp_entry_t swp = pte_to_swp_entry(old);
			struct page *page = pfn_swap_entry_to_page(swp);

			if (!is_writable_migration_entry(swp))
				continue;
			/* Write permission comes back by a fault, once the page is mapped again. */
			entry = swp_entry_to_pte(swp_entry(
				PageAnon(page) ? SWP_MIGRATION_READ_EXCLUSIVE : SWP_MIGRATION_READ, swp_offset(swp)));
			entry.val |= old.val & (_SWP_SOFT_DIRTY | _SWP_YOUNG | _SWP_DIRTY);
			set_pte_at(ptep, entry);
			pages++;
		}
	}
	pte_unmap_unlock(ptep, ptl);
	return pages;
}

/* Return: 0 not a leaf any more, look again; 1 nothing to do or to count; the base pages of a huge page changed. */
static long change_huge_pmd(struct vm_area_struct *vma, pmd_t *pmd, pgprot_t prot, unsigned int flags)
{
	struct page_tables *pt = &vma->vm_mm->pt;
	spinlock_t *ptl = __pmd_trans_huge_lock(vma, pmd);
	long ret = 1;
	pmd_t old;

	if (!ptl)
		return 0;
	old = *pmd;
	if (is_pmd_migration_entry(old)) {
		swp_entry_t swp = pmd_to_swp_entry(old);

		if (is_writable_migration_entry(swp)) {
			bool anon = PageAnon(pfn_swap_entry_to_page(swp));
			pmd_t entry = swp_entry_to_pmd(
				swp_entry(anon ? SWP_MIGRATION_READ_EXCLUSIVE : SWP_MIGRATION_READ, swp_offset(swp)));

			entry.val |= old.val & (_SWP_SOFT_DIRTY | _SWP_YOUNG | _SWP_DIRTY);
			set_pmd_at(pmd, entry);
		}
		goto out;
	}
	if (flags & MM_CP_PROT_NUMA) {
		if (is_huge_zero_pmd(old) || pmd_protnone(old) ||
		    !numa_wants_hint(vma, pfn_to_page(pmd_pfn(old)), true, NUMA_NO_NODE))
			goto out;
	}
	old = pmdp_invalidate(pmd);
	if ((flags & MM_CP_PROT_NUMA) && pmd_write(old))
		set_pmd_at(pmd, pmd_mkwrite(pmd_modify(old, prot)));
	else
		set_pmd_at(pmd, pmd_modify(old, prot));
	ret = hpage_pmd_nr(pt);
out:
	spin_unlock(ptl);
	return ret;
}

long change_protection(struct vm_area_struct *vma, u64 start, u64 end, unsigned int flags)
{
	enum ps_time_class before = ps_work_begin(flags & MM_CP_PROT_NUMA ? PS_TIME_SCAN : PS_TIME_SYSCALL);
	pgprot_t prot = flags & MM_CP_PROT_NUMA ? PAGE_NONE : vma->vm_page_prot;
	struct page_tables *pt = &vma->vm_mm->pt;
	long pages = 0, huge = 0;
	u64 addr = start;
	pmd_t *pmd;

	while ((pmd = pmd_next(pt, &addr, end))) {
		u64 next = pmd_addr_end(pt, addr, end);

		if (pmd_leaf_or_swap(pmdp_get(pmd))) {
			if (next - addr != pmd_size(pt)) {
				__split_huge_pmd(vma, pmd, addr, false, NULL);
			} else {
				long nr = change_huge_pmd(vma, pmd, prot, flags);

				if (nr > 1) {
					pages += nr;
					huge++;
				}
				if (nr) {
					addr = next;
					continue;
				}
			}
		}
		if (pmd_table(pmdp_get(pmd)))
			pages += change_pte_range(vma, pmd, addr, next, prot, flags);
		ps_charge_work((next - addr) / PAGE_SIZE * this_machine()->costs.scan_pte_ns);
		addr = next;
		cond_resched();
	}
	if (pages)
		flush_tlb_range(pt, start, end);
	if (huge)
		count_vm_events(NUMA_HUGE_PTE_UPDATES, huge);
	ps_work_end(before);
	return pages;
}

static int mprotect_fixup(struct vm_area_struct **vmap, u64 start, u64 end, u64 vm_flags)
{
	struct vm_area_struct *vma = *vmap;
	struct vma_attributes attributes = { .policy = vma->vm_policy };
	unsigned int flags = 0;
	u64 old_flags = vma->vm_flags;
	int error;

	if (vm_flags == vma->vm_flags)
		return 0;
	if ((vm_flags & VM_WRITE) && !(vma->vm_flags & (VM_ACCOUNT | VM_WRITE | VM_SHARED)))
		vm_flags |= VM_ACCOUNT;
	attributes.vm_flags = vm_flags;
	error = vma_modify(vma, start, end, &attributes, &vma);
	if (error)
		return error;
	/* A merged VMA keeps its own soft-dirty bit. */
	vma->vm_flags = vm_flags | (vma->vm_flags & VM_SOFTDIRTY);
	if (vma_is_shared(vma) ? vma_wants_writenotify(vma) : (vma->vm_flags & VM_WRITE) != 0)
		flags |= MM_CP_TRY_CHANGE_WRITABLE;
	vma_set_page_prot(vma);
	change_protection(vma, start, end, flags);
	/* Locked memory must not fault for its first write: copy now what would be copied then. */
	if ((old_flags & (VM_WRITE | VM_SHARED | VM_LOCKED)) == VM_LOCKED && (vm_flags & VM_WRITE))
		populate_vma_page_range(vma, start, end);
	*vmap = vma;
	return 0;
}

int do_mprotect(struct mm_struct *mm, u64 start, u64 len, unsigned int prot)
{
	u64 want = calc_vm_prot_bits(prot);
	struct vm_area_struct *vma;
	u64 end, at;
	int error = -ENOMEM;

	if (start & ~PAGE_MASK)
		return -EINVAL;
	len = (len + PAGE_SIZE - 1) & PAGE_MASK;
	end = start + len;
	if (!len)
		return 0;
	if (end <= start)
		return -ENOMEM;
	ps_charge(this_machine()->costs.syscall_ns, PS_TIME_SYSCALL);
	mmap_write_lock(mm);
	at = start;
	vma = find_vma(mm, start);
	while (at < end) {
		u64 next;

		error = -ENOMEM;
		if (!vma || vma->vm_start > at)
			break;
		/* VM_MAYREAD, VM_MAYWRITE and VM_MAYEXEC lie four bits above what they allow. */
		error = -EACCES;
		if (want & ~(vma->vm_flags >> 4))
			break;
		next = ps_min(vma->vm_end, end);
		error = mprotect_fixup(&vma, at, next, (vma->vm_flags & ~VM_ACCESS_FLAGS) | want);
		if (error)
			break;
		at = next;
		vma = find_vma(mm, at);
	}
	mmap_write_unlock(mm);
	return error;
}

/* ---- soft-dirty */

static void clear_soft_dirty_range(struct vm_area_struct *vma)
{
	struct page_tables *pt = &vma->vm_mm->pt;
	u64 addr = vma->vm_start;
	pmd_t *pmd;

	while ((pmd = pmd_next(pt, &addr, vma->vm_end))) {
		u64 next = pmd_addr_end(pt, addr, vma->vm_end);
		spinlock_t *ptl = pmd_trans_huge_lock(vma, pmd);

		if (ptl) {
			pmd_t old = *pmd;

			if (pmd_present(old))
				set_pmd_at(pmd, pmd_clear_soft_dirty(pmd_wrprotect(pmdp_invalidate(pmd))));
			else
				set_pmd_at(pmd, pmd_swp_clear_soft_dirty(old));
			spin_unlock(ptl);
		} else if (pmd_table(pmdp_get(pmd))) {
			pte_t *ptep = pte_offset_map_lock(pt, pmd, addr, &ptl);

			for (; addr < next; addr += PAGE_SIZE, ptep++) {
				pte_t old = *ptep;

				if (pte_present(old)) {
					struct page *page = vm_normal_page(old);

					/* What is pinned and writable a device may write at any time: it stays as it is. */
					if (page && pte_write(old) && is_cow_mapping(vma->vm_flags) &&
					    page_maybe_dma_pinned(page))
						continue;
					old = ptep_get_and_clear(ptep);
					set_pte_at(ptep, pte_clear_soft_dirty(pte_wrprotect(old)));
				} else if (is_swap_pte(old)) {
					set_pte_at(ptep, pte_swp_clear_soft_dirty(old));
				}
			}
			pte_unmap_unlock(ptep, ptl);
		}
		addr = next;
	}
}

int clear_soft_dirty(struct mm_struct *mm)
{
	struct vm_area_struct *vma;

	mmap_write_lock(mm);
	for_each_vma(mm, vma) {
		if (!(vma->vm_flags & VM_SOFTDIRTY))
			continue;
		vma->vm_flags &= ~VM_SOFTDIRTY;
		vma_set_page_prot(vma);
	}
	for_each_vma(mm, vma)
		clear_soft_dirty_range(vma);
	flush_tlb_mm(&mm->pt);
	mmap_write_unlock(mm);
	return 0;
}

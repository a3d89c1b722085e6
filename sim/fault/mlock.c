/* SPDX-License-Identifier: MIT */
/*
 * mlock(2) and munlock(2): the VMA gets VM_LOCKED, the pages it has are mlocked (they leave the evictable LRU lists), and
 * those it has not are faulted in. From then on whoever maps a page into the VMA mlocks it.
 *
 * A huge page is mlocked where a PMD maps it; where PTEs map it, it is not: another VMA may need the rest of it reclaimed.
 */
#include <pagesim/mmap.h>

#include <pagesim/compound.h>
#include <pagesim/fault.h>
#include <pagesim/lru.h>
#include <pagesim/machine.h>
#include <pagesim/page_flags.h>
#include <pagesim/rmap.h>
#include <pagesim/runtime.h>

#include "fault/vm_fault.h"

static void mlock_or_munlock(const struct vm_area_struct *vma, struct page *page)
{
	if (vma->vm_flags & VM_LOCKED)
		mlock_page(page);
	else
		munlock_page(page);
}

/* Context: mmap_lock for writing; vma->vm_flags are the new ones. */
static void lock_vma_pages_range(struct vm_area_struct *vma, u64 start, u64 end)
{
	struct page_tables *pt = &vma->vm_mm->pt;
	u64 addr = start;
	pmd_t *pmd;

	lru_add_drain();
	while ((pmd = pmd_next(pt, &addr, end))) {
		u64 next = pmd_addr_end(pt, addr, end);
		spinlock_t *ptl = pmd_trans_huge_lock(vma, pmd);

		if (ptl) {
			if (pmd_present(*pmd) && !is_huge_zero_pmd(*pmd))
				mlock_or_munlock(vma, pfn_to_page(pmd_pfn(*pmd)));
			spin_unlock(ptl);
		} else if (pmd_table(pmdp_get(pmd))) {
			pte_t *ptep = pte_offset_map_lock(pt, pmd, addr, &ptl);

			for (; addr < next; addr += PAGE_SIZE, ptep++) {
				struct page *page = vm_normal_page(*ptep);

				if (page && !PageTransCompound(page))
					mlock_or_munlock(vma, page);
			}
			pte_unmap_unlock(ptep, ptl);
		}
		addr = next;
	}
	lru_add_drain();
}

static int apply_lock_flags(struct mm_struct *mm, u64 start, u64 end, bool lock)
{
	u64 at = start;

	while (at < end) {
		struct vm_area_struct *vma = vma_lookup(mm, at);
		struct vma_attributes attributes;
		u64 next;
		int error;

		if (!vma)
			return -ENOMEM;
		next = ps_min(end, vma->vm_end);
		attributes.vm_flags = lock ? vma->vm_flags | VM_LOCKED : vma->vm_flags & ~VM_LOCKED;
		attributes.policy = vma->vm_policy;
		if (attributes.vm_flags != vma->vm_flags) {
			error = vma_modify(vma, at, next, &attributes, &vma);
			if (error)
				return error;
			vma->vm_flags = attributes.vm_flags | (vma->vm_flags & VM_SOFTDIRTY);
			lock_vma_pages_range(vma, at, next);
		}
		at = next;
	}
	return 0;
}

/* What a task without privileges may keep locked: Linux's default RLIMIT_MEMLOCK, 8 MiB. */
#define MEMLOCK_PAGES ((8u << 20) >> PAGE_SHIFT)

/* Pages in locked VMAs of [start, end). Context: mmap_lock. */
static u64 locked_pages(struct mm_struct *mm, u64 start, u64 end)
{
	struct vm_area_struct *vma;
	u64 n = 0;

	for_each_vma_range(mm, vma, start, end)
		if (vma->vm_flags & VM_LOCKED)
			n += (ps_min(end, vma->vm_end) - ps_max(start, vma->vm_start)) >> PAGE_SHIFT;
	return n;
}

static bool over_limit(struct mm_struct *mm, u64 start, u64 len)
{
	u64 locked;

	if (!current->unprivileged)
		return false;
	/* What the range has locked already counts once. */
	locked = (len >> PAGE_SHIFT) + locked_pages(mm, 0, task_size(&mm->pt)) - locked_pages(mm, start, start + len);
	return locked > MEMLOCK_PAGES;
}

/* Unlike most of its kin, mlock takes any address: the pages that [start, start + len) touches. */
static void to_pages(u64 *start, u64 *len)
{
	*len = (*len + (*start & ~PAGE_MASK) + PAGE_SIZE - 1) & PAGE_MASK;
	*start &= PAGE_MASK;
}

static int change_lock(struct mm_struct *mm, u64 start, u64 len, bool lock)
{
	int error;

	if (start + len < start)
		return -EINVAL;
	ps_charge(this_machine()->costs.syscall_ns, PS_TIME_SYSCALL);
	mmap_write_lock(mm);
	error = lock && over_limit(mm, start, len) ? -ENOMEM : apply_lock_flags(mm, start, start + len, lock);
	mmap_write_unlock(mm);
	return error;
}

int do_mlock(struct mm_struct *mm, u64 start, u64 len)
{
	int error;

	to_pages(&start, &len);
	error = change_lock(mm, start, len, true);
	if (error)
		return error;
	error = mm_populate(mm, start, len);
	/* POSIX knows other words for what can go wrong here. */
	if (error == -EFAULT)
		return -ENOMEM;
	return error == -ENOMEM ? -EAGAIN : error;
}

int do_munlock(struct mm_struct *mm, u64 start, u64 len)
{
	to_pages(&start, &len);
	return change_lock(mm, start, len, false);
}

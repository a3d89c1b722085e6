/* SPDX-License-Identifier: MIT */
/*
 * follow_page and get_user_pages.
 */
#include <pagesim/gup.h>

#include <pagesim/bug.h>
#include <pagesim/fault.h>
#include <pagesim/inode.h>
#include <pagesim/lru.h>
#include <pagesim/machine.h>
#include <pagesim/mem.h>
#include <pagesim/page_flags.h>
#include <pagesim/page_lock.h>
#include <pagesim/page_ref.h>
#include <pagesim/rmap.h>
#include <pagesim/runtime.h>
#include <pagesim/vmstat.h>
#include <pagesim/writeback.h>

#include "fault/vm_fault.h"

static int no_page(const struct vm_area_struct *vma, unsigned int flags, struct page **ret_page)
{
	if ((flags & FOLL_DUMP) && vma_is_anonymous(vma))
		return -EFAULT;
	*ret_page = NULL;
	return 0;
}

/* Context: the entry's lock. */
static bool grab(struct page *page, unsigned int flags)
{
	if (flags & FOLL_PIN)
		return page_pin(page, 1);
	if (flags & FOLL_GET)
		get_page(compound_head(page));
	return true;
}

/* Must the page be made exclusive first? A device may not write what others share, nor read what they may replace. */
static bool must_unshare(unsigned int flags, struct page *page)
{
	if ((flags & (FOLL_WRITE | FOLL_PIN)) != FOLL_PIN)
		return false;
	if (!PageAnon(page))
		return false;
	return !PageAnonExclusive(PageCompound(page) && compound_mapcount(page) ? compound_head(page) : page);
}

/* Return: 0 with the page or NULL; -EMLINK: unshare it first; -EFAULT. */
static int follow(struct vm_area_struct *vma, u64 addr, unsigned int flags, struct page **ret_page)
{
	struct page_tables *pt = &vma->vm_mm->pt;
	struct page *page = NULL;
	spinlock_t *ptl;
	int error = 0;
	pmd_t *pmd = pmd_find(pt, addr);
	pmd_t top;
	pte_t *ptep, pte;

	if (!pmd || pmd_none(pmdp_get(pmd)))
		return no_page(vma, flags, ret_page);
	ptl = pmd_trans_huge_lock(vma, pmd);
	if (ptl) {
		top = *pmd;
		/* A huge mapping that may not be touched looks like none; a small one (below) like a page that is elsewhere. */
		if (!pmd_present(top) || pmd_protnone(top)) {
			spin_unlock(ptl);
			return no_page(vma, flags, ret_page);
		}
		/* Like a hole; a small entry without access (below) is no error. */
		if (pmd_protnone(top)) {
			spin_unlock(ptl);
			return no_page(vma, flags, ret_page);
		}
		if (is_huge_zero_pmd(top)) {
			error = flags & FOLL_DUMP ? -EFAULT : 0;
			if (!error && !(flags & FOLL_WRITE))
				page = vma->vm_mm->machine->faults->huge_zero_page;
		} else if (!(flags & FOLL_WRITE) || pmd_write(top)) {
			page = pfn_to_page(pmd_pfn(top));
			if (must_unshare(flags, page))
				error = -EMLINK;
		}
		if (page && !error) {
			page += (addr >> PAGE_SHIFT) & (hpage_pmd_nr(pt) - 1);
			if (!grab(page, flags))
				error = -ENOMEM;
		}
		spin_unlock(ptl);
		if (!error)
			*ret_page = page;
		return error;
	}
	top = pmdp_get(pmd);
	if (!pmd_table(top))
		return no_page(vma, flags, ret_page);
	ptep = pte_offset_map_lock(pt, pmd, addr, &ptl);
	pte = *ptep;
	if (!pte_present(pte) || pte_protnone(pte)) {
		pte_unmap_unlock(ptep, ptl);
		if (pte_none(pte))
			return no_page(vma, flags, ret_page);
		*ret_page = NULL;
		return 0;
	}
	if (flags & FOLL_WRITE && !pte_write(pte)) {
		page = NULL;
	} else if (pte_special(pte)) {
		if (flags & FOLL_DUMP)
			error = -EFAULT;
		else
			page = ps_zero_page();
	} else {
		page = vm_normal_page(pte);
		if (must_unshare(flags, page))
			error = -EMLINK;
	}
	if (page && !error && !grab(page, flags))
		error = -ENOMEM;
	pte_unmap_unlock(ptep, ptl);
	if (!error)
		*ret_page = page;
	return error;
}

int follow_page(struct vm_area_struct *vma, u64 addr, unsigned int flags, struct page **ret_page)
{
	int error = follow(vma, addr, flags, ret_page);

	VM_BUG_ON(error == -EMLINK);
	return error;
}

static int check_vma(const struct vm_area_struct *vma, unsigned int flags)
{
	if (!vma)
		return -EFAULT;
	if (flags & FOLL_WRITE) {
		if (!(vma->vm_flags & VM_WRITE))
			return -EFAULT;
	} else if (!(vma->vm_flags & VM_READ)) {
		return -EFAULT;
	}
	return 0;
}

long get_user_pages(struct mm_struct *mm, u64 addr, unsigned long nr, unsigned int flags, struct page **pages)
{
	unsigned long got = 0;
	int error = 0;

	mmap_read_lock(mm);
	while (got < nr) {
		struct vm_area_struct *vma = vma_lookup(mm, addr);
		struct page *page = NULL;

		error = check_vma(vma, flags);
		if (error)
			break;
		error = follow(vma, addr, flags, &page);
		if (!error && page) {
			pages[got++] = page;
			addr += PAGE_SIZE;
			continue;
		}
		if (!error || error == -EMLINK) {
			unsigned int fault = FAULT_FLAG_REMOTE;
			vm_fault_t ret;

			if (flags & FOLL_WRITE)
				fault |= FAULT_FLAG_WRITE;
			if (error == -EMLINK)
				fault |= FAULT_FLAG_UNSHARE;
			ret = handle_mm_fault(vma, addr, fault);
			error = ret & VM_FAULT_OOM ? -ENOMEM : (ret & VM_FAULT_ERROR ? -EFAULT : 0);
		}
		if (error)
			break;
	}
	mmap_read_unlock(mm);
	return got ? (long)got : error;
}

void put_user_page(struct page *page, unsigned int flags, bool dirty)
{
	if (dirty && !PageDirty(compound_head(page)) && !is_zero_page(page)) {
		lock_page(compound_head(page));
		set_page_dirty(compound_head(page));
		unlock_page(compound_head(page));
	}
	if (flags & FOLL_PIN)
		page_unpin(page, 1);
	else
		put_page(page);
}

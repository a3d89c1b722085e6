/* SPDX-License-Identifier: MIT */
/*
 * Bringing memory back from swap: by a fault, by advice, and all of it when swap is switched off.
 *
 * A fault on a swap entry:
 *   1 keep the area; look the swap cache up
 *   2 not there. One entry uses the slot, and the device is synchronous: a page of our own is read past the cache, with the
 *     slot claimed (swapcache_prepare) so that no second fault does the same. Else the page is read into the cache.
 *   3 lock the page; of the cache it must still be there, under this entry
 *   4 lock the entry, look again whether it is still the same
 *   5 is the page ours alone? If it was read past the cache; or if the entry says so (and the page is not being written: what
 *     the device reads must not change); or if there is no reference but ours
 *   6 swap_free; perhaps the page leaves the cache; then the mapping: counters, exclusive, soft-dirty, and, if it may be
 *     written at once, writable and dirty
 *   7 a write fault on a page that is not ours alone goes on as one on a present entry: copy on write
 *
 * Locking: page lock, then the page-table lock, then in it swap and cache locks.
 *
 * Source: the behaviour of Linux 6.1's mm/memory.c and mm/swapfile.c.
 */
#include <pagesim/fault.h>

#include <pagesim/address_space.h>
#include <pagesim/alloc.h>
#include <pagesim/bug.h>
#include <pagesim/compound.h>
#include <pagesim/gfp.h>
#include <pagesim/inode.h>
#include <pagesim/lru.h>
#include <pagesim/machine.h>
#include <pagesim/mempolicy.h>
#include <pagesim/mmap.h>
#include <pagesim/page_flags.h>
#include <pagesim/page_lock.h>
#include <pagesim/page_ref.h>
#include <pagesim/rmap.h>
#include <pagesim/runtime.h>
#include <pagesim/shmem.h>
#include <pagesim/swap_cache.h>
#include <pagesim/vmstat.h>
#include <pagesim/writeback.h>

#include "fault/vm_fault.h"

/* What a fault waits when another reads the same slot past the cache: a tick. */
#define CLAIMED_WAIT_NS 1000000ull

struct user_place {
	struct vm_area_struct *vma;
	u64 addr;
};

static struct page *alloc_at(void *arg, gfp_t gfp)
{
	const struct user_place *place = arg;

	(void)gfp;
	return alloc_user_page(place->vma, place->addr);
}

static struct page *read_cached(struct vm_area_struct *vma, u64 addr, swp_entry_t entry)
{
	struct user_place place = { vma, addr };

	return read_swap_cache_async(entry, GFP_HIGHUSER_MOVABLE, alloc_at, &place);
}

/* A page read past the cache. Context: the slot is claimed. Return: unlocked, referenced; NULL out of memory. */
static struct page *read_uncached(struct vm_fault *vmf, swp_entry_t entry)
{
	struct page *page = alloc_user_page(vmf->vma, vmf->address);
	bool locked;

	if (!page)
		return NULL;
	locked = trylock_page(page);
	VM_BUG_ON_PAGE(!locked, page);
	__SetPageSwapBacked(page);
	lru_cache_add(page);
	set_page_private(page, entry.val);
	swap_readpage(page);
	set_page_private(page, 0);
	return page;
}

/* Is it likely that the page becomes ours alone, or useless to keep in the cache, now that its entry is gone? */
static bool should_try_to_free_swap(const struct vm_fault *vmf, struct page *head)
{
	if (!PageSwapCache(head))
		return false;
	if (vm_swap_full() || (vmf->vma->vm_flags & VM_LOCKED) || PageMlocked(head))
		return true;
	return (vmf->flags & FAULT_FLAG_WRITE) && page_ref_count(head) == 2;
}

/* Steps 5 to 7. Context: page and entry locked; both are unlocked, and the reference is the mapping's. */
static vm_fault_t map_swapped(struct vm_fault *vmf, struct page *page, bool cached)
{
	struct vm_area_struct *vma = vmf->vma;
	struct mm_struct *mm = vma->vm_mm;
	struct page *head = compound_head(page);
	swp_entry_t entry = pte_to_swp_entry(vmf->orig_pte);
	bool exclusive = !cached || (pte_swp_exclusive(vmf->orig_pte) && !PageWriteback(head));
	pte_t pte = pfn_pte(page_to_pfn(page), vma->vm_page_prot);

	swap_free(entry);
	if (should_try_to_free_swap(vmf, head))
		try_to_free_swap(head);
	add_mm_counter(mm, MM_ANONPAGES, 1);
	add_mm_counter(mm, MM_SWAPENTS, -1);
	exclusive |= page_ref_count(head) == 1;
	if (exclusive && (vmf->flags & FAULT_FLAG_WRITE)) {
		pte = pte_mkdirty(pte);
		if (vma->vm_flags & VM_WRITE)
			pte = pte_mkwrite(pte);
		vmf->flags &= ~FAULT_FLAG_WRITE;
	}
	if (pte_swp_soft_dirty(vmf->orig_pte))
		pte = pte_mksoft_dirty(pte);
	page_add_anon_rmap(page, vma, vmf->address, exclusive ? RMAP_EXCLUSIVE : RMAP_NONE);
	vmf->orig_pte = pte;
	set_pte_at(vmf->pte, pte);
	unlock_page(head);
	fault_count(PS_FAULT_SWAP);
	if (vmf->flags & FAULT_FLAG_WRITE)
		return do_wp_page(vmf);
	pte_unmap_unlock(vmf->pte, vmf->ptl);
	return 0;
}

vm_fault_t do_swap_page(struct vm_fault *vmf)
{
	struct vm_area_struct *vma = vmf->vma;
	struct page_tables *pt = &vma->vm_mm->pt;
	swp_entry_t entry = pte_to_swp_entry(vmf->orig_pte);
	bool cached = true, claimed = false;
	struct page *head, *page;
	vm_fault_t ret = 0;

	if (!get_swap_device(entry))
		return 0;
	head = lookup_swap_cache(entry);
	if (!head) {
		if (swp_swapcount(entry) == 1) {
			if (swapcache_prepare(entry)) {
				/* Another fault reads it. Look again when that may be over. */
				ps_sleep_until(ps_now() + CLAIMED_WAIT_NS);
				goto out;
			}
			claimed = true;
			cached = false;
			head = read_uncached(vmf, entry);
		} else {
			head = read_cached(vma, vmf->address, entry);
		}
		if (!head) {
			vmf->pte = pte_offset_map_lock(pt, vmf->pmd, vmf->address, &vmf->ptl);
			if (pte_same(*vmf->pte, vmf->orig_pte))
				ret = VM_FAULT_OOM;
			pte_unmap_unlock(vmf->pte, vmf->ptl);
			goto out;
		}
		count_vm_event(PGMAJFAULT);
		ret = VM_FAULT_MAJOR;
	}
	page = head;
	lock_page(head);
	if (cached) {
		/* It may have left the cache, and even entered it again under another entry. */
		if (!PageSwapCache(head) || swp_offset(entry) - swp_offset(page_swap_entry(head)) >= compound_nr(head))
			goto out_page;
		page = head + (swp_offset(entry) - swp_offset(page_swap_entry(head)));
		if ((vmf->flags & FAULT_FLAG_WRITE) && !PageLRU(head))
			lru_add_drain();
	}
	vmf->pte = pte_offset_map_lock(pt, vmf->pmd, vmf->address, &vmf->ptl);
	if (!pte_same(*vmf->pte, vmf->orig_pte)) {
		pte_unmap_unlock(vmf->pte, vmf->ptl);
		goto out_page;
	}
	ret |= map_swapped(vmf, page, cached);
	goto out;

out_page:
	unlock_page(head);
	put_page(head);
out:
	if (claimed)
		swapcache_clear(entry);
	put_swap_device();
	return ret;
}

/* ---- advice */

/* Advice about shared memory allocates by the task's policy, whatever the file's is. */
static struct page *alloc_by_task(void *arg, gfp_t gfp)
{
	(void)arg;
	return alloc_pages_policy(gfp, 0, get_task_policy(current), 0, false);
}

void swapin_willneed(struct vm_area_struct *vma, u64 start, u64 end)
{
	struct page_tables *pt = &vma->vm_mm->pt;
	u64 addr = start;
	pmd_t *pmd;

	if (vma->vm_mapping) {
		shmem_swapin_readahead(vma->vm_mapping->host, linear_page_index(vma, start),
				       linear_page_index(vma, start) + ((end - start) >> PAGE_SHIFT), alloc_by_task,
				       NULL);
		return;
	}
	while ((pmd = pmd_next(pt, &addr, end))) {
		u64 next = pmd_addr_end(pt, addr, end);

		for (; addr < next && pmd_table(pmdp_get(pmd)); addr += PAGE_SIZE) {
			spinlock_t *ptl;
			pte_t *ptep = pte_offset_map_lock(pt, pmd, addr, &ptl), pte = *ptep;
			struct page *page = NULL;
			swp_entry_t entry;

			pte_unmap_unlock(ptep, ptl);
			entry = pte_to_swp_entry(pte);
			if (!is_swap_pte(pte) || non_swap_entry(entry) || !get_swap_device(entry))
				continue;
			page = read_cached(vma, addr, entry);
			put_swap_device();
			if (page)
				put_page(page);
		}
		addr = next;
		cond_resched();
	}
	lru_add_drain();
}

/* ---- swapoff */

/* Maps a page of the swap cache in place of its entry. Context: page locked, not under writeback. */
static void unuse_pte(struct vm_area_struct *vma, pmd_t *pmd, u64 addr, swp_entry_t entry, struct page *page)
{
	struct mm_struct *mm = vma->vm_mm;
	spinlock_t *ptl;
	pte_t *ptep = pte_offset_map_lock(&mm->pt, pmd, addr, &ptl), old = *ptep, pte;

	if (!is_swap_pte(old) || pte_to_swp_entry(old).val != entry.val)
		goto out;
	add_mm_counter(mm, MM_SWAPENTS, -1);
	add_mm_counter(mm, MM_ANONPAGES, 1);
	get_page(compound_head(page));
	page_add_anon_rmap(page, vma, addr, pte_swp_exclusive(old) ? RMAP_EXCLUSIVE : RMAP_NONE);
	pte = pte_mkold(pfn_pte(page_to_pfn(page), vma->vm_page_prot));
	if (pte_swp_soft_dirty(old))
		pte = pte_mksoft_dirty(pte);
	set_pte_at(ptep, pte);
	swap_free(entry);
out:
	pte_unmap_unlock(ptep, ptl);
}

/* One entry of a table. Return: 0 or -ENOMEM. */
static int unuse_entry(struct vm_area_struct *vma, pmd_t *pmd, u64 addr)
{
	pte_t pte = ptep_get(pte_offset_map(&vma->vm_mm->pt, pmdp_get(pmd), addr));
	swp_entry_t entry = pte_to_swp_entry(pte);
	struct page *head;

	if (!is_swap_pte(pte) || non_swap_entry(entry))
		return 0;
	head = read_cached(vma, addr, entry);
	if (!head)
		return swp_swapcount(entry) ? -ENOMEM : 0;
	lock_page(head);
	wait_on_page_writeback(head);
	if (PageSwapCache(head) && swp_offset(entry) - swp_offset(page_swap_entry(head)) < compound_nr(head))
		unuse_pte(vma, pmd, addr, entry, head + (swp_offset(entry) - swp_offset(page_swap_entry(head))));
	unlock_page(head);
	put_page(head);
	return 0;
}

static int unuse_vma(struct vm_area_struct *vma)
{
	struct page_tables *pt = &vma->vm_mm->pt;
	u64 addr = vma->vm_start;
	pmd_t *pmd;
	int error = 0;

	while (!error && (pmd = pmd_next(pt, &addr, vma->vm_end))) {
		u64 next = pmd_addr_end(pt, addr, vma->vm_end);

		for (; !error && addr < next && pmd_table(pmdp_get(pmd)); addr += PAGE_SIZE)
			error = unuse_entry(vma, pmd, addr);
		addr = next;
		cond_resched();
	}
	return error;
}

static int unuse_mm(struct mm_struct *mm)
{
	struct vm_area_struct *vma;
	int error = 0;

	mmap_read_lock(mm);
	for_each_vma(mm, vma) {
		if (vma->anon_vma)
			error = unuse_vma(vma);
		if (error)
			break;
	}
	mmap_read_unlock(mm);
	return error;
}

/* The address space after `mm` (NULL: the first), with a user of ours. */
static struct mm_struct *next_mm(struct ps_mms *mms, struct mm_struct *mm)
{
	struct mm_struct *next = NULL;

	spin_lock(&mms->lock);
	next = mm ? list_next_entry(mm, mmlist) : list_first_entry(&mms->list, struct mm_struct, mmlist);
	while (&next->mmlist != &mms->list && !mmget_not_zero(next))
		next = list_next_entry(next, mmlist);
	if (&next->mmlist == &mms->list)
		next = NULL;
	spin_unlock(&mms->lock);
	if (mm)
		mmput(mm);
	return next;
}

/* What nobody maps but the cache still keeps. */
static void unuse_cached(struct ps_swap *swap)
{
	u64 slot = 0;

	while ((slot = swap_next_used(swap, slot))) {
		struct page *page = lookup_swap_cache(swp_entry(0, slot));

		if (!page)
			continue;
		lock_page(page);
		wait_on_page_writeback(page);
		try_to_free_swap(page);
		unlock_page(page);
		put_page(page);
	}
}

static int try_to_unuse(struct ps_swap *swap)
{
	struct ps_machine *machine = swap->machine;
	struct ps_page_source source;
	struct mm_struct *mm = NULL;
	int error = 0;

	ps_policy_page_source(&source);
	/* Somebody may be between unmapping and writing, or between fork's two entries: until no slot is used, go round. */
	while (swap_next_used(swap, 0)) {
		if (machine->files)
			error = ps_files_unuse(machine->files, &source);
		while (!error && (mm = next_mm(machine->mms, mm)))
			error = unuse_mm(mm);
		if (mm)
			mmput(mm);
		mm = NULL;
		if (error)
			return error;
		unuse_cached(swap);
		cond_resched();
	}
	return 0;
}

int ps_swapoff(struct ps_machine *machine)
{
	int error = ps_swap_stop(machine);

	if (error)
		return error;
	ps_charge(machine->costs.syscall_ns, PS_TIME_SYSCALL);
	error = try_to_unuse(machine->swap);
	if (error) {
		ps_swap_resume(machine);
		return error;
	}
	ps_swap_remove(machine);
	return 0;
}

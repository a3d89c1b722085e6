/* SPDX-License-Identifier: MIT */
/*
 * One fault on its way through the handlers, and the handlers that the small-page and the huge-page half call in each
 * other.
 */
#ifndef FAULT_VM_FAULT_H
#define FAULT_VM_FAULT_H

#include <pagesim/fault.h>

struct vm_fault {
	struct vm_area_struct *vma;
	u64 address; /* page aligned */
	unsigned int flags;
	pmd_t *pmd;
	pmd_t orig_pmd; /* what was seen before the lock */
	pte_t *pte;     /* valid while ptl is held */
	pte_t orig_pte;
	spinlock_t *ptl;
	struct page *page; /* the file page, locked and referenced */
};

void fault_count(enum ps_fault_kind kind);
/** The page a present entry maps, NULL for the zero page. */
struct page *vm_normal_page(pte_t pte);
/** May an entry just restored be writable without the kernel having to hear of the first write? */
bool pte_can_be_writable(const struct vm_area_struct *vma, pte_t pte);
/** Faults until the page is mapped as the flags want, or an error. */
vm_fault_t handle_mm_fault_until_present(struct vm_area_struct *vma, u64 addr, unsigned int flags);
/** Is the address mapped such that an access needs no fault? */
bool mapped_for(const struct vm_area_struct *vma, u64 addr, unsigned int flags);

/**
 * Maps a huge page of the cache whole, if it fits; the caller's reference becomes the mapping's.
 * Return: 0; VM_FAULT_FALLBACK: small entries must do. Context: the page is locked and referenced.
 */
vm_fault_t do_set_pmd(struct vm_fault *vmf, struct page *page);
/** A page of the VMA's policy for a user address. Return: referenced once, NULL out of memory. */
struct page *alloc_user_page(struct vm_area_struct *vma, u64 addr);
/** A write to a present entry that does not let it be written. Context: vmf->ptl held; released. */
vm_fault_t do_wp_page(struct vm_fault *vmf);
/** The entry is a swap entry: brings the page back. Context: vmf->orig_pte says which. Fidelity: exact, do_swap_page(). */
vm_fault_t do_swap_page(struct vm_fault *vmf);
/** Reads what of [start, end) is in swap into the swap cache. Fidelity: exact, madvise_willneed() of anonymous memory. */
void swapin_willneed(struct vm_area_struct *vma, u64 start, u64 end);

nid_t numa_migrate_prep(struct page *page, struct vm_area_struct *vma, u64 addr, nid_t page_nid);
void task_numa_fault(struct mm_struct *mm, nid_t nid, unsigned int pages, bool moved, bool failed);

vm_fault_t do_huge_pmd_anonymous_page(struct vm_fault *vmf);
vm_fault_t do_huge_pmd_wp_page(struct vm_fault *vmf);
vm_fault_t do_huge_pmd_numa_page(struct vm_fault *vmf);
void huge_pmd_set_accessed(struct vm_fault *vmf);

/** Takes / drops the address space's use of the huge zero page. Return: it, or NULL out of memory. */
struct page *mm_get_huge_zero_page(struct mm_struct *mm);
void mm_put_huge_zero_page(struct mm_struct *mm);
/** Its shrinker. Fidelity: exact, shrink_huge_zero_page_count() and _scan(). */
unsigned long shrink_huge_zero_page_count(struct shrinker *shrinker, struct shrink_control *sc);
unsigned long shrink_huge_zero_page_scan(struct shrinker *shrinker, struct shrink_control *sc);

#endif

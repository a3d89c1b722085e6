/* SPDX-License-Identifier: MIT */
/*
 * Changing the protection of what is already mapped; shared by mprotect(2), NUMA balancing and clear_refs.
 *
 * Layer: fault
 */
#ifndef PAGESIM_MPROTECT_H
#define PAGESIM_MPROTECT_H

#include <pagesim/mm.h>

#ifdef __cplusplus
extern "C" {
#endif

#define MM_CP_TRY_CHANGE_WRITABLE 0x01u /* make entries writable where no fault is needed to know that they may be */
#define MM_CP_PROT_NUMA           0x02u /* PROT_NONE as a hint: the next access faults and tells who uses the page */

/**
 * Gives the entries of [start, end) in vma its vm_page_prot, or a NUMA hint. Splits huge PMDs that stick out.
 * Context: mmap_lock (for writing unless MM_CP_PROT_NUMA); flushes the TLB.
 * Return: base pages whose entries changed. Counts NUMA_HUGE_PTE_UPDATES, for mprotect as well, as 6.1 does.
 * Fidelity: exact, change_protection(), without userfaultfd.
 */
long change_protection(struct vm_area_struct *vma, u64 start, u64 end, unsigned int flags);

#ifdef __cplusplus
}
#endif
#endif

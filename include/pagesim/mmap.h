/* SPDX-License-Identifier: MIT */
/*
 * The system calls that change an address space, on the current task's mm: mmap and its family, and fork and exit.
 *
 * Addresses and lengths are in bytes and page aligned; a length that is not is rounded up, an address that is not is
 * -EINVAL, as in the kernel. All take mmap_lock themselves, may sleep and allocate.
 *
 * Fidelity: each function says its own. None knows stack growth, hugetlbfs, userfaultfd, or limits (ulimit, overcommit, the
 * number of mappings) but RLIMIT_MEMLOCK.
 *
 * Layer: fault
 */
#ifndef PAGESIM_MMAP_H
#define PAGESIM_MMAP_H

#include <pagesim/mm.h>

#ifdef __cplusplus
extern "C" {
#endif

struct inode;
struct ps_machine;
struct task_struct;

#define MM_PROT_NONE  0u
#define MM_PROT_READ  1u
#define MM_PROT_WRITE 2u
#define MM_PROT_EXEC  4u
/** The VM_ bits of a protection. */
static inline u64 calc_vm_prot_bits(unsigned int prot)
{
	return (prot & MM_PROT_READ ? VM_READ : 0) | (prot & MM_PROT_WRITE ? VM_WRITE : 0) |
	       (prot & MM_PROT_EXEC ? VM_EXEC : 0);
}

#define MM_MAP_SHARED          0x01u
#define MM_MAP_POPULATE        0x02u
#define MM_MAP_FIXED           0x04u /* replace what is there */
#define MM_MAP_FIXED_NOREPLACE 0x08u /* -EEXIST if something is there */
#define MM_MAP_FILE_READ_ONLY  0x10u /* the file was opened for reading only */

/**
 * Maps [addr, addr + len). inode NULL is anonymous memory (shared: a nameless tmpfs file), else the file from page
 * `pgoff`; the mapping takes its own reference. A shared mapping of a file opened for reading only is one that can never be
 * written, so it loses VM_MAYWRITE, and VM_SHARED with it (VM_MAYSHARE says what was asked for).
 * Context: takes mmap_lock for writing; may sleep and allocate.
 * Return: 0; -EINVAL, -EEXIST, -ENOMEM (address space exhausted or out of memory), -EACCES (shared and writable, of a file
 * opened for reading only).
 * Fidelity: exact, do_mmap() and mmap_region(), for a fixed address and these flags: no limits, no growing stacks.
 */
int do_mmap(struct mm_struct *mm, u64 addr, u64 len, unsigned int prot, unsigned int flags, struct inode *inode,
	    pgoff_t pgoff);
/**
 * Unmaps a range, mapped or not.
 * Context: takes mmap_lock for writing, and holds it for reading only once the VMAs are out of the tree: others fault
 * while the pages are let go. May sleep and allocate.
 * Return: 0; -EINVAL; -ENOMEM (splitting a VMA; nothing is unmapped then).
 * Fidelity: exact, munmap(2). 6.1 does not go down to reading beside a stack that may grow; no mapping grows here.
 */
int do_munmap(struct mm_struct *mm, u64 start, u64 len);
/**
 * Changes the protection of a range, VMA by VMA.
 * Context: takes mmap_lock for writing; may sleep and allocate.
 * Return: 0; -ENOMEM (a hole in the range, or splitting a VMA); -EACCES (a VMA that may not have the protection: a shared
 * mapping of a file opened for reading only made writable); -EINVAL. What lies before the place of the error is changed.
 * Fidelity: exact, mprotect(2), without protection keys.
 */
int do_mprotect(struct mm_struct *mm, u64 start, u64 len, unsigned int prot);
/**
 * mremap(MREMAP_MAYMOVE | MREMAP_FIXED) to a new place of the same length. What is at the new place is unmapped.
 * Context: takes mmap_lock for writing; may sleep and allocate.
 * Return: 0; -EFAULT (no mapping, or more than one, at old); -EINVAL (overlap); -ENOMEM: everything is at the old place
 * again, and the new one is unmapped.
 * Fidelity: exact, mremap(2) with these flags and this length.
 */
int do_mremap(struct mm_struct *mm, u64 old_addr, u64 len, u64 new_addr);

enum ps_madvice {
	PS_MADV_DONTNEED,
	PS_MADV_HUGEPAGE,
	PS_MADV_NOHUGEPAGE,
	PS_MADV_REMOVE,
	PS_MADV_POPULATE_READ,
	PS_MADV_POPULATE_WRITE,
	PS_MADV_WILLNEED,
	PS_MADV_DONTFORK,
	PS_MADV_DOFORK,
	PS_MADV_COLD,
	PS_MADV_FREE,
	PS_MADV_COLLAPSE,
	PS_MADV_PAGEOUT,
};
/**
 * Advice for a range. DONTNEED, REMOVE, COLD and FREE are refused for locked memory.
 * Context: takes mmap_lock as the advice needs it; may sleep and allocate.
 * Return: 0; -EINVAL; -EACCES (REMOVE of what is not shared and writable); -ENOMEM (a hole in the range; the rest is advised,
 * but not by POPULATE); -EFAULT (POPULATE found no access, or SIGBUS); -EAGAIN (COLLAPSE, now).
 * Fidelity: exact, madvise(2), for these; WILLNEED reads disk files at once instead of starting to.
 */
int do_madvise(struct mm_struct *mm, u64 start, u64 len, enum ps_madvice advice);
/**
 * mlock(2) and munlock(2).
 * Context: takes mmap_lock for writing, then for reading; may sleep and allocate.
 * Return: 0; -ENOMEM (a hole: what lies before it is locked; no access; over the limit of who has no privileges); -EAGAIN
 * (no memory to fault it in); -EINVAL. Fidelity: exact.
 */
int do_mlock(struct mm_struct *mm, u64 start, u64 len);
int do_munlock(struct mm_struct *mm, u64 start, u64 len);
/**
 * brk(2): the heap that begins at `start` now ends at `end` instead of `old_end`.
 * Return: 0; -ENOMEM. Fidelity: simplified: it is an mmap or a munmap of the difference.
 */
int do_brk(struct mm_struct *mm, u64 start, u64 old_end, u64 end);
/** 4 > /proc/PID/clear_refs: clears soft-dirty and write-protects. Context: takes mmap_lock. Return: 0. Fidelity: exact. */
int clear_soft_dirty(struct mm_struct *mm);

/**
 * fork: a copy of oldmm, sharing all pages but those that may be pinned.
 * Context: takes both mmap_locks for writing; may sleep and allocate. Return: 0 and *ret_mm (one user); -ENOMEM.
 * Fidelity: exact, dup_mmap() and copy_page_range().
 */
int dup_mm(struct mm_struct *oldmm, struct mm_struct **ret_mm);
/** Unmaps everything. Context: last user. Fidelity: simplified, exit_mmap(): one pass under mmap_lock for writing. */
void exit_mmap(struct mm_struct *mm);
/** One more / one less user; the last one unmaps everything and frees the mm. */
void mmget(struct mm_struct *mm);
/** The same for one that may have none any more. Return: false: it has none. */
bool mmget_not_zero(struct mm_struct *mm);
void mmput(struct mm_struct *mm);

/* ---- pieces that other layers need; Context: mmap_lock for writing */

/** Cuts vma at addr; the new VMA is the part below (new_below) or above. Return: 0, -ENOMEM. Fidelity: exact. */
int split_vma(struct vm_area_struct *vma, u64 addr, bool new_below);
/** What two VMAs must have in common to be one, besides being neighbours. */
struct vma_attributes {
	u64 vm_flags;
	struct mempolicy *policy;
};
/**
 * Gives the part [start, end) of vma new attributes: merges it with neighbours that have the same, or splits vma where it
 * must. Return: 0 and the VMA that now holds the part in *ret_vma; -ENOMEM.
 * Fidelity: exact in what becomes of the VMAs; 6.1 does it with vma_merge() and split_vma() at each caller.
 */
int vma_modify(struct vm_area_struct *vma, u64 start, u64 end, const struct vma_attributes *attributes,
	       struct vm_area_struct **ret_vma);

#ifdef __cplusplus
}
#endif
#endif

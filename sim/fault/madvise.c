/* SPDX-License-Identifier: MIT */
/*
 * madvise(2): one walk over the VMAs of a range, and what each advice does to one VMA's part of it. A hole in the range is
 * reported at the end; the rest is advised all the same.
 */
#include <pagesim/mmap.h>

#include <pagesim/address_space.h>
#include <pagesim/collapse.h>
#include <pagesim/fault.h>
#include <pagesim/inode.h>
#include <pagesim/machine.h>
#include <pagesim/rmap.h>
#include <pagesim/runtime.h>
#include <pagesim/zap.h>

#include "fault/madvise.h"
#include "fault/vm_fault.h"

static int change_flags(struct vm_area_struct *vma, u64 start, u64 end, u64 vm_flags)
{
	struct vma_attributes attributes = { .vm_flags = vm_flags, .policy = vma->vm_policy };
	int error;

	if (vma->vm_flags == vm_flags)
		return 0;
	error = vma_modify(vma, start, end, &attributes, &vma);
	if (error)
		return error;
	vma->vm_flags = vm_flags | (vma->vm_flags & VM_SOFTDIRTY);
	return 0;
}

static int populate(struct mm_struct *mm, u64 start, u64 end, bool write)
{
	u64 at = start;

	while (at < end) {
		struct vm_area_struct *vma = vma_lookup(mm, at);
		u64 stop;

		if (!vma)
			return -ENOMEM;
		if (write ? !(vma->vm_flags & VM_WRITE) : !(vma->vm_flags & (VM_READ | VM_WRITE)))
			return -EINVAL;
		for (stop = ps_min(end, vma->vm_end); at < stop; at += PAGE_SIZE) {
			vm_fault_t ret = handle_mm_fault_until_present(vma, at, write ? FAULT_FLAG_WRITE : 0);

			if (ret & VM_FAULT_OOM)
				return -ENOMEM;
			if (ret & VM_FAULT_ERROR)
				return -EFAULT;
		}
	}
	return 0;
}

/* Brings pages [first, end) of the file into the cache, as far as there are any. (force_page_cache_readahead) */
static void read_ahead(struct inode *inode, pgoff_t first, pgoff_t end)
{
	struct ps_page_source source;
	u64 word;

	ps_policy_page_source(&source);
	while (first < end && file_read_page(inode, first, &word, &source) > 0)
		first++;
}

static int advise_vma(struct vm_area_struct *vma, u64 start, u64 end, enum ps_madvice advice)
{
	struct inode *inode = vma->vm_mapping ? vma->vm_mapping->host : NULL;
	pgoff_t first = vma->vm_pgoff + ((start - vma->vm_start) >> PAGE_SHIFT);
	struct mm_struct *mm = vma->vm_mm;
	int error;

	switch (advice) {
	case PS_MADV_DONTNEED:
		if (vma->vm_flags & VM_LOCKED)
			return -EINVAL;
		zap_page_range(vma, start, end, NULL);
		return 0;
	case PS_MADV_HUGEPAGE:
		return change_flags(vma, start, end, (vma->vm_flags & ~VM_NOHUGEPAGE) | VM_HUGEPAGE);
	case PS_MADV_NOHUGEPAGE:
		return change_flags(vma, start, end, (vma->vm_flags & ~VM_HUGEPAGE) | VM_NOHUGEPAGE);
	case PS_MADV_DONTFORK:
		return change_flags(vma, start, end, vma->vm_flags | VM_DONTCOPY);
	case PS_MADV_DOFORK:
		return change_flags(vma, start, end, vma->vm_flags & ~VM_DONTCOPY);
	case PS_MADV_REMOVE:
		if (vma->vm_flags & VM_LOCKED)
			return -EINVAL;
		if (!inode)
			return -EINVAL;
		if ((vma->vm_flags & (VM_SHARED | VM_MAYWRITE)) != (VM_SHARED | VM_MAYWRITE))
			return -EACCES;
		/* The file's locks come before mmap_lock: let go of it. The VMA may be gone afterwards. */
		ihold(inode);
		mmap_read_unlock(mm);
		error = file_punch_hole(inode, first, first + ((end - start) >> PAGE_SHIFT));
		iput(inode);
		mmap_read_lock(mm);
		return error;
	case PS_MADV_FREE:
	case PS_MADV_COLD:
		return madvise_lru(vma, start, end, advice == PS_MADV_FREE ? LRU_ADVICE_FREE : LRU_ADVICE_COLD);
	case PS_MADV_PAGEOUT:
		return madvise_lru(vma, start, end, LRU_ADVICE_PAGEOUT);
	case PS_MADV_COLLAPSE:
		return madvise_collapse(vma, start, end);
	case PS_MADV_POPULATE_READ:
	case PS_MADV_POPULATE_WRITE:
		return populate(mm, start, end, advice == PS_MADV_POPULATE_WRITE);
	case PS_MADV_WILLNEED:
		if (!inode || inode->kind != PS_FILE_DISK) {
			swapin_willneed(vma, start, end);
			return 0;
		}
		ihold(inode);
		mmap_read_unlock(mm);
		read_ahead(inode, first, first + ((end - start) >> PAGE_SHIFT));
		iput(inode);
		mmap_read_lock(mm);
		return 0;
	default:
		return -EINVAL;
	}
}

/* Which advice changes VMAs and so needs the lock for writing. */
static bool needs_write_lock(enum ps_madvice advice)
{
	switch (advice) {
	case PS_MADV_HUGEPAGE:
	case PS_MADV_NOHUGEPAGE:
	case PS_MADV_DONTFORK:
	case PS_MADV_DOFORK:
		return true;
	default:
		return false;
	}
}

int do_madvise(struct mm_struct *mm, u64 start, u64 len, enum ps_madvice advice)
{
	struct vm_area_struct *vma;
	int error = 0, unmapped = 0;
	bool write = needs_write_lock(advice);
	u64 end;

	if (start & ~PAGE_MASK)
		return -EINVAL;
	len = (len + PAGE_SIZE - 1) & PAGE_MASK;
	end = start + len;
	if (end < start)
		return -EINVAL;
	if (!len)
		return 0;
	ps_charge(this_machine()->costs.syscall_ns, PS_TIME_SYSCALL);
	if (write)
		mmap_write_lock(mm);
	else
		mmap_read_lock(mm);
	while (start < end) {
		u64 next;

		vma = find_vma(mm, start);
		if (!vma || vma->vm_start >= end) {
			unmapped = -ENOMEM;
			break;
		}
		if (start < vma->vm_start) {
			unmapped = -ENOMEM;
			start = vma->vm_start;
		}
		next = ps_min(end, vma->vm_end);
		error = advise_vma(vma, start, next, advice);
		if (error)
			break;
		start = next;
	}
	if (write)
		mmap_write_unlock(mm);
	else
		mmap_read_unlock(mm);
	return error ? error : unmapped;
}

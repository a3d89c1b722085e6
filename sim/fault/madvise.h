/* SPDX-License-Identifier: MIT */
/*
 * The parts of madvise(2) that need more than a few lines.
 */
#ifndef FAULT_MADVISE_H
#define FAULT_MADVISE_H

#include <pagesim/mm.h>

/** MADV_FREE (lazyfree) or MADV_COLD of [start, end). Context: mmap_lock for reading. Return: 0, -EINVAL. */
int madvise_lru(struct vm_area_struct *vma, u64 start, u64 end, bool lazyfree);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * The parts of madvise(2) that need more than a few lines.
 */
#ifndef FAULT_MADVISE_H
#define FAULT_MADVISE_H

#include <pagesim/mm.h>

enum lru_advice { LRU_ADVICE_COLD, LRU_ADVICE_PAGEOUT, LRU_ADVICE_FREE };

/**
 * MADV_COLD, MADV_PAGEOUT or MADV_FREE of [start, end). Context: mmap_lock for reading; may sleep. Return: 0, -EINVAL.
 * Fidelity: exact, madvise_cold_or_pageout_pte_range() and madvise_free_pte_range().
 */
int madvise_lru(struct vm_area_struct *vma, u64 start, u64 end, enum lru_advice advice);

#endif

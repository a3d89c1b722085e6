/* SPDX-License-Identifier: MIT */
/*
 * Collecting the pages of a range that are (or are not) on given nodes; shared by mbind(2) and migrate_pages(2).
 */
#ifndef ENGINES_QUEUE_PAGES_H
#define ENGINES_QUEUE_PAGES_H

#include <pagesim/migrate.h>
#include <pagesim/mm.h>

/* Besides MPOL_MF_STRICT, MOVE and MOVE_ALL of the user: */
#define MPOL_MF_DISCONTIG_OK 16u /* holes in the range are fine */
#define MPOL_MF_INVERT       32u /* pages that are not on the nodes */

/**
 * Isolates pages of [start, end) onto the list (MOVE, MOVE_ALL), or only looks (STRICT alone).
 * Context: mmap_lock held.
 * Return: 0; 1 something that must move (STRICT) could not be isolated, the others were; -EIO (STRICT alone) a page
 * is on a wrong node; -EFAULT a hole.
 */
int queue_pages_range(struct mm_struct *mm, u64 start, u64 end, const nodemask_t *nodes, unsigned int flags,
		      struct list_head *list);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * move_pages(2) and migrate_pages(2): which pages of an address space are taken, and what is told about each.
 *
 * move_pages goes through the user's list in order and collects pages for one node at a time:
 *
 *     page on another node, not shared (or MOVE_ALL)   isolated, onto the list
 *     anything else                                    its status is stored; the list so far is migrated
 *     the target node changes                          the list so far is migrated
 *
 * and when a list could not be migrated whole, the call ends there: its statuses and all later ones stay as they were.
 */
#include <pagesim/migrate.h>

#include <pagesim/bug.h>
#include <pagesim/compound.h>
#include <pagesim/gfp.h>
#include <pagesim/gup.h>
#include <pagesim/lru.h>
#include <pagesim/machine.h>
#include <pagesim/page_flags.h>
#include <pagesim/page_mapcount.h>
#include <pagesim/page_ref.h>
#include <pagesim/rmap.h>
#include <pagesim/runtime.h>

#include "engines/queue_pages.h"

/* Return: 1 isolated onto the list; 0 it is there already; -errno for its status. */
static int add_page_for_migration(struct mm_struct *mm, u64 addr, nid_t nid, struct list_head *list, bool migrate_all)
{
	struct vm_area_struct *vma;
	struct page *page = NULL;
	int error;

	mmap_read_lock(mm);
	error = -EFAULT;
	vma = vma_lookup(mm, addr);
	if (!vma)
		goto out;
	error = follow_page(vma, addr, FOLL_GET | FOLL_DUMP, &page);
	if (error)
		goto out;
	error = -ENOENT;
	if (!page)
		goto out;
	error = 0;
	if (page_to_nid(page) == nid)
		goto out_put;
	error = -EACCES;
	if (page_mapcount(page) > 1 && !migrate_all)
		goto out_put;
	error = isolate_page_for_migration(compound_head(page), list);
	if (!error)
		error = 1;
out_put:
	put_page(page);
out:
	mmap_read_unlock(mm);
	return error;
}

static long move_list(struct list_head *list, nid_t nid)
{
	struct migration_target_control mtc = { .nid = nid, .gfp_mask = GFP_HIGHUSER_MOVABLE | __GFP_THISNODE };
	long left = migrate_pages(list, alloc_migration_target, NULL, &mtc, MIGRATE_SYNC, MR_SYSCALL, NULL);

	if (left)
		putback_movable_pages(list);
	return left;
}

/* Migrates what was collected for moves[start..i) and stores their status. Return: as the system call. */
static long move_and_store(struct list_head *list, nid_t nid, struct ps_move *moves, unsigned long start,
			   unsigned long i, unsigned long nr)
{
	long error;

	if (list_empty(list))
		return 0;
	error = move_list(list, nid);
	if (error) {
		/* Those not attempted count as not moved. */
		return error > 0 ? error + (long)(nr - i) : error;
	}
	for (; start < i; start++)
		moves[start].status = nid;
	return 0;
}

static long do_pages_move(struct mm_struct *mm, struct ps_move *moves, unsigned long nr, bool migrate_all)
{
	const nodemask_t *memory = &this_machine()->memory_nodes;
	nid_t current_node = NUMA_NO_NODE;
	unsigned long i, start = 0;
	LIST_HEAD(list);
	long error = 0, last;

	lru_cache_disable();
	for (i = 0; i < nr; i++) {
		int node = moves[i].node;

		if (node < 0 || node >= MAX_NUMNODES || !node_isset(node, *memory)) {
			error = -ENODEV;
			break;
		}
		if (current_node == NUMA_NO_NODE) {
			current_node = node;
			start = i;
		} else if (node != current_node) {
			error = move_and_store(&list, current_node, moves, start, i, nr);
			if (error)
				goto out;
			start = i;
			current_node = node;
		}
		error = add_page_for_migration(mm, moves[i].addr, current_node, &list, migrate_all);
		if (error > 0)
			continue;
		moves[i].status = error ? (int)error : current_node;
		error = move_and_store(&list, current_node, moves, start, i, nr);
		if (error) {
			if (error > 0)
				error--; /* page i has its status */
			goto out;
		}
		current_node = NUMA_NO_NODE;
	}
	/* An error already there is not overwritten. */
	last = move_and_store(&list, current_node, moves, start, i, nr);
	if (error >= 0)
		error = last;
out:
	lru_cache_enable();
	return error;
}

static void do_pages_stat(struct mm_struct *mm, struct ps_move *moves, unsigned long nr)
{
	unsigned long i;

	mmap_read_lock(mm);
	for (i = 0; i < nr; i++) {
		struct vm_area_struct *vma = vma_lookup(mm, moves[i].addr);
		struct page *page = NULL;
		int status = -EFAULT;

		if (vma) {
			status = follow_page(vma, moves[i].addr, FOLL_GET | FOLL_DUMP, &page);
			if (!status)
				status = page ? page_to_nid(page) : -ENOENT;
			if (page)
				put_page(page);
		}
		moves[i].status = status;
	}
	mmap_read_unlock(mm);
}

long ps_move_pages(struct mm_struct *mm, struct ps_move *moves, unsigned long nr, bool query, bool move_all)
{
	ps_charge(this_machine()->costs.syscall_ns, PS_TIME_SYSCALL);
	if (move_all && current->unprivileged)
		return -EPERM;
	if (query) {
		do_pages_stat(mm, moves, nr);
		return 0;
	}
	return do_pages_move(mm, moves, nr, move_all);
}

/* ---- migrate_pages */

/* Where node s of one set goes in another: the node of the same position. */
static nid_t node_remap(nid_t s, const nodemask_t *from, const nodemask_t *to)
{
	int position = 0, weight = nodes_weight(*to);
	nid_t nid;

	if (!weight || !node_isset(s, *from))
		return s;
	for_each_node_mask(nid, *from)
	{
		if (nid == s)
			break;
		position++;
	}
	position %= weight;
	for_each_node_mask(nid, *to) if (!position--) return nid;
	return s;
}

static long migrate_to_node(struct mm_struct *mm, nid_t source, nid_t dest, unsigned int flags)
{
	nodemask_t mask;
	LIST_HEAD(list);

	nodes_clear(mask);
	node_set(source, mask);
	queue_pages_range(mm, 0, task_size(&mm->pt), &mask, flags | MPOL_MF_DISCONTIG_OK, &list);
	return list_empty(&list) ? 0 : move_list(&list, dest);
}

long ps_migrate_pages(struct mm_struct *mm, const nodemask_t *from, const nodemask_t *to)
{
	unsigned int flags = current->unprivileged ? MPOL_MF_MOVE : MPOL_MF_MOVE_ALL;
	nodemask_t target, left = *from;
	long error = 0, busy = 0;

	ps_charge(this_machine()->costs.syscall_ns, PS_TIME_SYSCALL);
	nodes_and(target, *to, this_machine()->memory_nodes);
	if (current->unprivileged && !nodes_equal(target, *to))
		return -EPERM;
	if (nodes_empty(target))
		return -EINVAL;
	lru_cache_disable();
	mmap_read_lock(mm);
	/*
	 * Nodes move one after the other, in an order that does not move a page twice: prefer a source whose destination is not
	 * itself still to be moved.
	 */
	while (!nodes_empty(left)) {
		nid_t source = NUMA_NO_NODE, dest = 0, s;

		for_each_node_mask(s, left)
		{
			nid_t d;

			/* With sets of different size, memory that is on a target node already stays there. */
			if (nodes_weight(*from) != nodes_weight(target) && node_isset(s, target))
				continue;
			d = node_remap(s, from, &target);
			if (s == d)
				continue;
			source = s;
			dest = d;
			if (!node_isset(dest, left))
				break;
		}
		if (source == NUMA_NO_NODE)
			break;
		node_clear(source, left);
		error = migrate_to_node(mm, source, dest, flags);
		if (error > 0)
			busy += error;
		if (error < 0)
			break;
	}
	mmap_read_unlock(mm);
	lru_cache_enable();
	return error < 0 ? error : busy;
}
